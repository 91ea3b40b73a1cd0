"""A corrected document is kept for training when a person ticks the box, and never otherwise."""

import json

import pytest

from extraction import own_folder, steps
from extraction.files import StageError
from extraction.own_folder import Folder
from extraction.page import keep
from extraction.page.opened import Opened
from extraction.reading import documents
from extraction.tasks import custom, schemas

FIELDS = '{"seller": "", "paid": ""}'


def an_opened(path, text, task=schemas.RECEIPT, **record):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    found = steps.Extraction(path.name, task, "stand-in", steps.Shown(documents.Document(text), task))
    found.change(record, {})
    return Opened(path, found)


def test_a_kept_document_is_a_labeled_one_whose_record_follows_later_corrections(tmp_path):
    opened, root = an_opened(tmp_path / "up" / "a.txt", "Total 9.25", total="9.52"), tmp_path / "own"
    opened.edit("total", "9.25")
    opened.kept = keep.keep(opened, root, None)
    assert opened.kept == root / "receipt" / "a.txt" and Folder(root / "receipt").labeled() == [opened.kept]
    opened.edit("total", "9.00")
    assert keep.keep(opened, root, None) == opened.kept
    assert own_folder.read_record(opened.kept) == {"total": "9.00"}
    assert Folder(root / "receipt").task is schemas.RECEIPT
    keep.forget(opened.kept)
    assert Folder(root / "receipt").documents() == []


def test_another_document_of_the_same_name_lies_beside_it_and_a_label_that_is_there_is_not_replaced(tmp_path):
    root = tmp_path / "own"
    first = keep.keep(an_opened(tmp_path / "1" / "image.txt", "Total 1", total="1"), root, None)
    second = keep.keep(an_opened(tmp_path / "2" / "image.txt", "Total 2", total="2"), root, None)
    assert first != second and [own_folder.read_record(d)["total"] for d in (first, second)] == ["1", "2"]
    with pytest.raises(StageError, match="holds this document already: correct its record there"):
        keep.keep(an_opened(tmp_path / "3" / "image.txt", "Total 1", total="3"), root, None)
    assert own_folder.read_record(first) == {"total": "1"}
    (first.parent / "photo.json").write_text('{"total": "4"}')  # the record of a photo.pdf, say
    third = keep.keep(an_opened(tmp_path / "4" / "photo.txt", "Total 4", total="4"), root, None)
    assert third.name.startswith("photo-") and own_folder.records_of(third) == [own_folder.record_of(third)]


def test_fields_of_ones_own_are_kept_in_the_folder_that_has_them_or_in_a_new_one_with_their_schema(tmp_path):
    root, task = tmp_path / "own", custom.parse(FIELDS, "the schema")
    first = keep.keep(an_opened(tmp_path / "1" / "a.txt", "Shop 1", task, seller="Shop"), root, FIELDS)
    assert json.loads((first.parent / "schema.json").read_text()) == json.loads(FIELDS)
    (root / "notes").mkdir()
    first.parent.rename(root / "shops")
    (root / "notes" / "schema.json").write_text("{")
    second = keep.keep(an_opened(tmp_path / "2" / "b.txt", "Shop 2", task, seller="Shop"), root, None)
    assert second == root / "shops" / "b.txt"
    other = custom.parse('{"buyer": ""}', "the schema")
    with pytest.raises(StageError, match="the fields were changed after the document was read"):
        keep.keep(an_opened(tmp_path / "3" / "c.txt", "Shop 3", other, buyer="Shop"), root, FIELDS)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "own").write_text("a file where the folder should be")
    with pytest.raises(StageError, match="cannot write to .*receipt: .*. Nothing was kept"):
        keep.keep(an_opened(tmp_path / "1" / "a.txt", "Total 1", total="1"), tmp_path / "own", None)
