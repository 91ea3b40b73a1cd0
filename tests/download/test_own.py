"""A folder of one's own documents: what is taken, what is left out and why, and what is refused before any reading."""

import json
import resource
import subprocess
import sys

import pytest

import download_datasets
from extraction import files, own_folder
from extraction.reading.limits import Limits
from extraction.tasks import custom

TEMPLATE = {"number": "", "lines": [{"name": "", "count": ""}]}
TYPED = {
    "properties": {
        "number": {"type": "string"},
        "count": {"type": "integer"},
        "weight": {"type": "number"},
        "day": {"type": "string", "format": "date"},
        "state": {"enum": ["open", "done"]},
        "fragile": {"type": "boolean"},
    },
    "required": ["number"],
}


def text_of(number):
    return f"SLIP {number}\nNails    {number}0\nScrews   {number}5\n"


def record_of(number):
    lines = [{"name": "Nails", "count": f"{number}0"}, {"name": "Screws", "count": f"{number}5"}]
    return {"number": str(number), "lines": lines}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mine" / "slip"
    made.mkdir(parents=True)
    (made / "schema.json").write_text(json.dumps(TEMPLATE))
    for number in (1, 2, 3):
        (made / f"slip_{number}.txt").write_text(text_of(number))
        (made / f"slip_{number}.txt.json").write_text(json.dumps(record_of(number)))
    return made


def run(folder, *more):
    arguments = ["--set", f"data.datasets_dir={folder.parent.parent / 'datasets'}", "--set", "data.datasets="]
    return download_datasets.main(["--own", str(folder.parent), *arguments, *more])


def rows_of(folder):
    return {r["file"]: r for r in files.read_jsonl(folder.parent.parent / "datasets/own/slip/documents.jsonl")}


def test_documents_with_a_record_are_taken_and_drafts_and_other_files_are_not(folder, capsys):
    (folder / "slip_2.txt.json").rename(folder / "slip_2.json")
    (folder / "slip_4.txt").write_text(text_of(4))
    (folder / "slip_4.txt.draft.json").write_text(json.dumps(record_of(4)))
    (folder / "notes.csv").write_text("a,b")
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert "own/slip: 3 labeled, 1 not labeled, 0 values not found" in said
    assert f"Next: python prepare_training_data.py --set data.own={folder.parent}" in said
    rows = rows_of(folder)
    assert list(rows) == ["slip_1.txt", "slip_2.txt", "slip_3.txt"]
    assert rows["slip_2.txt"]["record"] == record_of(2) and rows["slip_2.txt"]["text"].startswith("SLIP 2\nNails")
    assert not (folder / own_folder.NOT_FOUND).exists()


def test_a_document_is_read_once_and_a_changed_record_is_checked_again(folder, capsys):
    from extraction.download import own

    run(folder)
    rows = rows_of(folder)
    digest = rows["slip_1.txt"]["sha256"]
    task = custom.read(folder / "schema.json")
    known = {row["sha256"]: {"text": "SLIP 1\nas it was read before"} for row in rows.values()}
    again = {row["file"]: row for row in own.lay_out(folder, "slip", task, Limits(), known).rows}
    assert again["slip_1.txt"]["sha256"] == digest and again["slip_1.txt"]["text"].endswith("read before")
    (folder / "slip_1.txt.json").write_text(json.dumps({"number": "77"}))
    capsys.readouterr()
    assert run(folder) == 0
    assert "slip_1.txt: number is not printed in it" in capsys.readouterr().err
    assert rows_of(folder)["slip_1.txt"]["not_found"] == ["number"]


