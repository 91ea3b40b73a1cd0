"""Documents are labeled with a model's help: a draft for each, and a person's work is left alone."""

import json

import pytest

import inference
from extraction import drafts, own_folder
from extraction.own_folder import Folder
from tests.helpers import chat_server

SECRET = "Quentin Ashgrove"


@pytest.fixture
def server():
    def answer(messages, schema):
        number = messages[-1]["content"].rpartition("No. ")[2][:2]
        return 200, json.dumps({"number": number, "name": None})

    with chat_server.running(answer) as made:
        yield made


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in (11, 12, 13):
        (folder / f"note_{number}.txt").write_text(f"Delivery note for {SECRET}\nNo. {number}\n")
    (tmp_path / "fields.json").write_text('{"number": "", "name": ""}')
    return folder


def label(folder, server, *arguments):
    target = folder.parent / "own" / "notes"
    return inference.main([*map(str, arguments), "--label", str(target), "--model", server.address]), target


def test_a_folder_of_documents_gets_drafts_and_a_second_run_goes_on_and_leaves_alone_what_a_person_did(
    server, documents, capfd
):
    (documents / "broken.pdf").write_bytes(b"\x00\x01")
    status, target = label(documents, server, documents, "--schema", documents.parent / "fields.json")
    said = capfd.readouterr()
    assert status == 1 and "broken.pdf: not a PDF" in said.err
    assert said.out.splitlines() == [
        f"{target}: drafts made: 3, failed: 1",
        f"Next: python app.py --review {target}",
    ]
    assert SECRET not in said.out + said.err
    folder = Folder(target)
    first, second, third = [d for d in folder.documents() if d.name.startswith("note")]
    assert drafts.read(first).record == {"number": "11", "name": None} and folder.labeled() == []
    drafts.accept(folder, first, drafts.read(first), "ann", based_on=1)
    changed = drafts.Draft(**{**vars(drafts.read(second)), "state": drafts.CORRECTED, "record": {"number": "99"}})
    drafts.save(folder, second, changed, "ann", based_on=1)
    third.with_name("note_13.txt.draft.json").unlink()
    (target / "broken.pdf").unlink()
    (documents / "broken.pdf").unlink()
    asked = len(server.seen)
    assert label(documents, server, documents)[0] == 0
    assert len(server.seen) == asked + 1 and drafts.read(third).record["number"] == "13"
    assert drafts.read(second).record == {"number": "99"} and own_folder.read_record(first) == {"number": "11"}
    assert "drafts made: 1, drafts with corrections: 1, accepted: 1" in capfd.readouterr().out


def test_another_schema_makes_new_drafts_where_nobody_has_corrected_one(server, documents):
    _, target = label(documents, server, documents, "--schema", documents.parent / "fields.json")
    corrected = target / "note_11.txt"
    drafts.save(Folder(target), corrected, drafts.read(corrected).with_result(
        {"record": {"number": "1"}, "fields": [], "checks": []}, [], ["number"]), "ann", based_on=1)  # fmt: skip
    (target / "schema.json").write_text('{"number": "", "name": "", "date": ""}')
    assert label(documents, server, documents)[0] == 0
    assert [w.said for w in drafts.queue(Folder(target))].count("made for another schema") == 1
    assert drafts.read(corrected).record == {"number": "1"}


def test_a_document_of_the_same_name_and_other_content_is_one_sentence_and_replaces_nothing(server, documents, capfd):
    (documents / "deeper").mkdir()
    (documents / "deeper" / "note_12.txt").write_text("No. 77")
    status, target = label(documents, server, documents, "--schema", documents.parent / "fields.json")
    assert status == 1
    assert "holds another document called note_12.txt: rename one of the two" in capfd.readouterr().err
    assert len(Folder(target).documents()) == 3


def test_results_of_an_earlier_run_become_drafts_without_asking_a_model(server, documents):
    results, schema = documents.parent / "results.jsonl", documents.parent / "fields.json"
    common = ["--schema", str(schema), "--model", server.address]
    assert inference.main([str(documents), "-o", str(results), *common]) == 0
    asked = len(server.seen)
    status, target = label(documents, server, "--results", results, "--schema", schema)
    assert status == 0 and len(server.seen) == asked
    assert sorted(w.draft.record["number"] for w in drafts.queue(Folder(target))) == ["11", "12", "13"]


def test_without_fields_or_with_others_nothing_is_labeled(server, documents, capsys):
    from extraction.files import StageError

    with pytest.raises(StageError, match="contracts of your own cannot be trained on"):
        label(documents, server, documents, "--type", "contract")
    with pytest.raises(StageError, match="schema.json is missing: write it, or name the fields"):
        label(documents, server, documents)
    label(documents, server, documents, "--type", "receipt")
    with pytest.raises(StageError, match="asks for other fields than --schema"):
        label(documents, server, documents, "--schema", documents.parent / "fields.json")
    with pytest.raises(SystemExit):
        label(documents, server, documents, "--ask", "Who?")
    assert "leave out -o, --format, --ask" in capsys.readouterr().err
