"""Plain text: its encoding, its lines, and what of its characters is print."""

import pytest

from extraction.formats import plain
from extraction.reading import documents


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_is_read_in_its_encoding(encoding):
    text = "Rechnung für Käse und Brötchen, Summe 12,50 €, vielen Dank für Ihren Einkauf bei uns."
    assert documents.read(text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("£5", "cp1252"),
        ("5 €", "cp1252"),
        ("Tea £1.20", "cp1252"),
        ("Käse 5 €", "cp1252"),
        ("Facture n° 3, déjà payée, 12 €", "cp1252"),
        ("Crème brûlée 6,50 €", "cp1252"),
        ("CRÈME BRÛLÉE", "cp1252"),
        ("Factura nº 118, ¿pagada? ¡Sí!", "cp1252"),
        ("Perché no? È così. Caffè 1,20", "cp1252"),
        ("São Paulo, ação 5,00", "cp1252"),
        ("Smørrebrød 45,00 kr", "cp1252"),
        ("25 °C, 30 m², ½ kg – “fine” © 2026", "cp1252"),
        ("Größe", "latin-1"),
        ("Účet č. 5", "cp1250"),
        ("Kč", "cp1250"),
        ("Příjemka č. 17 – Praha, částka 1 200 Kč", "cp1250"),
        ("12,50 zł", "cp1250"),
        ("Łódź", "cp1250"),
        ("Dziękujemy", "cp1250"),
        ("RAZEM PŁATNOŚĆ", "cp1250"),
        ("Összesen: 1 250 Ft, fizetendő", "cp1250"),
        ("Teşekkür ederiz, toplam 50 TL", "cp1254"),
        ("Faktura nr 5, zażółć gęślą jaźń, suma 12 zł", "iso8859-2"),
        ("Café crème, Größe", "cp850"),
        ("Счёт номер пять, сумма сто рублей, спасибо за покупку", "cp1251"),
        ("領収書 合計 千円 ありがとうございました", "shift_jis"),
    ],
)
def test_short_text_in_an_older_encoding_is_recognized(text, encoding):
    assert documents.read(text.encode(encoding)).text == text


@pytest.mark.parametrize("at", [0, 9, 31])
def test_a_wrong_byte_does_not_make_another_encoding_of_a_file_in_utf_8(at):
    whole = "Café Lumière\nReçu n° 4471, €\n".encode()
    text = plain.read(whole[:at] + b"\xe9t\xe9 " + whole[at:])
    assert text.replace("été ", "") == "Café Lumière\nReçu n° 4471, €"


def test_a_file_that_was_cut_within_a_character_is_still_in_utf_8():
    assert plain.read("Café Lumière, 12,50 €".encode()[:-1]).startswith("Café Lumière, 12,50 ")


def test_lines_are_parted_by_any_sign_that_parts_lines():
    assert plain.read(b"Total due\v80.00\fPage 2\r\nx\ry\xc2\x85z\xe2\x80\xa8end\x07").split("\n") == [
        "Total due", "80.00", "Page 2", "x", "y", "z", "end"
    ]  # fmt: skip


def test_the_declared_encoding_is_taken_where_the_bytes_do_not_contradict():
    assert plain.decoded("Счёт".encode("koi8-r"), "koi8-r") == "Счёт"
    assert plain.decoded("合計".encode("iso-2022-jp"), "iso-2022-jp") == "合計"
    assert plain.decoded("5 €".encode("cp1252"), "iso-8859-1") == "5 €"  # as browsers read it
    assert plain.decoded("Größe".encode(), "iso-8859-1") == "Größe"
    assert plain.decoded("Größe".encode("cp1252"), "utf-8") == "Größe"
    assert plain.decoded("Größe".encode("cp1252"), "no-such-encoding") == "Größe"


@pytest.mark.parametrize(
    ("before", "raised", "read"),
    [("10", "48", "10.48"), ("1 250", "00", "1 250.00"), ("10.48", "12", "10.48 12"), ("9.00", "1", "9.00 1"),
     ("m", "2", "m2"), ("12", "a", "12a")],
)  # fmt: skip
def test_raised_digits_do_not_join_the_number_before_them(before, raised, read):
    assert before + plain.raised(before, raised) == read
