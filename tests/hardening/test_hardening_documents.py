"""Files from strangers: the short form of the benchmark, and a test for each fault that it found."""

import io
import json
import os
import random
import subprocess
import sys
import time
import zlib

import pytest

import config
from extraction import files
from extraction.evidence import grounding
from extraction.formats import plain
from extraction.reading import documents, layout, pages, worker
from extraction.reading.limits import DocumentError, Limits
from extraction.reading.words import Word
from extraction.runs import results, workers
from extraction.tasks import completions, custom, detection, records, schemas
from tests.hardening import documents as hardening
from tests.hardening import fuzz
from tests.hardening import hostile_files as hostile


@pytest.fixture(scope="module")
def found():
    return hardening.measure(short=True, seed=0)


def test_every_hostile_file_becomes_text_or_one_sentence_and_one_row_and_the_parent_survives(found):
    assert found["failures"] == []
    assert found["survived"] == found["tried"] == found["command"]["rows"] > 200
    assert found["command"]["parent"] < hardening.PARENT_MB
    assert sum(target["executions"] for target in found["fuzz"].values()) > 500


def test_the_table_has_the_figures(found):
    table = hardening.table(found)
    assert table.startswith("## Hostile documents\n")
    assert f"{found['survived']} of {found['tried']} gave what they should" in table
    assert all(f"| {name} | " in table for name in [*found["groups"], *fuzz.TARGETS])


def test_a_file_that_kills_the_process_that_asks_is_counted_and_the_others_go_on(tmp_path, monkeypatch):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(hostile.RECEIPT)
    real = subprocess.run

    def run(command, **options):
        names = json.loads(options["input"])["names"]
        if names[0] == "a.txt":  # a process that dies of the first file
            command = [sys.executable, "-c", "import os; os.abort()"]
        return real(command, **options)

    monkeypatch.setattr(hardening.subprocess, "run", run)
    read = hardening._read_each(tmp_path, ["a.txt", "b.txt"], 5)
    assert read["a.txt"]["became"] == "crash" and read["b.txt"]["became"] == hostile.READ
    files = {name: hostile.File("text", name, b"", hostile.READ) for name in read}
    assert [failure.split(":")[0] for failure in hardening._failures(files, read)] == ['"a.txt"']


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"became": "refused", "said": "no"}, "refused and not read"),
        ({"became": "read", "said": "two\nlines"}, "no sentence"),
        ({"became": "read", "said": "", "parent": 5000}, "took 5000 MB"),
        ({"became": "read", "said": "", "parent": 100}, None),
    ],
)
def test_what_should_not_have_become_of_a_file_is_a_failure(answer, reason):
    files = {"a": hostile.File("text", "a", b"", hostile.READ)}
    failures = hardening._failures(files, {"a": answer})
    assert (reason is None and not failures) or reason in failures[0]


def test_the_fuzzer_finds_a_fault_and_says_for_which_input():
    def check(number):
        assert number < 50

    result = fuzz.run(fuzz.Target(fuzz.st.integers(), check), seconds=5, seed=0)
    assert result["executions"] > 1 and "for 50" in result["failures"][0]


# --- each fault that was found -------------------------------------------------------------------------------


def test_docx_and_text_are_opened_in_the_process_of_the_reader_only(monkeypatch):
    def ask(self, request, data):
        raise AssertionError("asked")

    monkeypatch.setattr(worker.Worker, "ask", ask)
    for data in (hostile.docx(hostile.PROSE), hostile.RECEIPT.encode()):
        with pytest.raises(AssertionError, match="asked"):
            documents.read(data)


def test_a_docx_that_takes_too_long_or_too_much_memory_is_refused_with_the_reason():
    rows = "<w:tbl><w:tr><w:tc>" * 70 + "<w:tr/>" * 300_000 + "</w:tc></w:tr></w:tbl>" * 70
    with pytest.raises(DocumentError, match="takes too long to open"):
        documents.read(hostile.docx(rows), Limits(page_seconds=0.5))
    with pytest.raises(DocumentError, match="needs more memory than the 500 MB that it may take|is broken"):
        documents.read(hostile.docx("<w:p/>" * 6_000_000), Limits(max_memory_mb=500))
    assert documents.read(hostile.docx(hostile.PROSE)).text.startswith("Corner Shop")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is kept on Linux")
