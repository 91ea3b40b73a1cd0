import base64
import csv
import io
import json

import pytest
from PIL import Image, ImageDraw, ImageFont

from extraction.page import view
from extraction.reading import documents
from extraction.reading.limits import Limits
from extraction.tasks import schemas


def a_field(path="total", value="9.25", grounding="exact", boxes=(), **rest):
    same = {"normalized": None, "confidence": None, "span": None}
    return {"path": path, "value": value, "grounding": grounding, "boxes": list(boxes), **same, **rest}


def a_box(page, left=10, top=20, right=30, bottom=40):
    return {"page": page, "left": left, "top": top, "right": right, "bottom": bottom}


def a_result(**rest):
    empty = {"file": "a.pdf", "document_type": "receipt", "fields": [], "checks": [], "problems": []}
    return empty | rest


def sheet(path, angle=0, fill="black"):
    """A picture of two lines of print, and where the second of them is printed."""
    image = Image.new("RGB", (900, 600), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=44)
    draw.text((120, 140), "Harbour Street Bakery and Cafe", fill=fill, font=font)
    draw.text((120, 400), "Grand total of this receipt 174.50", fill=fill, font=font)
    image.rotate(angle, expand=True, fillcolor="white").save(path)
    return path


def printed_under(box, drawn):
    """The share of dark pixels in the area that a box is drawn on."""
    scale = drawn.image.width / drawn.width
    area = drawn.image.convert("L").crop([round(v * scale) for v in box])
    return sum(area.histogram()[:128]) / (area.width * area.height)


@pytest.mark.parametrize("angle", [0, -4, 3, 90])
def test_the_boxes_of_a_tilted_or_turned_photo_lie_on_its_print(tmp_path, angle):
    path = sheet(tmp_path / "photo.png", angle)
    document = documents.read(path)
    drawn = documents.render(path, 1, 1200)
    words = [word for word in document.words if word.text in ("Harbour", "Bakery", "Grand", "receipt", "174.50")]
    assert len(words) >= 4
    for word in words:
        assert printed_under(word.box, drawn) > 0.1, word
        left, top, right, bottom = word.box  # what is beside the line is blank
        below = (left, bottom + 20, right, bottom + 60) if angle != 90 else (right + 20, top, right + 60, bottom)
        assert printed_under(below, drawn) < 0.02, word


def test_a_picture_has_the_boxes_of_its_page_and_knows_the_pages_of_all_fields(tmp_path):
    frames = [Image.new("L", (200, 100), 255) for _ in range(3)]
    frames[0].save(tmp_path / "fax.tif", save_all=True, append_images=frames[1:])
    fields = [a_field("date", boxes=[a_box(1)]), a_field("total", boxes=[a_box(2), a_box(3)]), a_field("tip")]
    value = view.picture(tmp_path / "fax.tif", 2, 3, fields, Limits(), "total")
    boxes = [(box["field"], box["page"], box["left"], box["bottom"]) for box in value["boxes"]]
    assert boxes == [("date", 1, 10, 40), ("total", 2, 10, 40), ("total", 3, 10, 40)]
    assert value["places"] == {"date": 1, "total": 2}
    assert (value["page"], value["pages"], value["active"]) == (2, 3, "total")
    assert (value["width"], value["height"]) == (200, 100)
    image = Image.open(io.BytesIO(base64.b64decode(value["src"].removeprefix("data:image/jpeg;base64,"))))
    assert image.size == (200, 100)


def test_a_pdf_page_keeps_its_size_in_points_whatever_the_picture_has():
    drawn = documents.render(config_samples() / "invoice.pdf", 1, 700)
    assert max(drawn.image.size) == 700
    assert drawn.width / drawn.height == pytest.approx(drawn.image.width / drawn.image.height, rel=0.01)
    assert max(drawn.width, drawn.height) == pytest.approx(842, abs=1)


def config_samples():
    import config

    return config.PROFILES["cpu"].samples_dir / "documents"


def test_a_format_without_pages_has_a_sentence_and_no_picture(tmp_path):
    (tmp_path / "a.txt").write_text("Total 9.25")
    value = view.picture(tmp_path / "a.txt", 1, 1, [a_field()], Limits())
    assert "src" not in value and value["boxes"] == [] and "Text" in value["note"]


def test_a_page_is_drawn_within_the_limits_that_were_set(tmp_path):
    Image.new("RGB", (900, 900), "white").save(tmp_path / "a.png")
    with pytest.raises(documents.DocumentError, match="900 x 900 pixels; the limit is 500,000"):
        view.picture(tmp_path / "a.png", 1, 1, [], Limits(max_image_pixels=500_000))
    assert view.picture(tmp_path / "a.png", 1, 1, [], Limits())["width"] == 900


def test_the_templates_that_gradio_turns_into_code_hold_nothing_but_markup():
    for template in (view.PICTURE_TEMPLATE, view.TABLE_TEMPLATE, view.TALK_TEMPLATE, view.style()):
        assert not [sign for sign in ("${", "{{", "`", "\\") if sign in template]


def test_the_script_sets_text_never_html():
    script = view.script("fields")
    assert "textContent" in script
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert way not in script


def test_a_row_says_where_its_value_was_found_and_shows_whole_numbers_without_a_point():
    fields = [
        a_field(normalized=45500.0, confidence=0.974, boxes=[a_box(2)]),
        a_field("tip", "1.5", "none", normalized=1.5, edited=True),
    ]
    total, tip = view.table(a_result(fields=fields), {})["rows"]
    assert (total["normalized"], total["confidence"], total["page"], total["edited"]) == ("45500", 97, 2, False)
    assert (tip["normalized"], tip["confidence"], tip["page"], tip["edited"]) == ("1.5", None, None, True)
    assert (total["says"], tip["says"]) == ("as printed", "not found")


