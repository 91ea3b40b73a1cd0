"""Rows of questions from DocVQA's files, scored apart from those the model was trained for."""

import json

import pytest
from PIL import Image, ImageDraw, ImageFont

import test_moe
from benchmarks import docvqa
from extraction import files


def rows_of(tmp_path, name, text, capsys):
    path = tmp_path / name
    path.write_text(text)
    assert docvqa.main([str(path), "-o", str(tmp_path / "out" / "rows.jsonl")]) == 0
    return test_moe.read_rows(tmp_path / "out" / "rows.jsonl")


def test_pages_of_the_published_file_are_read_by_our_own_reader(tmp_path, capsys):
    (tmp_path / "documents").mkdir()
    page = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(page).text((40, 100), "Invoice total 482.50", fill="black", font=ImageFont.load_default(60))
    page.save(tmp_path / "documents" / "p1.jpg")  # the published file names a PNG
    entry = {"question": "What is the total?", "image": "documents/p1.png", "answers": ["482.50"]}
    rows, left_out = rows_of(tmp_path, "val.json", json.dumps({"data": [entry, entry]}), capsys)
    assert not left_out
    assert len(rows) == 2 and len({row["id"] for row in rows}) == 2
    assert {(row["domain"], row["ocr"], row["document"]) for row in rows} == {("DocVQA", "own", "docvqa/p1")}
    assert "482.50" in rows[0]["prompt"][1]["content"]


def test_lines_with_a_text_of_another_ocr_say_so(tmp_path, capsys):
    entry = {"question": "Who?", "answers": ["A. Smith"], "ocr_text": "signed\n\n A. Smith"}
    rows, _ = rows_of(tmp_path, "sample.jsonl", json.dumps(entry) + "\n", capsys)
    assert rows[0]["ocr"] == "dataset's"
    assert rows[0]["target"] == {"answers": ["A. Smith"]}


@pytest.mark.parametrize("text", ['{"data": [{"question": "x"}]}', '{"data": []}', '{"rows": []}'])
def test_another_file_is_refused_with_a_sentence_and_nothing_is_written(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(files.StageError, match="x.json"):
        docvqa.main([str(tmp_path / "x.json"), "-o", str(tmp_path / "rows.jsonl")])
    assert not (tmp_path / "rows.jsonl").exists()
