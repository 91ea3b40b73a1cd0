"""Rows as CSV: a column for each value, none lost, none overwritten."""

import csv

from extraction.runs import results


def written(path, *rows):
    """What a spreadsheet reads: the lines of documents, and those of entries of lists."""
    second = results.write_csv(rows, path / "out.csv")
    found = []
    for name in (path / "out.csv", second):
        with open(name, encoding="utf-8-sig", newline="") as f:
            found.append(list(csv.DictReader(f)))
    return found


def test_fields_that_are_called_file_and_path_have_columns_of_their_own(tmp_path):
    record = {"file": "f", "path": "p", "record": {"file": "deep"}}
    record["attachments"] = [{"file": "order.pdf", "path": "/inbox", "record": {"file": "x"}, "size": "12 KB"}]
    (document,), (entry,) = written(tmp_path, {"file": "a.txt", "record": record})
    assert (document["file"], document["record.file"], document["record.record.file"]) == ("a.txt", "f", "deep")
    assert entry == {
        "file": "a.txt", "path": "attachments[0]", "record.file": "order.pdf", "record.path": "/inbox",
        "record.record.file": "x", "size": "12 KB",
    }  # fmt: skip


def test_no_cell_holds_what_only_python_reads(tmp_path):
    record = {"grid": [["1", "2"], ["3"]], "mixed": [{"a": "1"}, "b"], "names": ["x", "y"], "paid": True, "rate": 0.5}
    (document,), entries = written(tmp_path, {"file": "a.txt", "record": record})
    assert document["record.grid"] == '[["1", "2"], ["3"]]'
    assert document["record.mixed"] == '[{"a": "1"}, "b"]'
    assert (document["record.names"], document["record.paid"], document["record.rate"]) == ("x\ny", "true", "0.5")
    assert entries == []


def test_a_question_that_is_asked_twice_has_two_columns(tmp_path):
    asked = [{"question": "Who?", "answer": "Ann"}, {"question": "Who?", "answer": "Bob"}]
    asked.append({"question": "Who? (2)", "answer": "Cid"})
    (document,), _ = written(tmp_path, {"file": "a.txt", "record": {}, "answers": asked})
    assert [value for name, value in document.items() if name.startswith("answer: ")] == ["Ann", "Bob", "Cid"]
