import math

import pikepdf
import pytest
from PIL import Image

from extraction.reading import documents, pdf_text
from extraction.reading.documents import DocumentError, Limits
from tests.helpers.papers import (
    FULL_PAGE,
    HELVETICA,
    LETTER,
    SCAN,
    ink_outside_of_boxes,
    joined,
    line,
    names,
    pdf_of,
    picture,
)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, [50, 400, 500, 780]])
def test_words_of_a_pdf_stand_where_it_shows_them(angle, crop):
    def finish(made):
        made.pages[0].obj.Rotate = angle
        if crop:
            made.pages[0].obj.CropBox = pikepdf.Array(crop)

    data = pdf_of(line("Green tea 2.00") + line("TOTAL 15.50", y=650), finish=finish)
    document = documents.read(data)
    assert joined(document) == "Green tea 2.00 TOTAL 15.50"
    assert ink_outside_of_boxes(document, data) == 0


@pytest.mark.parametrize("matrix", ["0 1 -1 0", "0 -1 1 0", "-1 0 0 -1"])
def test_a_pdf_page_whose_text_runs_up_down_or_upside_down_is_read_in_order(matrix):
    across = {"0 1 -1 0": (20, 0), "0 -1 1 0": (-20, 0), "-1 0 0 -1": (0, 20)}[matrix]
    lines = ["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"]
    data = pdf_of("".join(line(t, 300 + i * across[0], 400 + i * across[1], matrix) for i, t in enumerate(lines)))
    document = documents.read(data)
    assert [" ".join(row.split()) for row in document.text.split("\n")] == lines
    assert ink_outside_of_boxes(document, data) == 0


def test_what_was_filled_into_a_pdf_form_is_read():
    def finish(made):
        form = pikepdf.Stream(made, b"BT /F 14 Tf 2 5 Td (Fernhill Bakery) Tj ET")
        kind = {"/Type": "/XObject", "/Subtype": "/Form", "/Resources": {"/Font": {"/F": HELVETICA}}}
        for key, value in kind.items():
            form[key] = names(value)
        form.BBox = pikepdf.Array([0, 0, 200, 20])
        field = names({"/Type": "/Annot", "/Subtype": "/Widget", "/FT": "/Tx", "/F": 4})
        field.T, field.V = pikepdf.String("customer"), pikepdf.String("Fernhill Bakery")
        field.Rect, field.AP = pikepdf.Array([150, 640, 350, 660]), pikepdf.Dictionary(N=form)
        field = made.make_indirect(field)
        made.pages[0].obj.Annots = pikepdf.Array([field])
        made.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([field]))

    assert joined(documents.read(pdf_of(line("Bill to"), finish=finish))) == "Bill to Fernhill Bakery"


def tick_box(made, x, y, kind, on):
    """A check box or radio button with an empty appearance: what it is can be known from its state alone."""
    state = pikepdf.Stream(made, b"")
    state.BBox = pikepdf.Array([0, 0, 12, 12])
    for key, value in names({"/Type": "/XObject", "/Subtype": "/Form"}).items():
        state[key] = value
    state = made.make_indirect(state)
    box = names({"/Type": "/Annot", "/Subtype": "/Widget", "/FT": "/Btn", "/F": 4, "/AS": "/Yes" if on else "/Off"})
    box.T, box.Ff = pikepdf.String(f"box {x} {y}"), 1 << 15 if kind == "radio" else 0
    box.V = box.AS
    box.Rect = pikepdf.Array([x, y, x + 12, y + 12])
    box.AP = pikepdf.Dictionary(N=pikepdf.Dictionary(Yes=state, Off=state))
    return made.make_indirect(box)


@pytest.mark.parametrize("kind", ["check", "radio"])
def test_the_state_of_check_boxes_and_radio_buttons_is_text(kind):
    def finish(made):
        boxes = pikepdf.Array([tick_box(made, 200, 700, kind, True), tick_box(made, 200, 660, kind, False)])
        made.pages[0].obj.Annots = boxes
        made.Root.AcroForm = pikepdf.Dictionary(Fields=boxes)

    document = documents.read(pdf_of(line("Paid in full") + line("On account", y=660), finish=finish))
    assert joined(document) == "Paid in full ☒ On account ☐"


