"""A user's own documents in stage 2: the same test whatever is learned from, and public rows beside them."""

import dataclasses
import json

import pytest

import config
from extraction import files
from extraction.preparing import labeled
from extraction.preparing.sources import Sources

DATA = config.DataConfig()


def write(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text('{"number": "", "day": ""}')
    files.write_jsonl(folder / "documents.jsonl", rows)


def rows(count, split=None, name="slip"):
    return [
        {"id": f"own/slip/{name}_{n}", "file": f"{name}_{n}", "split": split, "text": f"No. {n}", "not_found": []}
        | {"record": {"number": str(n), "day": "5"}}
        for n in range(count)
    ]


def splits(folder, data=DATA):
    sources = Sources()
    labeled.add(folder, "slip", data, sources)
    return {split: [d["id"] for d in made] for split, made in sources.documents.items()}, sources


def test_the_test_documents_stay_the_same_however_many_are_learned_from(tmp_path):
    write(tmp_path, rows(50))
    whole, _ = splits(tmp_path)
    few, _ = splits(tmp_path, dataclasses.replace(DATA, own_documents=5))
    assert {split: len(names) for split, names in whole.items()} == {"train": 36, "eval": 4, "test": 10}
    assert {split: len(names) for split, names in few.items()} == {"train": 5, "eval": 0, "test": 10}
    assert few["test"] == whole["test"] and set(few["train"] + few["eval"]) <= set(whole["train"] + whole["eval"])
    assert len({name for names in whole.values() for name in names}) == 50


def test_documents_in_folders_of_splits_stay_in_them(tmp_path):
    write(tmp_path, rows(6) + rows(4, "test", "t") + rows(2, "validation", "v"))
    found, _ = splits(tmp_path)
    assert [len(found[split]) for split in ("train", "eval", "test")] == [6, 2, 4]
    assert all("/t_" in name for name in found["test"]) and all("/v_" in name for name in found["eval"])


@pytest.mark.parametrize("made", [rows(1), rows(5, "test", "t")])
def test_too_few_documents_are_refused_in_one_sentence(tmp_path, made):
    write(tmp_path, made)
    with pytest.raises(files.StageError, match="slip has . labeled documents; at least 2 are needed"):
        splits(tmp_path)


def test_a_value_that_is_not_printed_is_not_trained_and_is_still_scored(tmp_path):
    made = rows(10) + rows(2, "test", "t")
    write(tmp_path, [row | {"not_found": ["day"]} for row in made])
    _, sources = splits(tmp_path)
    records = {split: [d["rows"][0]["record"] for d in made] for split, made in sources.documents.items()}
    assert all(set(record) == {"number"} for record in records["train"] + records["eval"])
    assert all(set(record) == {"number", "day"} for record in records["test"])
    assert sources.left_out["own/slip/train: value that is not found in its document"] == 9


def test_so_many_public_rows_go_along_as_the_setting_says_of_each_task(tmp_path):
    own = [{"id": f"o{n}", "source": "own/slip", "task": "slip"} for n in range(10)]
    public = [{"id": f"p{n}", "source": "cord", "task": ("receipt", "question")[n % 10 == 0]} for n in range(100)]
    for n, row in enumerate(public):  # one receipt in nine has no answer
        row["completion"] = [{"content": "{}" if n % 10 == 1 else '{"total":"2.00"}'}]
    for replay, count in ((None, 100), (1.0, 10), (0.5, 5), (0.0, 0)):
        sources = Sources()
        data = dataclasses.replace(DATA, replay=replay)
        kept = labeled.with_replay(public + own, "train", data, sources)
        chosen = [row["task"] for row in kept if row["source"] == "cord"]
        assert len(chosen) == count and len(kept) == count + 10 and sum(sources.left_out.values()) == 100 - count
        empty = [row["task"] for row in kept if row["source"] == "cord" and row["completion"][0]["content"] == "{}"]
        assert count != 10 or (chosen.count("question") in (3, 4) and len(empty) in (3, 4))
        assert labeled.with_replay(public + own, "test", data, sources) == public + own
        watched = labeled.with_replay(public + own, "eval", data, sources)
        assert len(watched) == (10 if replay == 0 else 110)


def test_the_answer_of_an_own_document_names_every_field_of_its_schema():
    from extraction.tasks import custom

    nested = {"a": "", "b": {"c": ""}, "d": [{"e": "", "f": [""]}]}
    row = {"task": "slip", "template": json.dumps(nested)}
    whole = custom.task_of(row).whole({"d": [{"f": ["x"]}]})
    assert json.dumps(whole) == '{"a": null, "b": {"c": null}, "d": [{"e": null, "f": ["x"]}]}'
    assert custom.task_of(row).name == "slip"


def test_documents_of_a_type_of_ours_become_rows_of_that_type_and_need_no_schema(tmp_path):
    write(tmp_path / "kept", [row | {"record": {"total": str(n)}} for n, row in enumerate(rows(4))])
    (tmp_path / "kept" / "schema.json").write_text('"receipt"')
    write(tmp_path / "slip", rows(4))
    _, sources = splits(tmp_path / "kept")
    row = sources.documents["train"][0]["rows"][0]
    assert row["task"] == "receipt" and "template" not in row and row["record"]["summary"].startswith("Receipt, total ")
    labeled.write_schemas(tmp_path, tmp_path, ["kept", "slip"])
    assert files.read_json(tmp_path / "schemas.json") == {"slip": {"number": "", "day": ""}}
