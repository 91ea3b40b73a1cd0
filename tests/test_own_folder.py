"""A folder of one's own documents: what is a document, what is labeled, and what it asks for."""

import json

import pytest

from extraction import own_folder
from extraction.files import StageError
from extraction.tasks import schemas


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "schema.json").write_text('{"number": "", "items": [{"what": ""}]}')
    for name in ("b.txt", "a.txt", ".hidden.txt", "a.txt.draft.json"):
        (tmp_path / name).write_text(name)
    return own_folder.Folder(tmp_path)


def test_a_document_is_labeled_by_the_record_beside_it_and_not_by_a_draft(folder):
    assert [p.name for p in folder.documents()] == ["a.txt", "b.txt"]
    assert folder.labeled() == []
    document = folder.documents()[1]
    path = own_folder.write_record(document, {"number": "7", "items": [], "date": None})
    assert path.name == "b.txt.json" and folder.labeled() == [document]
    assert own_folder.read_record(document) == {"number": "7"}


def test_a_record_is_known_by_the_whole_name_of_its_document_by_the_name_alone_and_in_metadata(folder):
    a, b = folder.documents()
    (folder.path / "a.json").write_text('{"number": "1"}')
    (folder.path / "metadata.jsonl").write_text('{"file_name": "b.txt", "ground_truth": "{}"}')
    (folder.path / "schema.txt").write_text("beside schema.json, which is no record of it")
    assert folder.labeled() == [a, b] and own_folder.read_record(a) == {"number": "1"}
    assert [folder.label(document) for document in (a, b)] == ["a.json", "its line in metadata.jsonl"]
    assert own_folder.records_of(a) == [folder.path / "a.json"] and own_folder.records_of(b) == []


def test_the_schema_is_one_of_ones_own_or_the_name_of_a_document_type(folder):
    own = own_folder.asked(folder.task)
    assert list(folder.task.definition["properties"]) == ["number", "items"]
    (folder.path / "schema.json").write_text('"receipt"')
    builtin = own_folder.Folder(folder.path)
    assert builtin.task is schemas.RECEIPT and own_folder.asked(builtin.task) != own


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('"receit"', "no document type is called 'receit', only receipt, contract, document"),
        ('{"number": ', "not valid JSON"),
        (None, "is missing: it says which fields the documents have"),
    ],
)
def test_a_schema_that_cannot_be_used_is_one_sentence(folder, schema, said):
    (folder.path / "schema.json").unlink() if schema is None else (folder.path / "schema.json").write_text(schema)
    with pytest.raises(StageError, match=said):
        _ = folder.task


def test_another_document_of_the_same_name_is_never_replaced(folder):
    assert own_folder.add(folder, "a.txt", b"a.txt").read_text() == "a.txt"
    with pytest.raises(StageError, match="holds another document called a.txt: rename one of the two"):
        own_folder.add(folder, "a.txt", b"another")
    assert (folder.path / "a.txt").read_text() == "a.txt"


def test_a_record_that_is_no_object_is_one_sentence(folder):
    (folder.path / "a.txt.json").write_text(json.dumps(["7"]))
    with pytest.raises(StageError, match="holds no record: a JSON object is wanted"):
        own_folder.read_record(folder.path / "a.txt")
