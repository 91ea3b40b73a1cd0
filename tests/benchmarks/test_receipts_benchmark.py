import json

import pytest

from benchmarks import receipts
from extraction import files
from extraction.reading.words import Word


def quad(left, top, right, bottom):
    return [left, bottom, right, bottom, right, top, left, top]  # as WildReceipt begins: bottom left


SEGMENTS = [
    (quad(0, 0, 90, 10), "CornerShop", 1),
    (quad(0, 20, 30, 30), "Tea", 11),
    (quad(100, 20, 140, 30), "2.00", 15),
    (quad(0, 40, 40, 50), "Cake", 11),
    (quad(100, 40, 140, 50), "3.50", 15),
    (quad(0, 60, 50, 70), "TOTAL", 24),
    (quad(100, 60, 140, 70), "5.50", 23),
]


@pytest.fixture
def folder(tmp_path):
    names = "1 Store_name_value\n11 Prod_item_value\n15 Prod_price_value\n23 Total_value\n24 Total_key\n"
    (tmp_path / "class_list.txt").write_text(names)
    (tmp_path / "a.jpg").write_bytes(b"an image")
    annotations = [{"box": box, "text": text, "label": label} for box, text, label in SEGMENTS]
    rows = [{"file_name": name, "annotations": annotations} for name in ("a.jpg", "missing.jpg")]
    (tmp_path / "test.txt").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_annotations_become_the_record_that_they_label_and_the_text_that_they_print(folder):
    [receipt] = receipts.receipts(folder, "test.txt")
    document, record = receipts.gold(receipt["segments"])
    assert [line.split() for line in document.text.splitlines() if line.strip()] == [
        ["CornerShop"],
        ["Tea", "2.00"],
        ["Cake", "3.50"],
        ["TOTAL", "5.50"],
    ]
    assert record == {
        "merchant": {"name": "cornershop"},
        "line_items": [{"description": "tea"}, {"description": "cake"}, {"amount": "2.00"}, {"amount": "3.50"}],
        "total": "5.50",
    }


def test_only_fields_that_the_annotations_know_are_compared_and_blanks_do_not_count():
    record = {"merchant": {"name": "Corner Shop", "tax_id": "1"}, "line_items": [{"amount": "2 .00"}], "cash": "6.00"}
    assert receipts.comparable(record) == {"merchant": {"name": "cornershop"}, "line_items": [{"amount": "2.00"}]}


def test_a_segment_is_read_right_by_the_words_in_it(folder):
    [receipt] = receipts.receipts(folder, "test.txt")
    words = [Word("Shop", (50, 0, 90, 10)), Word("Corner", (0, 0, 45, 10)), Word("Tee", (0, 20, 30, 30))]
    words += [Word("noise", (300, 300, 330, 310)), Word("5.50", (100, 61, 139, 70))]
    assert receipts.segment_counts(receipt["segments"], words) == (2, 7, 3, 5)


def test_a_folder_without_annotations_or_images_is_refused(folder, tmp_path):
    with pytest.raises(files.StageError, match="not a file of WildReceipt"):
        receipts.receipts(folder, "nothing.txt")
    (folder / "a.jpg").unlink()
    with pytest.raises(files.StageError, match="no image"):
        receipts.receipts(folder, "test.txt")
