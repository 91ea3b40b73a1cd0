import shutil
import sys
from pathlib import Path

import matplotlib
import pytest
from PIL import Image, ImageDraw, ImageFont

from extraction.reading import ocr, pages
from extraction.reading.documents import DocumentError, Limits
from tests.helpers.papers import encoded, picture


@pytest.fixture
def fresh_engine():
    ocr.engine.cache_clear()
    yield
    ocr.engine.cache_clear()


@pytest.mark.skipif(not shutil.which("tesseract"), reason="needs tesseract, which .ci/run installs")
def test_tesseract_reads_where_rapidocr_is_missing_and_the_document_says_so(monkeypatch, fresh_engine):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    data = encoded(picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"]))
    (page,) = [message for message in pages.read(data, "image", Limits()) if "words" in message]
    assert page["ocr"].startswith("tesseract ")
    assert [text for text, *_ in page["words"]][-2:] == ["TOTAL", "15.50"]
    (problem,) = page["problems"]
    assert problem.startswith("read by tesseract, which misreads more, because RapidOCR is not installed")


RUSSIAN = ["Счёт номер пять от марта", "Сумма сто рублей", "Итого 120,00", "Спасибо за покупку"]
GREEK = ["Τιμολόγιο αριθμός πέντε", "Σύνολο εκατό ευρώ", "Ευχαριστούμε πολύ 12,00"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (RUSSIAN, "page 1: 3 of 4 lines could not be read by OCR; it may not know their script"),
        (GREEK, "page 1: OCR is unsure of what it read"),
        (["Größe: 5 Stück, déjà payé", "Total für alles 120,00", "¿Señor? Merci à bientôt"], None),
    ],
    ids=["Cyrillic", "Greek", "Latin with accents"],
)
def test_print_in_a_script_that_the_engine_does_not_know_is_named(rows, said):
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 28)
    image = Image.new("RGB", (700, 300), "white")
    for n, row in enumerate(rows):
        ImageDraw.Draw(image).text((40, 30 + 60 * n), row, fill="black", font=font)
    (page,) = [message for message in pages.read(encoded(image), "image", Limits()) if "words" in message]
    assert [problem[: len(said or "")] for problem in page["problems"]] == [said] * bool(said)


def test_no_ocr_engine_at_all_is_one_sentence(monkeypatch, fresh_engine):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DocumentError, match="no OCR engine is installed: pip install rapidocr onnxruntime"):
        ocr.engine("auto")
    with pytest.raises(DocumentError, match="apt-get install tesseract-ocr"):
        ocr.engine("tesseract")


def test_an_engine_that_was_asked_for_and_is_missing_is_not_replaced(monkeypatch, fresh_engine):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DocumentError, match="OCR by openvino is not installed"):
        ocr.engine("openvino")


def test_single_digits_that_are_taller_than_wide_are_read_upright():
    words, _ = ocr.read(Image.open("data/samples/documents/receipt_photo_2.jpg").convert("RGB"))
    column = sorted((word.box[1], word.text) for word in words if word.box[0] < 280 and 570 < word.box[1] < 1060)
    assert [text for _, text in column] == ["2", "2", "1", "1", "2", "2", "1", "1", "5", "7"]
