"""What the benchmarks that ask a model make of its answers, and how they share the work; no model is asked here."""

import json
import re

import pytest

import config
from benchmarks import choosing, general, schemas, shared
from extraction import files
from extraction.models import backends, choice
from extraction.reading import documents
from extraction.scoring import metrics
from extraction.synthetic import letters, own
from extraction.tasks import custom, prompts
from extraction.tasks.schemas import QUESTION


def test_processes_share_the_work_and_an_interrupted_one_goes_on(tmp_path):
    made = []

    def make(name):
        made.append(name)
        return {"said": name.upper()}

    assert shared.work(list("abcde"), make, tmp_path, "v1", "2/2") == {}
    there = shared.work(list("abcde"), make, tmp_path, "v1", shared.NONE)
    assert [entry["said"] for entry in there.values()] == ["B", "D"]
    with open(tmp_path / "2-of-2.jsonl", "a") as f:
        f.write('{"name": "c", "made_')  # the process was killed while it wrote
    found = shared.work(list("abcde"), make, tmp_path, "v1", "1/1")
    assert [entry["said"] for entry in found.values()] == list("ABCDE")
    assert made == ["b", "d", "a", "c", "e"]
    assert shared.kept(tmp_path, "v2") == {}
    with pytest.raises(files.StageError, match="--part 3/2: write --part I/N"):
        shared.work([], make, tmp_path, "v1", "3/2")


def test_a_page_that_was_read_once_is_not_read_again(tmp_path):
    page = tmp_path / "letter.txt"
    page.write_text("Dear Ms Adler")
    first = shared.read_once(page, documents.Limits(), tmp_path / "readings")
    page.unlink()
    assert shared.read_once(page, documents.Limits(), tmp_path / "readings") == first


def test_an_answer_to_no_document_invents_what_it_holds_beside_its_type():
    one = {"group": "no document", "target": None}
    assert not general.judged(one, '{"document_type":"none"}')["invented"]
    assert general.judged(one, '{"document_type":"none","total":"5"}')["invented"]
    assert general.judged(one, '{"document_type":"receipt"}')["invented"]
    assert general.judged(one, "Hello!") == {
        "json": False, "record": False, "type": "no type", "invented": True, "counts": None,
    }  # fmt: skip


def test_the_general_instruction_is_asked_every_text_once_and_60_that_are_no_documents():
    page = "Question: When?\n\nSales 2020: 5\n\nQuestion: When?"
    rows = [
        {"id": f"tatqa/x#{n}", "task": "question", "source": "tatqa", "prompt": [{"content": page}]} for n in range(2)
    ]
    found = general.texts(rows, None)
    assert [one["text"] for one in found if one["group"] == "pages of financial reports"] == ["Sales 2020: 5"]
    assert sum(one["group"] == "no document" for one in found) == 60
    record = {"title": "Notice", "key_values": [{"key": "Room", "value": "12"}]}
    verdict = general.judged(
        {"group": "generated letters", "target": record}, json.dumps({"document_type": "document", **record})
    )
    assert (verdict["type"], verdict["counts"]) == ("document", metrics.Counts(tp=3))


def test_no_name_of_a_held_out_schema_was_trained_on():
    def names(*tables, more=""):
        listed = ",".join([more, *(name for table in tables for name in table.values())])
        return {schemas.plain(name) for name in listed.split(",")}

    held = names(
        schemas.NAMES, schemas.ITEM_NAMES, schemas.HELD_OUT.groups, schemas.LABELS, more=schemas.HELD_OUT.items
    )
    trained = names(own.NAMES, own.ITEM_NAMES, own.GROUPS, more=own.ITEMS) | {schemas.plain(k) for k in letters.VALUES}
    assert not held & trained
    assert not set(schemas.HELD_OUT.styles) & set(own.TRAINED.styles)


def test_every_document_has_a_schema_that_is_taken_and_an_answer_in_its_form():
    found = list(schemas.cases(10))
    assert len(found) == 20
    for case in found:
        task = custom.parse(json.dumps(case["schema"]), case["name"])
        task.model.model_validate(case["record"])
    assert re.search("FinalPrice|OVERALL_SUM|OverallSum|FINAL_AMOUNT", json.dumps([case["schema"] for case in found]))
    case = {"schema": {"Payer": "who pays", "Sum": ""}, "record": {"Sum": "5"}}
    assert schemas.echoes(case, {"Payer": "Who pays", "Sum": "5"}) == 1
    assert schemas.echoes(case, {"Payer": "Ann", "Sum": "sum"}) == 1
    assert schemas.echoes(case, {"Payer": "Ann", "Sum": None}) == 0


def test_a_wrong_value_is_without_a_flag_if_nothing_points_at_it():
    one = {"target": {"total": "5.00", "date": "1 May", "cash": "6.00"}, "compared": metrics.scored}
    fields = [{"path": name, "review": None, "grounding": "exact"} for name in ("total", "date", "cash")]
    result = {
        "record": {"total": "4.00", "date": "2 May", "cash": "7.00"},
        "fields": [*fields[:2], fields[2] | {"review": True}],
        "problems": ["date: '2 May' was not found in the document"],
        "checks": [],
    }
    assert choosing.unflagged(one, result) == (1, 3)
    failed = {"rule": "subtotal + tax + service - discount = total", "verdict": "fails"}
    assert choosing.unflagged(one, result | {"checks": [failed]}) == (0, 3)
    assert choosing.invented({"total": "5 .00", "date": "7 May", "merchant": {"name": "X"}}, "TOTAL 5.00") == 1


def test_receipts_take_turns_in_which_way_finds_its_prompt_in_the_cache(monkeypatch):
    asked = []

    def extract(document, backend, cfg, **_):
        asked.append(cfg.inference.choose)
        return {"record": {}, "fields": [], "problems": [], "checks": [], "timings": {"model": 0.0}}

    monkeypatch.setattr(choosing.inference, "extract", extract)
    one = choosing.case("a", "test rows", documents.Document("TOTAL 5.00"), {"total": "5.00"}, metrics.scored)
    for turn in range(2):
        choosing.answer({**one, "turn": turn}, None, config.PROFILES["cpu"])
    assert asked == [True, False, False, True]


def test_a_free_answer_leaves_the_next_bound_one_as_it_was(tiny_gguf):
    backend = choice.choose(tiny_gguf, "base-gguf").open()
    asked = [
        backends.Request(prompts.messages(QUESTION, f"TOTAL {n}.00\n2 Tea", "How much?"), QUESTION.schema)
        for n in range(3)
    ]
    before = [answer.text for answer in backend.complete(asked)]
    text = shared.free(backend, asked[0].messages, 24)
    assert [answer.text for answer in backend.complete(asked)] == before
    assert shared.free(backend, asked[0].messages, 24) == text != before[0]
    assert len(backend.llm.tokenize(shared.free(backend, asked[1].messages, 5).encode(), add_bos=False)) <= 8