def test_values_that_are_not_printed_are_listed_beside_the_documents_and_nowhere_else(folder, capsys):
    (folder / "slip_1.txt.json").write_text(json.dumps(record_of(1) | {"number": "quetzal"}))
    assert run(folder) == 0
    said = capsys.readouterr()
    assert "check: slip_1.txt: number is not printed in it" in said.err and "quetzal" not in said.out + said.err
    listed = files.read_json(folder / own_folder.NOT_FOUND)
    assert listed == [{"document": "slip_1.txt", "path": "number", "value": "quetzal"}]
    (folder / "slip_1.txt.json").write_text(json.dumps(record_of(1)))
    run(folder)
    assert not (folder / own_folder.NOT_FOUND).exists()


@pytest.mark.parametrize(
    ("name", "content", "reason", "sentence"),
    [
        ("slip_1.txt.json", '{"number": "1",', "record is not JSON", "slip_1.txt.json: not valid JSON, line 1"),
        ("slip_1.txt.json", b"\xff\xfe", "record is not JSON", "slip_1.txt.json: not valid JSON"),
        ("slip_1.txt.json", '["quetzal"]', "record does not fit", "slip_1.txt.json: the record is not an object"),
        ("slip_1.txt.json", '{"nr": "quetzal"}', "record does not fit", "slip_1.txt.json: the schema has no field nr"),
        ("slip_1.txt.json", '{"lines": [{"name": ["quetzal"]}]}', "record does not fit", "lines[0].name is not text"),
        ("slip_1.txt.json", '{"number": null}', "record is empty", "slip_1.txt.json: the record has no value"),
        ("slip_1.txt", b"\x00\x01quetzal", "cannot be read", "slip_1.txt: not a PDF, image, DOCX"),
        ("slip_1.txt", b"", "cannot be read", "slip_1.txt: the file is empty"),
        ("slip_9.txt.json", "{}", "a record whose document is missing", "slip_9.txt.json: its document is missing"),
    ],
)
def test_a_fault_of_one_document_is_one_sentence_and_the_others_stay(folder, capsys, name, content, reason, sentence):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert run(folder) == 0
    said = capsys.readouterr()
    assert sentence in said.err and "quetzal" not in said.out + said.err and "Traceback" not in said.err
    assert f"1 {reason}" in said.out and len(rows_of(folder)) == (3 if name.startswith("slip_9") else 2)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_schema_that_was_changed_after_labeling_is_named_and_nothing_is_deleted(folder, capsys):
    (folder / "schema.json").write_text('{"no": ""}')
    said = r"that can be used \(slip_1.txt.json: the schema has no .*\); 3 records do not fit schema.json: if it was ch"
    with pytest.raises(files.StageError, match=said):
        run(folder)
    (folder / "slip_1.txt.json").write_text('{"no": "1"}')
    assert run(folder) == 0
    assert "2 records do not fit schema.json: if it was changed after they were made" in capsys.readouterr().err
    assert (folder / "slip_2.txt.json").read_text() == json.dumps(record_of(2))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f: (f / "slip_1.json").write_text("{}"), "slip_1.txt has two records, slip_1.txt.json and slip_1.json"),
        (
            lambda f: [(f / "a.txt").write_text("x"), (f / "a.md").write_text("x"), (f / "a.json").write_text("{}")],
            "a.json may be the record of a.md and of a.txt: name it a.md.json",
        ),
        (lambda f: [p.unlink() for p in f.glob("slip*")], "holds no document that the reader takes"),
        (lambda f: [p.unlink() for p in f.glob("*.txt.json")], "has no labeled document that can be used: write their"),
        (lambda f: (f / "schema.json").unlink(), "holds schema.json"),
        (lambda f: (f / "schema.json").write_text("{"), "schema.json is not valid JSON"),
        (lambda f: (f / "schema.json").write_text('{"a": 1}'), "schema.json: a: 1 is not taken in a template"),
        (lambda f: f.rename(f.parent / "receipt"), "can be the name of a document type of your own"),
        (lambda f: f.rename(f.parent / "my slips"), "'my slips' cannot be a document type"),
    ],
)
def test_what_cannot_be_told_apart_or_is_missing_is_refused_in_one_sentence(folder, make, sentence):
    make(folder)
    with pytest.raises(files.StageError) as error:
        run(folder)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_donuts_metadata_is_taken_with_its_splits(folder, capsys):
    for split, number in (("train", 4), ("validation", 5), ("test", 6)):
        (folder / split).mkdir()
        (folder / split / f"{number}.txt").write_text(text_of(number))
        truth = json.dumps({"gt_parse": {"number": str(number), "lines": record_of(number)["lines"][0]}})
        (folder / split / "metadata.jsonl").write_text(
            json.dumps({"file_name": f"{number}.txt", "ground_truth": truth})
        )
    assert run(folder) == 0
    rows = rows_of(folder)
    splits = [rows[name]["split"] for name in ("slip_1.txt", "train/4.txt", "validation/5.txt", "test/6.txt")]
    assert splits == [None, "train", "validation", "test"]
    assert rows["train/4.txt"]["record"] == {"number": "4", "lines": [{"name": "Nails", "count": "40"}]}
    (folder / "test" / "6.txt.json").write_text("{}")
    with pytest.raises(files.StageError, match=r"6.txt has two records, 6.txt.json and metadata.jsonl"):
        run(folder)