def test_the_process_of_the_reader_has_a_limit_of_memory():
    flate = hostile.page_pdf(hostile.zeros(900_000_000, b" "), extra=hostile.FLATE)
    with pytest.raises(DocumentError, match="made the reader crash|needs more memory|no text"):
        documents.read(flate, Limits(max_memory_mb=500))
    documents.read(hostile.letter(), Limits(max_memory_mb=700))
    with open(f"/proc/{worker.running()[0]}/limits") as f:
        assert any(line.startswith("Max data size") and " 700000000 " in line for line in f)


def test_words_beyond_the_limit_of_text_are_not_sent_and_that_is_said():
    data = hostile.page_pdf(b"BT /F 12 Tf 50 700 Td " + b"(word word word word ) Tj 0 -12 Td " * 50 + b"ET")
    (page,) = [m for m in pages.read(data, "pdf", Limits(max_text_chars=300)) if "words" in m]
    assert len(page["words"]) <= 60
    assert page["problems"] == ["page 1 goes beyond 300 characters of text; only those were read"]


def test_a_hundred_thousand_words_in_one_row_are_laid_out_in_seconds():
    words = [Word("a", (10.0 * n, 0, 10.0 * n + 8, 10)) for n in range(60_000)]
    started = time.monotonic()
    assert len(layout.rows(words)[0]) == 60_000
    assert time.monotonic() - started < 20


def test_the_height_of_a_row_is_the_median_of_its_words():
    heights = [10, 30, 12, 11]
    words = [Word("a", (20.0 * n, -h / 2, 20.0 * n + 8, h / 2)) for n, h in enumerate(heights)]
    beside = Word("b", (100, 5.4 - 10, 108, 5.4 + 10))  # within half of 11.5, not of 30 or 10
    assert len(layout.rows([*words, beside])) == 1
    beside = Word("b", (100, 5.9 - 10, 108, 5.9 + 10))
    assert len(layout.rows([*words, beside])) == 2


def test_one_long_cell_does_not_pad_every_row_of_its_table():
    cells = [["x" * 1_000_000, "y"], *[["a", "b"]] * 5_000]
    assert len(plain.table(cells)) < 2_000_000
    wide = [["a"] * 20_000, *[["b"]] * 20_000]
    assert len(plain.table(wide)) < 500_000
    assert plain.table([["a", "long", "c"], ["b"], ["bb", "x", "y"]]) == "a   long  c\nb\nbb  x     y"


def test_an_archive_with_a_name_in_no_encoding_is_refused():
    data = bytearray(hostile.docx(hostile.PROSE, more={"word/\xff.bin": b""}))
    at = data.rfind("word/ÿ.bin".encode())
    data[at + 5 : at + 7] = b"\xff\xfe"
    with pytest.raises(DocumentError, match="the DOCX file is broken"):
        documents.read(bytes(data))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pdf")
    with pytest.raises(DocumentError, match="not a regular file"):
        documents.read(tmp_path / "pipe.pdf")
    with pytest.raises(files.StageError, match="neither a file nor a folder"):
        workers.find_inputs([str(tmp_path / "pipe.pdf")])


def test_a_name_that_no_file_can_have_is_one_sentence():
    with pytest.raises(files.StageError, match="cannot be opened: File name too long"):
        workers.find_inputs(["n" * 300])


def test_a_file_whose_name_is_no_utf_8_has_its_row_and_is_found_again(tmp_path):
    name = os.fsdecode(b"caf\xe9\n.txt")
    row = {"file": name, "key": "k", "error": "x"}
    results.write_rows(tmp_path / "rows.jsonl", [row])
    assert results.earlier(tmp_path / "rows.jsonl") == [row]
    assert json.loads(files.json_text(row).encode()) == row
    assert files.shown(name) == "caf\\udce9\\n.txt"


def test_an_answer_that_ends_in_the_middle_is_no_answer():
    worker_ = worker.Worker()
    for written in (b'{"page": 1, "wor', b'{"image": [1, 1], "bytes": 300}\nabc'):
        worker._receive(io.BytesIO(written), worker_.answers)
        assert worker_.answers.get() is None


