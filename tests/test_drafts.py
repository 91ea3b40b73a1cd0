"""Drafts of records: what a model suggests is saved, corrected and accepted, and nobody's work is replaced unseen."""

import json
from dataclasses import replace

import pytest

from extraction import drafts, own_folder
from extraction.files import StageError
from extraction.own_folder import Folder

SCHEMA = {
    "type": "object",
    "required": ["number"],
    "properties": {"number": {"type": "string"}, "item": {"enum": ["a"]}},
}


def a_result(number="7", confidence=0.9, grounding="exact"):
    field = {"path": "number", "value": number, "confidence": confidence, "grounding": grounding, "span": None}
    return {"record": {"number": number}, "fields": [field], "checks": [], "problems": [], "model": "stand-in"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    made = Folder(tmp_path)
    for name, confidence in (("sure.txt", 0.9), ("unsure.txt", 0.4)):
        (tmp_path / name).write_text("7")
        drafted(made, name, a_result(confidence=confidence))
    return made


def drafted(folder, name, result):
    document = folder.path / name
    return drafts.save(folder, document, drafts.of_result(result, document, folder.task), "a model")


def test_a_draft_is_no_label_until_it_is_accepted_and_then_its_record_lies_beside_the_document(folder):
    document = folder.path / "sure.txt"
    draft = drafts.read(document)
    assert (draft.version, draft.by, draft.record) == (1, "a model", {"number": "7", "item": None})
    assert folder.labeled() == []
    accepted = drafts.accept(folder, document, draft, "ann", based_on=1)
    assert own_folder.read_record(document) == {"number": "7"} and folder.labeled() == [document]
    assert drafts.read(document) == accepted and accepted.state == drafts.ACCEPTED
    assert [w.document.name for w in drafts.queue(folder)] == ["unsure.txt"]


def test_the_least_sure_comes_first_and_what_was_skipped_after_the_others(folder):
    drafted_third = folder.path / "third.txt"
    drafted_third.write_text("9")
    drafted(folder, "third.txt", a_result("8", 0.99, "none"))  # the document does not print it
    assert [w.document.name for w in drafts.queue(folder)] == ["third.txt", "unsure.txt", "sure.txt"]
    drafts.skip(folder, drafted_third, based_on=1)
    assert [w.document.name for w in drafts.queue(folder)] == ["unsure.txt", "sure.txt", "third.txt"]
    assert drafts.read(drafted_third).version == 1  # nobody is told that it has changed


@pytest.mark.parametrize("second", [drafts.save, drafts.accept])
def test_of_two_people_the_second_is_told_who_was_first_and_overwrites_nothing(folder, second):
    document = folder.path / "sure.txt"
    seen = drafts.read(document)
    drafts.save(folder, document, replace(seen, record={"number": "8"}), "ann", based_on=1)
    with pytest.raises(
        drafts.Changed, match="ann saved this draft at .* after you opened it. Nothing was over"
    ) as told:
        second(folder, document, replace(seen, record={"number": "9"}), "bob", based_on=1)
    assert told.value.draft.record == drafts.read(document).record == {"number": "8"}
    assert folder.labeled() == []


def test_what_was_accepted_meanwhile_is_not_accepted_again(folder):
    document = folder.path / "sure.txt"
    seen = drafts.read(document)
    drafts.accept(folder, document, seen, "ann", based_on=1)
    with pytest.raises(drafts.Changed, match="ann accepted this document"):
        drafts.accept(folder, document, replace(seen, record={"number": "9"}), "bob", based_on=1)
    assert own_folder.read_record(document) == {"number": "7"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"number": None, "item": "a"}, "number is required and has no value"),
        ({"number": "7", "item": "b"}, "item does not fit the schema: it is none of its choices"),
        ({"number": "7" * 600, "item": None}, "number does not fit the schema: it is too long"),
        ({}, "the record has no value"),
    ],
)
def test_a_record_that_does_not_fit_the_schema_is_not_accepted(folder, record, said):
    document = folder.path / "sure.txt"
    with pytest.raises(StageError, match=said):
        drafts.accept(folder, document, replace(drafts.read(document), record=record), "ann", based_on=1)
    assert folder.labeled() == []


def test_a_draft_for_another_schema_or_another_document_is_marked_and_not_accepted(folder):
    document = folder.path / "sure.txt"
    draft = drafts.read(document)
    (folder.path / "unsure.txt").write_text("8")
    with pytest.raises(StageError, match="unsure.txt is gone or was replaced: label it again"):
        drafts.accept(folder, folder.path / "unsure.txt", drafts.read(folder.path / "unsure.txt"), "ann", based_on=1)
    (folder.path / "schema.json").write_text('{"number": "", "date": ""}')
    changed = Folder(folder.path)
    assert [w.said for w in drafts.queue(changed)] == ["made for another schema"] * 2
    with pytest.raises(StageError, match="the schema was changed meanwhile"):
        drafts.accept(changed, document, draft, "ann", based_on=1)
    assert changed.labeled() == []


@pytest.mark.parametrize("broken", ["{", "[]", '{"record": {}}', '{"number": "7"}'])
def test_a_broken_draft_and_one_without_its_document_stay_in_the_queue_with_their_reason(folder, broken):
    (folder.path / "sure.txt.draft.json").write_text(broken)
    (folder.path / "unsure.txt").unlink()
    said = {w.document.name: w.said for w in drafts.queue(folder)}
    assert said["unsure.txt"] == "its document is gone"
    assert said["sure.txt"].startswith("sure.txt.draft.json is no draft: mend it, or delete it")
    assert (folder.path / "sure.txt.draft.json").read_text() == broken


def test_a_folder_that_cannot_be_written_is_one_sentence_and_nothing_is_lost(folder, monkeypatch):
    document = folder.path / "sure.txt"
    before = own_folder.draft_of(document).read_bytes()

    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("extraction.files.os.replace", full)
    draft = replace(drafts.read(document), record={"number": "8"})
    for change in (drafts.save, drafts.accept):
        with pytest.raises(StageError, match="cannot write to .*: No space left on device. Nothing was changed"):
            change(folder, document, draft, "ann", based_on=1)
    assert own_folder.draft_of(document).read_bytes() == before and folder.labeled() == []
    assert not list(folder.path.glob(".*.tmp"))