def test_an_annotation_without_appearance_is_named():
    def finish(made):
        note = names({"/Type": "/Annot", "/Subtype": "/FreeText", "/F": 4})
        note.Rect, note.Contents = pikepdf.Array([100, 100, 300, 140]), pikepdf.String("deduct 20.00 for breakage")
        made.pages[0].obj.Annots = pikepdf.Array([made.make_indirect(note)])

    document = documents.read(pdf_of(line("Total 80.00"), finish=finish))
    assert joined(document) == "Total 80.00"
    assert document.problems == [
        'page 1: a note that is not part of the print was left out: "deduct 20.00 for breakage"'
    ]


def mapped(made, codes, font="/F"):
    """Give a font of the first page a table of what its codes mean."""
    pairs = "\n".join(f"<{code:02X}> <{meant}>" for code, meant in codes.items())
    cmap = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <00> <FF> "
    cmap += f"endcodespacerange {len(codes)} beginbfchar\n{pairs}\nendbfchar endcmap end end"
    fonts = made.pages[0].obj.Resources.Font
    fonts[font] = names({**HELVETICA, "/Encoding": "/WinAnsiEncoding"})
    fonts[font].ToUnicode = pikepdf.Stream(made, cmap.encode())


@pytest.mark.parametrize("meant", ["00AD", "2010", "2011", "FE63", "FF0D"])
def test_a_hyphen_that_is_printed_is_a_hyphen_whatever_its_font_calls_it(meant):
    data = pdf_of(line("Total -6.39 for CN-20417 re-"), finish=lambda made: mapped(made, {ord("-"): meant}))
    assert joined(documents.read(data)) == "Total -6.39 for CN-20417 re-"


def test_a_character_beyond_unicode_is_replaced_and_a_half_of_one_does_not_cost_the_page():
    assert pdf_text.printed(0x7F000041, lambda: True) == "\ufffd"
    data = pdf_of(line("Total 15.50 X"), finish=lambda made: mapped(made, {ord("X"): "DBFF"}))
    assert joined(documents.read(data)).startswith("Total 15.50")


@pytest.mark.parametrize("spacing", [2, 3, 4, 6])
def test_words_of_letter_spaced_print_are_whole(spacing):
    rows = [line("INVOICE", y=740), line("Date: 12/03/2026"), line("Desk lamp", y=660), line("88.00", 400, 660)]
    rows += [line("VAT", y=620), line("35.20", 400, 620)]
    document = documents.read(pdf_of(f"{spacing} Tc " + "".join(rows)))
    found = [row.split() for row in document.text.split("\n")]
    assert found == [["INVOICE"], ["Date:", "12/03/2026"], ["Desk", "lamp", "88.00"], ["VAT", "35.20"]]
    assert "Desk lamp " in document.text


def test_letters_with_a_blank_between_them_are_a_word_and_digits_are_numbers():
    rows = [line("S U B T O T A L  D U E"), line("1 2 3 4 5 6", y=650), line("a plain line of words", y=600)]
    assert joined(documents.read(pdf_of("".join(rows)))) == "SUBTOTAL DUE 1 2 3 4 5 6 a plain line of words"


def raised(text, small, x, y, rise=6):
    return f"BT /F 14 Tf 1 0 0 1 {x} {y} Tm ({text}) Tj /F 8 Tf {rise} Ts ({small}) Tj 0 Ts ET "


@pytest.mark.parametrize(
    ("text", "small", "found"),
    [
        ("10", "48", "10.48"),
        ("EUR 1.250", "00", "EUR 1.250,00"),
        ("$7", "99", "$7.99"),
        ("1,250.00", "1", "1,250.00 ¹"),
        ("1,250.00", "12", "1,250.00 ¹²"),
        ("Net price", "2", "Net price ²"),
        ("120 m", "2", "120 m²"),
        ("since 2024", "12", "since 2024 ¹²"),
        ("the 1", "st", "the 1st"),
    ],
)
def test_raised_digits_are_cents_or_stand_apart(text, small, found):
    assert joined(documents.read(pdf_of(line("Receipt", y=760) + raised(text, small, 100, 700)))) == f"Receipt {found}"


