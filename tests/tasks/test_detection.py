from pathlib import Path

import pytest

from benchmarks import types
from extraction import files
from extraction.tasks import detection

INVOICES = {  # with running terms, a greeting, and amounts with and without cents
    "de": "Nordlicht Leuchten GmbH\nRechnung Nr. 4711\nKöln, 12.03.2026\nSehr geehrte Damen und Herren, wir berechnen "
    "wie folgt. Vielen Dank für den Auftrag.\nTischleuchte   2   88   176\nMwSt. 19 %   33\nEndbetrag   209\nZahlbar "
    "in 14 Tagen. Die Ware bleibt unser Eigentum. Gerichtsstand ist Köln. Es gelten unsere Bedingungen.",
    "fr": "Lumière SARL\nFacture n° 88 du 12/03/2026\nLampe   2   88,00   176,00\nTotal HT   176,00\nTVA 20 %   35,20\n"
    "Net à payer   211,20 €\nRèglement à 30 jours. Pas d'escompte. Toute somme impayée porte intérêt. Merci.",
    "pl": "Lampy Północ\nFaktura nr 12/2026\nLampa   2   88,00   176,00\nVAT 23%   40,48\nDo zapłaty   216,48\n"
    "Termin płatności 14 dni. Towar pozostaje naszą własnością. Dziękujemy. Zapraszamy.",
    "es": "Panadería Peña\nTicket 118 12/03/2026\nPan   1,20\nCafé   1,50\nTotal   2,70 €\nGracias por su visita",
    "it": "Bar Sole\nScontrino 44\nCaffè   1,20\nBrioche   1,50\nTotale   2,70\nContanti   5,00\nResto   2,30",
    "nl": "Kiosk Noord\nKassabon 77\nKoffie   3\nKoek   2\nTotaal   5\nContant   10\nBtw 9 %   0,41",
    "pt": "Padaria Sol\nFatura 204\nCafé   0,80\nPão   0,50\nTotal   1,30\nNIF 502790024\nIVA incluído",
    "cs": "Lampy Sever s.r.o.\nFaktura č. 9\nLampa   2   880   1 760\nDPH 21 %   370\nCelkem k úhradě   2 130 Kč",
    "id": "Warung Sari\nStruk 12\nNasi goreng   2   25.000   50.000\nTotal   50.000\nTunai   100.000\nKembali   50.000",
}


@pytest.mark.parametrize("language", INVOICES)
def test_an_invoice_is_one_in_any_language_whatever_terms_it_has(language):
    assert detection.detect(INVOICES[language]).name == "receipt"


def test_contracts_and_letters_are_what_they_are_in_nine_languages():
    blocks = Path("benchmarks/texts.txt").read_text(encoding="utf-8").split("## ")[1:]
    assert len(blocks) == 17
    for block in blocks:
        kind, text = block.split("\n", 1)
        assert detection.detect(text).name == kind.split()[0], kind


def test_what_has_no_words_is_no_document_and_has_no_scores():
    assert detection.scores("") == detection.scores("~ ;: x\n .") == {}
    assert detection.detect("").name == "document"
    assert set(detection.scores("Total due 5.00")) == {"receipt", "contract", "document"}


def test_the_bundled_samples_are_what_they_are():
    contracts = files.read_json(Path("data/samples/cuad.json"))["data"]
    found = [detection.detect(entry["paragraphs"][0]["context"]).name for entry in contracts]
    assert found.count("contract") >= 0.95 * len(found)
    pages = files.read_json(Path("data/samples/tatqa.json"))
    found = [detection.detect("\n".join(p["text"] for p in page["paragraphs"])).name for page in pages]
    assert found.count("document") >= 0.95 * len(found)
    made = [(task, text) for name, task, text in types.documents(None, tuning=False) if "generated" in name]
    right = sum(detection.detect(text).name == task for task, text in made)
    assert len(made) == 180 and right >= 0.95 * len(made)


def test_a_record_of_an_e_invoice_is_printed_in_its_language():
    gold = {
        "seller": {"name": "Sole S.r.l."},
        "invoice_number": "7",
        "lines": [{"name": "Lampada", "amount": "1234.5"}],
    }
    text = types.printed(gold | {"line_total": "1234.50", "grand_total": "1481.40"}, list(types.LABELS).index("it"), 0)
    assert "Fattura" in text and "1.234,50" in text