RECORD = {
    "merchant": {"name": "Cafe", "tax_id": None},
    "invoice_number": "A-17",
    "date": None,
    "currency": "EUR",
    "line_items": [
        {
            "description": "Tea",
            "quantity": None,
            "amount": "3.00",
            "sub_items": [{"description": "Milk", "amount": "1.00"}],
        },
        {"description": "Cake", "quantity": "2", "amount": "6.25", "sub_items": None},
    ],
    "total": "9.25",
    "cash": None,
}


def test_fields_are_grouped_with_human_labels_and_lists_of_objects_are_tables():
    head, seller, items, totals = view.groups(RECORD, schemas.RECEIPT.schema)
    assert [entry["label"] for entry in head["fields"]] == ["Invoice number", "Date", "Currency"]
    assert (seller["name"], [entry["label"] for entry in seller["fields"]]) == ("Seller", ["Name", "Tax ID"])
    assert [(column["label"], column["number"], column["empty"]) for column in items["columns"]] == [
        ("Description", False, False),
        ("Amount", True, False),
        ("Quantity", True, False),
    ]
    assert [(entry["at"], entry["level"]) for entry in items["entries"]] == [
        ("line_items[0]", 0),
        ("line_items[0].sub_items[0]", 1),
        ("line_items[1]", 0),
    ]
    assert [entry["field"] for entry in totals["fields"]] == ["total", "cash"]


def test_each_value_stands_in_one_group_only():
    clauses = {"clauses": {"Parties": ["Ann", "Bob"], "Governing Law": None}}
    (group,) = view.groups(clauses, schemas.CONTRACT.schema)
    assert [(entry["label"], entry["field"]) for entry in group["fields"]] == [
        ("Parties", "clauses.Parties[0]"),
        ("Parties", "clauses.Parties[1]"),
        ("Parties", "clauses.Parties[2]"),  # another one can be added
        ("Governing Law", "clauses.Governing Law[0]"),
    ]


def test_the_head_says_what_it_is_whether_sums_hold_and_how_much_needs_a_look():
    fields = [a_field("total"), a_field("merchant.name", "Cafe", "none", review=True)]
    sums = {"rule": "sum of line items = subtotal", "verdict": "holds"}
    head = view.headline(a_result(record=RECORD, fields=fields, checks=[sums]))
    assert head == {"title": "Invoice A-17, Cafe, EUR 9.25", "sums": "checks hold", "fails": False, "review": 1}
    wrong = {"rule": "subtotal + tax + service - discount = total", "verdict": "fails"}
    head = view.headline(a_result(record=RECORD, fields=fields, checks=[sums, wrong]))
    assert (head["sums"], head["fails"]) == ("1 check fails", True)


def test_a_verdict_stands_at_the_value_that_it_judges():
    fields = [a_field("line_items[0].amount", "3.00"), a_field("total")]
    made = [
        {"rule": "line_items[0]: quantity x unit price = amount", "verdict": "fails", "detail": "2 x 1 = 2, not 3"},
        {"rule": "subtotal + tax + service - discount = total", "verdict": "holds"},
    ]
    amount, total = view.table(a_result(fields=fields, checks=made), {})["rows"]
    assert [check["verdict"] for check in amount["checks"]] == ["fails"]
    assert amount["checks"][0]["says"].endswith("fails (2 x 1 = 2, not 3)")
    assert [check["verdict"] for check in total["checks"]] == ["holds"]


def test_what_needs_a_look_comes_first_and_is_counted():
    made = [{"rule": "a", "verdict": "holds"}, {"rule": "b", "verdict": "cannot tell", "detail": "why"}]
    result = a_result(checks=[*made, {"rule": "c", "verdict": "fails"}], problems=["tip: not found"])
    rows = view.verdicts(result)
    assert [row[:2] for row in rows] == [
        ["fails", "c"],
        ["warning", "tip: not found"],
        ["cannot tell", "b"],
        ["holds", "a"],
    ]
    assert view.needing_a_look(result) == 2


def test_exports_hold_the_same_values_and_can_be_read_back():
    fields = [a_field(value='1,000 "net"\nof tax', boxes=[a_box(3)], edited=True), a_field("date", "1 May", "none")]
    result = a_result(fields=fields)
    files = view.exports(result)
    assert json.loads(files["json"]) == json.loads(files["jsonl"]) == result
    assert files["jsonl"].count("\n") == 1
    first, second = csv.DictReader(io.StringIO(files["csv"].removeprefix("\ufeff"), newline=""))
    assert (first["value"], first["page"], first["edited"]) == ('1,000 "net"\nof tax', "3", "edited")
    assert (second["field"], second["grounding"], second["page"], second["edited"]) == ("date", "none", "", "")


def test_the_csv_opens_in_excel_and_what_it_would_run_becomes_text():
    fields = [a_field(value="=1+1"), a_field("merchant.name", 'Café "Süd", Köln\nHall 2')]
    data = view.exports(a_result(fields=fields))["csv"].encode()
    assert data.startswith(b"\xef\xbb\xbf")  # without it Excel takes UTF-8 for another encoding
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), "excel"))
    assert [len(row) for row in rows] == [len(view.CSV_HEADER)] * 3
    assert [row[3] for row in rows] == ["value", "'=1+1", 'Café "Süd", Köln\nHall 2']


def test_a_box_is_named_as_people_say_it():
    names = ["line_items[1].sub_items[0].unit_price", "merchant.tax_id", "clauses.Governing Law[0]"]
    assert [view.spoken(name) for name in names] == [
        "Line items 2, Sub items 1, Unit price",
        "Seller, Tax ID",
        "Clauses, Governing Law 1",
    ]