def test_cents_that_are_written_apart_join_their_number():
    data = pdf_of(line("Soap", 50) + line("2", 300) + "BT /F 8 Tf 1 0 0 1 309 705 Tm (99) Tj ET ")
    assert joined(documents.read(data)) == "Soap 2.99"


PRINT = ["Desk lamp 2 176.00", "Subtotal 176.00", "VAT 35.20", "Total due 211.20", "Please pay by bank transfer"]


DIGITS = {0x30 + n: f"{0x30 + (n + 1) % 10:04X}" for n in range(10)}


def shifted(step):
    """What the codes of a font would mean if it were off by some places, as those that hide their text are."""
    return {code: f"{code - step:04X}" for code in range(0x30, 0x7B) if chr(code).isalnum()}


@pytest.mark.parametrize(
    "codes",
    [
        shifted(29),
        shifted(-1),
        DIGITS,
        {code: "0000" for code in range(0x30, 0x7B)},
        {code: f"E0{code:02X}" for code in range(33, 123)},
    ],
    ids=["far off", "off by one", "digits alone", "without a meaning", "private"],
)
@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_font_that_says_otherwise_than_it_prints_is_read_by_ocr_and_that_is_said(codes, all_of_it):
    rows = "".join(line(text, y=700 - 40 * i) for i, text in enumerate(PRINT))
    honest = "" if all_of_it else line("INVOICE BB-1188 of 12/03/2026", y=760).replace("/F ", "/G ")

    def finish(made):
        made.pages[0].obj.Resources.Font["/G"] = names(HELVETICA)
        mapped(made, codes)

    document = documents.read(pdf_of(honest + rows, finish=finish))
    assert joined(document) == " ".join([*([] if all_of_it else ["INVOICE BB-1188 of 12/03/2026"]), *PRINT])
    (problem,) = document.problems
    assert problem.startswith("page 1: the text layer ") and "read by OCR" in problem