def test_typed_values_are_written_as_printed_and_what_is_not_clear_is_left_out(folder, capsys):
    (folder / "schema.json").write_text(json.dumps(TYPED))
    printed = "Slip 7\ncount 1,200\nweight 12,50 kg\nday 4 March 2026\nstate done\nfragile: yes\n"
    for number in (1, 2, 3):
        (folder / f"slip_{number}.txt").write_text(printed + ("also 1200\n" if number == 2 else ""))
    value = {"number": "7", "count": 1200, "weight": 12.5, "day": "2026-03-04", "state": "done", "fragile": True}
    (folder / "slip_1.txt.json").write_text(json.dumps(value))
    (folder / "slip_2.txt.json").write_text(json.dumps(value | {"count": 1201}))
    (folder / "slip_3.txt.json").write_text(json.dumps(value | {"state": "closed"}))
    assert run(folder) == 0
    said = capsys.readouterr()
    assert "slip_2.txt.json: count is a number that is not printed" in said.err
    assert "slip_3.txt.json: state is none of its 2 choices" in said.err and "0 values not found" in said.out
    assert [row["record"] for row in rows_of(folder).values()] == [
        value | {"count": "1,200", "weight": "12,50", "day": "4 March 2026", "fragile": "true"}
    ]


def test_a_full_disk_is_one_sentence_and_what_was_there_stays(folder):
    run(folder)
    before = rows_of(folder)
    (folder / "slip_1.txt").write_text(text_of(1) + "more words\n" * 2000)
    out = folder.parent.parent / "datasets"
    command = [sys.executable, "download_datasets.py", "--own", str(folder.parent), "--set", "data.datasets="]
    done = subprocess.run(
        [*command, "--set", f"data.datasets_dir={out}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "error: File too large" in done.stderr and "Traceback" not in done.stderr
    assert rows_of(folder) == before
    assert [p.name for p in (out / "own").iterdir()] == ["slip"]


def test_records_of_a_type_of_ours_are_held_against_its_fields(folder, capsys):
    (folder / "schema.json").write_text('"receipt"')
    for number, record in ((1, {"total": "10"}), (2, {"total": "20", "summary": "x"}), (3, {"weight": "3"})):
        (folder / f"slip_{number}.txt.json").write_text(json.dumps(record))
    assert run(folder) == 0
    assert "slip_3.txt.json: weight does not fit the fields of a receipt" in capsys.readouterr().err
    assert [row["record"] for row in rows_of(folder).values()] == [{"total": "10"}, {"total": "20"}]
    (folder / "schema.json").write_text('"contract"')
    with pytest.raises(files.StageError, match="contracts of your own cannot be trained on"):
        run(folder)