def test_the_reader_ends_with_a_parent_that_was_killed(tmp_path):
    endless = tmp_path / "endless.pdf"
    drawing = hostile.page(4, b"/XObject << /X 5 0 R >>")
    forms = [hostile.stream(b"/X Do " * 10, hostile._form(n + 1)) for n in range(5, 14)]
    last = hostile.stream(b"", hostile._form(14))
    endless.write_bytes(hostile.pdf(hostile.ROOT, hostile.PAGES, drawing, hostile.stream(b"/X Do"), *forms, last))
    code = (
        "import sys, threading, time; from pathlib import Path; from extraction.reading import documents, worker\n"
        "threading.Thread(target=documents.read, args=(Path(sys.argv[1]),), daemon=True).start()\n"
        "while not worker.running(): time.sleep(0.01)\n"
        "time.sleep(1.5); print(worker.running()[0], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(endless)], stdout=subprocess.PIPE, text=True)
    reader = int(parent.stdout.readline())
    assert os.path.exists(f"/proc/{reader}")
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{reader}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{reader}")


def test_an_error_of_any_kind_in_an_image_is_a_sentence(monkeypatch):
    from PIL import Image

    def fails(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(DocumentError, match="the image is broken"):
        list(pages.read(hostile.picture("PNG"), "image", Limits()))


def test_no_reader_of_a_format_that_was_not_asked_for_is_tried():
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "ICO")
    with pytest.raises(DocumentError, match="unknown kind"):
        list(pages.read(buffer.getvalue(), "image", Limits()))


def test_an_answer_that_is_nested_too_deep_is_unreadable_and_no_crash():
    for text in ("[" * 100_000, '{"total":' * 100_000):
        assert "nested too deep" in completions.parse(schemas.RECEIPT, text).problem


def test_an_entry_with_an_empty_key_does_not_stop_the_summary():
    reading = completions.parse(
        schemas.DOCUMENT, '{"title":"A","key_values":[{"key":"","value":"0"},{"key":"B","value":"1"}]}'
    )
    assert records.summarize(schemas.DOCUMENT, reading.record) == "A. B: 1."


@pytest.mark.parametrize("number", ["-", "-1", "1.", "1.5", "1e", "1E-"])
def test_an_answer_that_stops_within_a_number_keeps_what_came_before(number):
    assert completions.close_json(f'{{"total":"6.00","x":{number}') == ({"total": "6.00"}, "answer.x")


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5000, "1" * 400, "NaN", "Infinity", "1e999"])
def test_a_setting_without_an_end_is_refused(value):
    with pytest.raises(config.ConfigError):
        config.override(config.PROFILES["cpu"], f"train.learning_rate={value}")


def test_a_schema_with_a_number_without_an_end_is_refused():
    with pytest.raises(files.StageError, match="not valid JSON"):
        custom.parse('{"a": ' + "1" * 5000 + "}", "fields.json")


def test_a_text_that_says_one_thing_again_and_again_is_told_its_kind_and_searched_in_seconds():
    started = time.monotonic()
    assert detection.detect("TOTAL 5.50 CASH 5.50 " + "a" * 150_000) is schemas.RECEIPT
    text = ("TOTAL 5.50 " * 20_000)[:200_000]
    record = {"merchant": {"name": "TOTAL no 5.50"}, "total": "5.50", "cash": "5.50"}
    fields = grounding.ground(records.leaves(record), schemas.RECEIPT, documents.Document(text))
    assert [field["grounding"] for field in fields] == ["fuzzy", "exact", "exact"]
    assert time.monotonic() - started < 20


def test_a_bomb_of_equal_bytes_is_what_it_says():
    assert zlib.decompress(hostile.zeros(2_500_001, b"a")) == b"a" * 2_500_001


def test_the_corpus_is_the_same_for_the_same_seed():
    def flipped(seed):
        return [f.data for f in hostile._pdfs(True, random.Random(seed)) if f.group == "PDF, bits flipped"]

    assert flipped(1) == flipped(1) != flipped(2)