@pytest.mark.parametrize("degrees", [-5, -2, 1, 3, 5])
def test_digital_text_that_is_slightly_turned_keeps_its_rows(degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = [("Desk lamp", "176.00"), ("Subtotal", "176.00"), ("VAT", "35.20"), ("Total", "211.20")]
    content = f"q {cos:.5f} {sin:.5f} {-sin:.5f} {cos:.5f} 0 0 cm "
    for i, (label, amount) in enumerate(rows):
        content += line(label, 60, 600 - 20 * i) + line(amount, 480, 600 - 20 * i)
    data = pdf_of(content + "Q")
    document = documents.read(data)
    assert [" ".join(row.split()) for row in document.text.split("\n")] == [" ".join(row) for row in rows]
    assert ink_outside_of_boxes(document, data) == 0


@pytest.mark.parametrize("degrees", [20, 30, 45, -60])
def test_a_watermark_stays_out_of_the_rows_and_is_named(degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = f"{cos:.4f} {sin:.4f} {-sin:.4f} {cos:.4f}"
    content = line("Bold Bros Ltd", y=700) + line("Desk lamp 2", y=660) + line("176.00", 400, 660)
    for x in range(20, 500, 120):
        for y in range(100, 760, 70):
            content += line("copy of 7718", x, y, matrix)
    document = documents.read(pdf_of(content))
    assert [row.split() for row in document.text.split("\n")] == [
        ["Bold", "Bros", "Ltd"],
        ["Desk", "lamp", "2", "176.00"],
        ["copy", "of", "7718"],
    ]
    assert document.problems == [
        'page 1: print at another angle or beside the paper stands below its rows: "copy of 7718"'
    ]


@pytest.mark.parametrize("matrix", ["0 1 -1 0", "0 -1 1 0"])
def test_a_table_on_its_side_has_its_own_rows(matrix):
    rows = [["Service", "Months", "Price"], ["Oil change", "12", "89.00"], ["Brake fluid", "24", "65.00"]]
    content = "".join(line(f"Clause {n}: the garage carries out what is listed.", 50, 760 - 20 * n) for n in range(6))
    up = matrix == "0 1 -1 0"
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            x, y = (300 + 20 * i, 100 + 150 * j) if up else (360 - 20 * i, 560 - 150 * j)
            content += line(text, x, y, matrix)
    found = [" ".join(row.split()) for row in documents.read(pdf_of(content)).text.split("\n")]
    assert found[6:] == [" ".join(row) for row in rows]


PAPER = "".join(line("letter on printed paper " * 3, 20, 400 - 20 * n) for n in range(4))
LOGO = "q 100 0 0 130 0 0 cm /I Do Q " + line("An invoice with a logo")


@pytest.mark.parametrize(
    ("content", "reader", "kept"),
    [
        (FULL_PAGE, "ocr", ""),
        (FULL_PAGE + line("Scanned by a scanner", y=20), "pdf text and ocr", "Scanned by a scanner"),
        ("q 400 0 0 520 40 200 cm /I Do Q " + line("Sent by an app", y=20), "pdf text and ocr", "Sent by an app"),
        (FULL_PAGE + line("words of another OCR, with many mistakes, " * 8, y=20, mode=3), "ocr", ""),
        (
            "q 100 0 0 130 0 0 cm /I Do Q " + line("An invoice with a logo"),
            "pdf text and ocr",
            "An invoice with a logo",
        ),
        (FULL_PAGE + PAPER, "pdf text and ocr", "letter on printed paper " * 12),
    ],
    ids=["scan", "stamp on a scan", "scan with a margin", "hidden layer of a scan", "logo", "background"],
)
def test_pictures_with_print_are_read_by_ocr_whatever_text_stands_beside_them(content, reader, kept):
    data = pdf_of(content, image=SCAN)
    document = documents.read(data)
    assert document.reader == reader
    assert "TOTAL 15.50" in joined(document)
    assert kept.strip() in joined(document)
    assert "mistakes" not in joined(document)
    if content == FULL_PAGE:
        assert ink_outside_of_boxes(document, data) < 0.02


def test_a_table_that_is_a_picture_stands_between_the_rows_around_it():
    rows = [line("Dear customer, here are the charges.", y=760), line("Please pay within 30 days.", y=300)]
    document = documents.read(pdf_of("".join(rows) + "q 300 0 0 400 100 340 cm /I Do Q ", image=SCAN))
    found = [" ".join(row.split()) for row in document.text.split("\n")]
    assert found == [
        "Dear customer, here are the charges.",
        "Green tea 2.00",
        "Cheese cake 13.50",
        "TOTAL 15.50",
        "Please pay within 30 days.",
    ]
    assert document.problems == []


def test_a_picture_in_a_form_is_read_where_it_stands():
    """The form shrinks it to the lower half of the page; the box is not the one that it has within the form."""

    def finish(made):
        resources = made.pages[0].obj.Resources
        form = pikepdf.Stream(made, b"q 600 0 0 800 0 0 cm /I Do Q")
        for key, value in names({"/Type": "/XObject", "/Subtype": "/Form"}).items():
            form[key] = value
        form.BBox, form.Resources = pikepdf.Array([0, 0, 600, 800]), pikepdf.Dictionary(XObject=resources.XObject)
        resources.XObject = pikepdf.Dictionary(X=made.make_indirect(form))

    data = pdf_of(line("Statement") + "q 0.5 0 0 0.5 100 0 cm /X Do Q", image=SCAN, finish=finish)
    document = documents.read(data)
    assert joined(document) == "Statement Green tea 2.00 Cheese cake 13.50 TOTAL 15.50"
    assert ink_outside_of_boxes(document, data) < 0.02


def test_letters_that_are_drawn_as_shapes_are_read_by_ocr():
    """As programs write text that they turned into outlines, here beside digital text."""
    from matplotlib.textpath import TextPath

    def outline(text, x, y):
        moves = []
        for points, code in TextPath((x, y), text, size=22).iter_segments(curves=True):
            at = " ".join(f"{value:.2f}" for value in points)
            end = " ".join(at.split()[-2:])
            moves.append({1: f"{at} m", 2: f"{at} l", 3: f"{end} l", 4: f"{at} c", 79: "h"}[int(code)])
        return " ".join(moves) + " f "

    document = documents.read(pdf_of(line("Page 1 of 1", y=30) + outline("TOTAL 15.50", 100, 500)))
    assert joined(document) == "TOTAL 15.50 Page 1 of 1"


def test_a_hidden_layer_serves_where_ocr_finds_nothing():
    white = Image.new("L", (600, 800), "white")
    document = documents.read(pdf_of(FULL_PAGE + line("what another OCR found", mode=3), image=white))
    assert (joined(document), document.reader, document.ocr) == ("what another OCR found", "pdf text", None)
    (problem,) = document.problems
    assert problem.endswith('cannot be seen on it was used, since OCR read none: "what another OCR found"')


def test_a_pdf_of_both_kinds_says_so():
    scanned = pdf_of(line("A page with a text layer"), FULL_PAGE, image=SCAN)
    document = documents.read(scanned)
    assert document.reader == "pdf text and ocr"
    assert document.ocr.startswith("rapidocr 3")
    assert {word.page for word in document.words} == {1, 2}


@pytest.mark.parametrize(
    "data",
    [LETTER[: len(LETTER) * 9 // 10], LETTER[:-40], b"junk" * 200 + LETTER[:-60]],
    ids=["a tenth is missing", "end is missing", "junk before it"],
)
def test_a_truncated_pdf_is_repaired_and_that_is_said(data):
    document = documents.read(data)
    assert "Page number 1 of the letter" in joined(document)
    assert document.problems == ["the PDF was damaged and has been repaired; parts of it may be missing"]


def test_junk_before_a_pdf_is_no_damage():
    document = documents.read(b"junk" * 200 + LETTER)
    assert (document.pages, document.problems) == (3, [])


@pytest.mark.parametrize("revision", [4, 6])
def test_an_encrypted_pdf_is_refused_unless_it_opens_without_a_password(revision):
    def locked(user):
        return pikepdf.Encryption(user=user, owner="owner", R=revision, aes=True)

    with pytest.raises(DocumentError, match="protected by a password"):
        documents.read(pdf_of(line("secret"), encryption=locked("secret")))
    assert joined(documents.read(pdf_of(line("open"), encryption=locked("")))) == "open"


def test_pages_of_a_pdf_over_the_limit_are_reported():
    document = documents.read(LETTER, Limits(max_pages=2))
    assert "number 2" in joined(document) and "number 3" not in joined(document)
    assert (document.pages, document.pages_skipped) == (3, 1)
    assert document.problems == ["only the first 2 of 3 pages were read"]


def test_a_page_of_any_size_makes_a_picture_of_bounded_size():
    data = pdf_of(
        line("huge"), finish=lambda made: made.pages[0].obj.__setitem__("/MediaBox", pikepdf.Array([0, 0, 2e6, 1e6]))
    )
    drawn = documents.render(data, 1, 500)
    assert max(drawn.image.size) <= 501
    assert drawn.width == 2 * drawn.height


def test_a_picture_that_stands_on_every_page_is_read_on_each():
    document = documents.read(pdf_of(LOGO, LOGO, image=SCAN))
    assert [word.page for word in document.words if word.text == "15.50"] == [1, 2]


def test_many_small_pictures_are_all_read():
    row = picture(["TOTAL 15.50"], (400, 110))
    content = line("Nine receipts", y=770) + "".join(f"q 200 0 0 55 60 {700 - 80 * n} cm /I Do Q " for n in range(9))
    assert joined(documents.read(pdf_of(content, image=row))) == "Nine receipts" + " TOTAL 15.50" * 9
