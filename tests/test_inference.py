import contextlib
import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import config
import inference
from extraction import files
from extraction.models import backends, choice, confidence
from extraction.reading import limits
from extraction.runs import results
from extraction.tasks import completions, custom, prompts, schemas
from tests.helpers.chat_server import chat
from tests.helpers.mails import mail
from tests.helpers.office import zipped
from tests.helpers.papers import line, pdf_of

CFG = config.PROFILES["cpu"]
RECEIPT = "Corner Shop\nTea    2.00\nCake   3.50\nSUBTOTAL   5.50\nTAX  0.50\nTOTAL  6.00\nCASH  10.00\nCHANGE  4.00\n"


class Scripted:
    """A backend that answers with a function of the request; it counts as a server counts."""

    name = "scripted"
    prompt_limit = 1000

    def __init__(self, answer):
        self.answer, self.requests = answer, []

    def count(self, text):
        return len(text) // 2

    def complete(self, requests, done=lambda: None):
        self.requests += requests
        return [backends.Completion(self.answer(r.messages[1]["content"]), 1, 1, 0.1) for r in requests]


def test_a_receipt_becomes_a_record_with_nulls_a_summary_and_answers():
    def answer(text):
        return '{"answer":"6.00"}' if "Question:" in text else '{"line_items":[{"description":"Tea"}],"total":"6.00"}'

    result = inference.extract(RECEIPT.encode(), Scripted(answer), CFG, name="r.txt", questions=["What is the total?"])
    assert result["document_type"] == "receipt"
    assert result["record"]["total"] == "6.00"
    assert result["record"]["merchant"] is None
    assert result["record"]["line_items"][0]["amount"] is None
    assert result["summary"] == "Receipt with 1 line item, total 6.00."
    assert result["answers"] == [{"question": "What is the total?", "answer": "6.00"}]
    assert result["problems"] == []


def test_each_value_is_traced_and_checked_and_one_that_is_not_there_is_a_problem():
    answer = '{"merchant":{"name":"Harbor Bistro"},"line_items":[{"description":"Tea","amount":"2.00"}],"total":"6.00"'
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: answer + ',"cash":"10.00","change":"4.00"}'), CFG)
    fields = {f["path"]: f for f in result["fields"]}
    assert RECEIPT[slice(*fields["total"]["span"])] == "6.00" and fields["total"]["normalized"] == 6.0
    assert {f["grounding"] for path, f in fields.items() if path != "merchant.name"} == {"exact"}
    assert {"rule": "cash - change = total", "verdict": "holds"} in result["checks"]
    assert result["problems"] == ['merchant.name: "Harbor Bistro" was not found in the document']


def test_a_contract_is_read_in_windows_and_merged():
    text = (
        "This Agreement is made between the parties. " * 120
        + "It is governed by Ohio law. "
        + "Each party shall. " * 90
    )

    def answer(window):
        found = {"Document Name": ["This Agreement"]} if window.startswith("[1] This") else {}
        if "Ohio law" in window:
            found["Governing Law"] = [re.search(r"\[(\d+)\] It is governed", window)[1]]
        return json.dumps({"clauses": found})

    backend = Scripted(answer)
    result = inference.extract(text.encode(), backend, CFG)
    assert len(backend.requests) > 2
    assert result["document_type"] == "contract"
    assert result["record"]["clauses"]["Governing Law"] == ["It is governed by Ohio law."]
    assert result["record"]["clauses"]["Insurance"] is None
    assert set(result["record"]["clauses"]) == set(schemas.CLAUSES)


def test_a_contract_is_asked_for_by_the_numbers_of_its_sentences_and_has_the_sentences():
    text = (
        "This Agreement is made by Acme Inc. and Bolt in Ohio. "
        + "Each party shall agree hereto.\n" * 12
        + "Ohio law governs."
    )
    backend = Scripted(lambda window: '{"clauses":{"Parties":["Acme Inc."],"Governing Law":["14"],"Insurance":["99"]}}')
    result = inference.extract(text.encode(), backend, CFG, document_type="contract")
    assert backend.requests[0].schema == schemas.CONTRACT.schema
    assert backend.requests[0].messages[1]["content"].startswith("[1] This Agreement is made by Acme Inc.")
    assert result["record"]["clauses"]["Governing Law"] == ["Ohio law governs."]
    assert {f["path"]: f["grounding"] for f in result["fields"]} == {
        "clauses.Parties[0]": "exact",
        "clauses.Governing Law[0]": "exact",
    }
    assert result["problems"] == ["Insurance: points at sentence 99, which does not exist"]


def test_an_answer_that_was_cut_off_is_kept_as_far_as_it_goes_and_reported():
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: '{"total":"6.00","cash":"10.'), CFG)
    assert result["record"]["total"] == "6.00"
    assert result["record"]["cash"] is None
    assert result["problems"] == ["the answer was cut off in answer.cash; what follows is missing"]


def test_an_unreadable_answer_gives_no_record_and_says_why():
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: "I cannot help"), CFG)
    assert result["record"] is None and result["summary"] is None
    assert result["problems"][0].startswith("not JSON")


def test_a_receipt_too_long_for_the_context_is_read_in_parts():
    text = "\n".join(f"Tea number {n}   2.00" for n in range(300)) + "\nTOTAL  600.00\nCASH 600.00"
    backend = Scripted(lambda t: json.dumps({"line_items": [{"description": t.split()[-1]}], "total": "600.00"}))
    result = inference.extract(text.encode(), backend, CFG, document_type="receipt")
    assert len(backend.requests) > 1
    assert len(result["record"]["line_items"]) == len(backend.requests)
    assert result["record"]["total"] == "600.00"


# --- the command ---------------------------------------------------------------------------------------------


def command(*arguments, data=None, **options):
    return subprocess.run(
        [sys.executable, "inference.py", *map(str, arguments)],
        input=data,
        capture_output=True,
        cwd=config.ROOT,
        **options,
    )


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def address(server):
    return server.address


def test_stdout_holds_one_json_object_and_everything_else_is_on_stderr(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    url = f"http://127.0.0.1:{server.server_port}/v1"
    done = command("-", "--model", url, data=RECEIPT.encode())
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["file"] == "-" and result["record"]["total"] == "6.00"
    assert {"file", "document_type", "record", "summary", "answers", "problems", "pages", "timings"} <= set(result)


def test_a_folder_gives_json_lines_and_one_failed_document_does_not_stop_the_others(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    for name, content in (("a.txt", RECEIPT), ("b.pdf", "%PDF-1.4\nbroken"), ("c.txt", RECEIPT), ("d.xyz", "other")):
        (tmp_path / name).write_text(content)
    done = command(tmp_path, "--model", f"http://127.0.0.1:{server.server_port}/v1")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["error" in line for line in lines] == [False, True, False]
    assert lines[1]["error"] == "the PDF is broken"
    assert b"1 files of other kinds were skipped" in done.stderr


def test_an_output_file_is_resumed_and_a_cut_last_line_is_read_again(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    url, out = f"http://127.0.0.1:{server.server_port}/v1", tmp_path / "out.jsonl"
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(RECEIPT + name)
    names = [tmp_path / f"{name}.txt" for name in ("a", "b", "c")]
    assert command(*names[:2], "--model", url, "-o", out).returncode == 0
    assert len(server.seen) == 2
    whole = out.read_text()
    out.write_text(whole[: len(whole) - 30])
    assert command(*names, "--model", url, "-o", out).returncode == 0
    assert len(server.seen) == 4
    assert [Path(json.loads(line)["file"]).stem for line in out.read_text().splitlines()] == ["a", "b", "c"]


def test_each_document_in_a_file_has_a_row_of_its_own_and_is_found_again(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    out = tmp_path / "out.jsonl"
    (tmp_path / "one.eml").write_bytes(mail("See the file.", files=(("a.txt", RECEIPT.encode(), "attachment"),)))
    (tmp_path / "two.zip").write_bytes(zipped({"b.txt": RECEIPT + "b", "c.txt": RECEIPT + "c", "d.pdf": b"MZ\0"}))
    for _ in range(2):
        done = command(tmp_path / "one.eml", tmp_path / "two.zip", "--model", address(server), "-o", out)
        assert done.returncode == 1
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        names = [row["file"].removeprefix(f"{tmp_path}/") for row in rows]
        assert names == ["one.eml/a.txt", "two.zip/b.txt", "two.zip/c.txt", "two.zip/d.pdf"]
        assert ["error" in row for row in rows] == [False, False, False, True]
        assert len(server.seen) == 3
    printed = command(tmp_path / "two.zip", "--model", address(server)).stdout
    assert [Path(result["file"]).name for result in json.loads(printed)] == ["b.txt", "c.txt", "d.pdf"]
    assert json.loads(command(tmp_path / "one.eml", "--model", address(server)).stdout)["record"]["total"] == "6.00"


def test_each_document_of_a_bundle_has_a_row_and_one_that_is_missing_is_read_alone(server, tmp_path):
    rows = ["Corner Shop Ltd", "INVOICE", "Invoice No: {0}", "Date: 04 May 2026", "Tea 2.00", "Cake 3.50", "Total {1}"]
    shown = [[row.format(n, f"1{n % 10}.00") for row in rows] for n in (20417, 20418, 20419)]
    pages = ["".join(line(row, y=760 - 20 * i) for i, row in enumerate(page)) for page in shown]
    (tmp_path / "bundle.pdf").write_bytes(pdf_of(*pages))
    server.replies = [(200, chat(f'{{"total":"1{n}.00"}}')) for n in (7, 8, 9)]
    out, arguments = tmp_path / "out.jsonl", (tmp_path / "bundle.pdf", "--model", address(server))
    assert command(*arguments, "-o", out).returncode == 0
    made = [json.loads(row) for row in out.read_text().splitlines()]
    assert [(row["page_numbers"], row["record"]["total"], row["problems"]) for row in made] == [
        ([1], "17.00", []), ([2], "18.00", []), ([3], "19.00", [])
    ]  # fmt: skip
    assert {(row["file"], row["pages"], row["documents"]) for row in made} == {(str(tmp_path / "bundle.pdf"), 1, 3)}
    out.write_text("".join(json.dumps(row) + "\n" for row in made if row["document"] != 2))
    server.replies = [(200, chat('{"total":"18.00"}'))]
    assert b"1 documents in" in command(*arguments, "-o", out).stderr
    assert [json.loads(row)["document"] for row in out.read_text().splitlines()] == [1, 2, 3]
    assert len(server.seen) == 4
    assert command(*arguments, "-o", out, "--split", "never").returncode == 0  # other settings: the rows are replaced
    (whole,) = map(json.loads, out.read_text().splitlines())
    assert whole["page_numbers"] == [1, 2, 3]
    assert whole["problems"][0] == "pages 1, 2 and 3 look like 3 documents; they are read as one"
    command(*arguments, "-o", tmp_path / "out.csv", "--format", "csv")
    with open(tmp_path / "out.csv", encoding="utf-8-sig", newline="") as f:
        assert [(row["document"], row["page_numbers"]) for row in csv.DictReader(f)] == [
            ("1", "1"),
            ("2", "2"),
            ("3", "3"),
        ]


def test_rows_of_an_earlier_calibration_are_read_again(monkeypatch, tmp_path):
    backend = Scripted(lambda _: '{"total":"6.00"}')
    monkeypatch.setattr(choice.Choice, "open", lambda *_: backend)
    model, document = tmp_path / "m.gguf", tmp_path / "a.txt"
    model.write_bytes(b"weights")
    document.write_text(RECEIPT)
    arguments = [str(document), "--model", str(model), "-o", str(tmp_path / "out.jsonl")]
    for judged, asked in (({}, 1), ({}, 1), ({"receipt": [(0.9, True)]}, 2), ({"receipt": [(0.9, False)]}, 3)):
        if judged:
            beside = tmp_path / "m.gguf.confidence.json"
            confidence.save(beside, confidence.fit(judged), files.sha256(model), judged, "rows")
        assert inference.main(arguments) == 0
        assert len(backend.requests) == asked


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["absent.pdf"], 2, "absent.pdf does not exist"),
        (["README.md", "--model", "nothing.gguf"], 3, "not gguf, base-gguf, adapter, base, a .gguf file or a URL"),
        (["README.md", "--set", "output.dir=/nonexistent"], 3, "Run: python export_gguf.py"),
        (["README.md", "--model", "adapter", "--set", "output.dir=/nonexistent"], 3, "Run: python train_moe.py"),
        (["README.md", "-o", "/proc/nothing/out.jsonl"], 2, "cannot write"),
    ],
)
def test_what_is_missing_is_one_sentence_and_its_own_status(arguments, status, sentence):
    done = command(*arguments)
    assert done.returncode == status
    message = done.stderr.decode()
    assert sentence in message and "Traceback" not in message
    assert done.stdout == b""


def test_an_unreadable_single_document_has_status_4_and_needs_no_model(tmp_path):
    (tmp_path / "empty.pdf").write_bytes(b"")
    done = command(tmp_path / "empty.pdf", "--set", "output.dir=/nonexistent")
    assert done.returncode == 4
    assert b"the file is empty" in done.stderr


def test_a_document_that_was_read_but_has_no_record_has_status_1(server, tmp_path):
    (tmp_path / "a.txt").write_text(RECEIPT)
    server.delay = 2
    arguments = [tmp_path / "a.txt", "--model", address(server), "--set", "inference.timeout_seconds=0.5"]
    done = command(*arguments, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 1
    assert "no answer from" in rows_of(tmp_path / "out.jsonl")[0]["error"]
    assert command(*arguments, "-o", tmp_path / "out.jsonl").returncode == 1  # its row is kept


def test_limits_of_the_settings_reach_the_reader():
    cfg = config.override(CFG, "inference.max_text_chars=100")
    result = inference.extract(RECEIPT.encode() * 5, Scripted(lambda _: "{}"), cfg)
    assert "only the first 100" in result["problems"][0]
    with pytest.raises(limits.DocumentError):
        inference.extract(io.BytesIO(b"\x00\x01").getvalue(), Scripted(lambda _: "{}"), cfg)


# --- folders -------------------------------------------------------------------------------------------------


def pdf(text):
    """A PDF of one page that prints these lines."""
    return pdf_of("".join(line(row, 50, 750 - 20 * n) for n, row in enumerate(text.splitlines())))


def fill(folder):
    """30 documents of four kinds in nested folders, three of them broken, and one file that is no document."""
    import docx
    from PIL import Image, ImageDraw, ImageFont

    (folder / "deeper" / "still").mkdir(parents=True)
    for n in range(15):
        (folder / f"{n:02}.txt").write_text(f"Document number {n}\n{RECEIPT}")
    for n in range(15, 22):
        (folder / "deeper" / f"{n}.pdf").write_bytes(pdf(f"Document number {n}\n{RECEIPT}"))
    for n in range(22, 25):
        document = docx.Document()
        document.add_paragraph(f"Document number {n}\n{RECEIPT}")
        document.save(folder / "deeper" / "still" / f"{n}.docx")
    for n in range(25, 27):
        picture = Image.new("RGB", (500, 160), "white")
        ImageDraw.Draw(picture).text(
            (20, 20), f"Document number {n}\nTOTAL 6.00", fill="black", font=ImageFont.load_default(36)
        )
        picture.save(folder / f"{n}.png")
    (folder / "27.pdf").write_bytes(b"%PDF-1.4\nbroken")
    (folder / "28.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (folder / "29.docx").write_bytes(b"PK\x03\x04 no archive")
    (folder / "30.xyz").write_text("passed over")


def test_a_folder_of_30_with_three_broken_is_resumed_after_a_kill_without_reading_a_file_twice(server, tmp_path):
    fill(tmp_path)
    server.replies, server.delay = [(200, chat('{"total":"6.00"}'))], 0.2
    out = tmp_path / "out.jsonl"
    arguments = [tmp_path, "--model", address(server), "--type", "receipt", "-o", out, "--workers", 2]
    process = subprocess.Popen(
        [sys.executable, "inference.py", *map(str, arguments)], cwd=config.ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not out.exists() or len(out.read_text().splitlines()) < 6):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # an answer that was on its way
    before = out.read_bytes()
    written = [json.loads(line) for line in before.decode().splitlines()]
    assert 6 <= len(written) < 30
    answered = len(server.seen)
    out.write_bytes(before + b'{"file": "half')

    done = command(*arguments)
    assert done.returncode == 1, done.stderr.decode()
    assert out.read_bytes().startswith(before)
    rows = rows_of(out)
    assert len(rows) == len({row["file"] for row in rows}) == 30
    failed = {Path(row["file"]).name: row["error"] for row in rows if "error" in row}
    assert set(failed) == {"27.pdf", "28.jpg", "29.docx"} and failed["27.pdf"] == "the PDF is broken"
    good = [row for row in rows if "error" not in row]
    assert len(good) == 27 and {row["record"]["total"] for row in good} == {"6.00"}
    assert answered <= sum("error" not in row for row in written) + 2  # two were in hand when it was killed
    assert len(server.seen) - answered == 27 - sum("error" not in row for row in written)

    again = command(*arguments)
    assert again.returncode == 1 and b"0 documents in" in again.stderr
    assert len(server.seen) - answered == 27 - sum("error" not in row for row in written)
    assert rows_of(out) == rows


def test_reading_processes_end_when_their_parent_is_killed(server, tmp_path):
    for n in range(4):
        (tmp_path / f"{n}.txt").write_text(f"{n}\n{RECEIPT}")
    server.replies, server.delay = [(200, chat('{"total":"6.00"}'))], 2
    process = subprocess.Popen(
        [sys.executable, "inference.py", str(tmp_path), "--model", address(server), "--workers", "2"],
        cwd=config.ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not server.seen:
        time.sleep(0.05)
    assert len(session(process.pid)) > 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert session(process.pid) == []


def session(leader):
    """The processes of a session that are not just waiting to be collected."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(path)
    return found


def test_failed_documents_are_read_again_only_when_asked_for(server, tmp_path):
    (tmp_path / "a.txt").write_text(RECEIPT)
    server.replies = [(400, "no"), (200, chat('{"total":"6.00"}'))]
    arguments = [tmp_path, "--model", address(server), "-o", tmp_path / "out.jsonl"]
    assert command(*arguments).returncode == 1
    assert "status 400" in rows_of(tmp_path / "out.jsonl")[0]["error"]
    assert command(*arguments).returncode == 1 and len(server.seen) == 1
    assert command(*arguments, "--retry-errors").returncode == 0 and len(server.seen) == 2
    assert [row["record"]["total"] for row in rows_of(tmp_path / "out.jsonl")] == ["6.00"]


def test_a_changed_file_and_other_settings_replace_the_earlier_row(server, tmp_path):
    source, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    source.write_text(RECEIPT)
    server.replies = [(200, chat('{"total":"6.00"}'))]
    arguments = [source, "--model", address(server), "-o", out]
    for changed, extra, asked in (("", [], 1), ("", [], 1), ("more\n", [], 2), ("", ["--type", "receipt"], 3)):
        source.write_text(source.read_text() + changed)
        assert command(*arguments, *extra).returncode == 0
        assert len(server.seen) == asked and len(rows_of(out)) == 1


def test_two_files_with_the_same_bytes_are_two_rows_when_resumed(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(RECEIPT)
    arguments = ["--model", address(server), "-o", tmp_path / "out.jsonl"]
    assert command(tmp_path / "a.txt", *arguments).returncode == 0
    assert command(tmp_path, *arguments).returncode == 0
    assert [Path(row["file"]).name for row in rows_of(tmp_path / "out.jsonl")] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("content", ["# a text of mine\n", '{"mine": 1}\n', '{"file": "a", "key": null}\nno row\n'])
def test_a_file_that_no_run_wrote_is_not_written_over(tmp_path, content):
    out = tmp_path / "mine"
    out.write_text(content)
    done = command("README.md", "--model", "http://127.0.0.1:9/v1", "-o", out)
    assert done.returncode == 2 and b"not a row of an earlier run" in done.stderr
    assert out.read_text() == content


def test_a_row_that_was_changed_after_it_was_written_is_refused_with_its_line(tmp_path):
    out = tmp_path / "out.jsonl"
    rows = [{"file": f"{n}.txt", "record": {"total": "6.00"}, "key": "k"} for n in range(2)]
    results.write_rows(out, rows)
    assert results.earlier(out) == rows
    whole = out.read_bytes()
    place = whole.index(b"6.00", whole.index(b"1.txt"))
    for changed in (b"8", b"\xff"):
        out.write_bytes(whole[:place] + changed + whole[place + 1 :])
        with pytest.raises(files.StageError, match="line 2: it was changed after it was written"):
            results.earlier(out)


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_first_line_that_was_cut_off_anywhere_is_no_row(tmp_path, cut):
    out = tmp_path / "out.jsonl"
    out.write_text('{"file": "a.txt", "error": "the PDF is broken", "key": null}'[:cut])
    assert results.earlier(out) == [] and out.read_text() == ""


def collect(screen, pieces):
    """What is shown on a terminal, until its other side is closed."""
    with contextlib.suppress(OSError):
        while piece := os.read(screen, 4096):
            pieces.append(piece)


def test_a_long_contract_shows_its_progress_on_a_terminal_and_every_answer_is_counted(server, tmp_path):
    text = "This Agreement is made between the parties hereto. Each party shall keep its obligations. " * 340
    assert len(text) >= 30_000
    (tmp_path / "contract.txt").write_text(text)
    server.replies = [(200, chat('{"clauses":{"Document Name":["This Agreement"]}}'))]
    screen, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (25, 100))
    pieces = []
    reader = threading.Thread(target=collect, args=(screen, pieces))
    reader.start()
    done = subprocess.run(
        [sys.executable, "inference.py", tmp_path / "contract.txt", "--model", address(server), "--ask", "Who?"],
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=config.ROOT,
        check=True,
    )
    os.close(stderr)
    reader.join()
    os.close(screen)
    shown = b"".join(pieces).decode()
    assert json.loads(done.stdout)["document_type"] == "contract"
    assert len(server.seen) > 15
    assert f"0/{len(server.seen)}" in shown and f"7/{len(server.seen)}" in shown and "contract.txt" in shown

    told = []
    inference.extract(text.encode(), Scripted(lambda _: "{}"), CFG, progress=lambda *now: told.append(now))
    assert told[0] == (0, len(server.seen) - 1)


# --- own schemas ---------------------------------------------------------------------------------------------

TEMPLATE = {"vendor": "who sells", "kind": ["receipt", "invoice"], "items": [{"name": "", "price": None}]}


def own(value):
    return custom.parse(json.dumps(value), "my.json")


def test_a_template_becomes_a_bounded_schema_that_names_every_field():
    text = {"anyOf": [{"type": "string", "maxLength": 200}, {"type": "null"}]}
    item = {"type": "object", "properties": {"name": text, "price": text}, "required": ["name", "price"]}
    assert own(TEMPLATE).schema == {
        "type": "object",
        "properties": {
            "vendor": text,
            "kind": {"anyOf": [{"type": "string", "enum": ["receipt", "invoice"]}, {"type": "null"}]},
            "items": {"type": "array", "items": {**item, "additionalProperties": False}, "maxItems": 100},
        },
        "required": ["vendor", "kind", "items"],
        "additionalProperties": False,
    }
    assert "vendor: who sells" in own(TEMPLATE).instructions


def test_a_json_schema_with_its_own_bounds_and_nulls_keeps_them():
    text = {"type": ["string", "null"], "maxLength": 500}
    options = {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}], "description": "which"}
    schema = own({"type": "object", "properties": {"x": text, "y": options, "z": {"type": "array", "items": text}}})
    x, y, z = schema.definition["properties"].values()
    assert x == {"type": "string", "maxLength": 500}
    assert y == {"description": "which", "type": "string", "enum": ["a", "b"]}
    assert z == {"type": "array", "items": x, "maxItems": 100}


def described(**node):
    return {"type": "object", "properties": {"a": {"type": "array", "items": node}}}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": [{"price": 1.5}]}, "my.json: a[].price: 1.5 is not taken"),
        (
            described(type="file"),
            'a[]: type "file" is not taken, only object, array, string, number, boolean, enum and null',
        ),
        (described(type="string", pattern="x"), "a[]: 'pattern' is not taken for string"),
        (described(type="string", maxLength=501), "a[]: maxLength must be a whole number from 1 to 500, got 501"),
        (described(type="string", maxLength=True), "a[]: maxLength must be a whole number"),
        (described(**{"$ref": "#"}), "a[].a[]: # refers to itself, so the record would have no end"),
        (described(type=["string", "array"]), "a[]: type"),
        (described(enum=["x", 3]), "a[]: enum must list texts"),
        (described(anyOf=[{"type": "string"}, {"type": "object"}]), "a[]: anyOf"),
        (described(type="object"), "a[]: an object needs properties"),
        (described(type="object", properties={"b": {"type": "string"}}, additionalProperties={}), "additionalProp"),
        (described(type="object", properties={"b": {"type": "string"}}, required=["c"]), "a[]: required must list"),
        ({"$schema": "x", "type": "array", "items": {"type": "string"}}, "outermost value must be an object"),
        ({"a.b": ""}, "at the top: 'a.b' cannot be the name of a field"),
        ({"a": {}}, "a: an object needs fields"),
        ([], "outermost"),
        ({f"f{n}": "" for n in range(201)}, "it has 201 fields"),
        ({"a": {"a": {"a": {"a": {"a": {"a": {"a": ""}}}}}}}, "nested deeper"),
    ],
)
def test_what_a_schema_may_not_hold_is_refused_with_its_path(value, sentence):
    with pytest.raises(files.StageError) as error:
        own(value)
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert error.value.status == 2


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\xff", b"[" * 100_000, None])
def test_a_schema_that_cannot_be_read_is_refused_before_any_document(server, tmp_path, content):
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "a.txt").write_text(RECEIPT)
    done = command(tmp_path / "a.txt", "--schema", path, "--model", address(server))
    assert done.returncode == 2 and b"Traceback" not in done.stderr and done.stdout == b""
    assert server.seen == []


def test_own_fields_are_asked_for_bound_validated_and_traced(server, tmp_path):
    schema, source = tmp_path / "schema.json", tmp_path / "a.txt"
    schema.write_text(json.dumps({**TEMPLATE, "summary": "", "model_config": "", "class": ""}))
    source.write_text(RECEIPT)
    answer = {"vendor": "Corner Shop", "kind": "receipt", "summary": None, "class": None, "model_config": "Nowhere Ltd"}
    answer["items"] = [{"name": "Tea", "price": "2.00"}, {"name": "Cake", "price": "3.50"}]
    server.replies = [(200, chat(json.dumps(answer)))]
    done = command(source, "--schema", schema, "--model", address(server))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["document_type"] == "custom" and result["record"] == answer
    fields = {f["path"]: f for f in result["fields"]}
    assert RECEIPT[slice(*fields["items[1].price"]["span"])] == "3.50"
    assert fields["items[1].price"]["normalized"] == 3.5
    assert result["problems"] == ['model_config: "Nowhere Ltd" was not found in the document']
    body = server.seen[0][1]
    assert body["response_format"]["json_schema"]["schema"] == custom.read(schema).schema
    assert '"items":[{"name":"","price":""}]' in body["messages"][0]["content"]


@pytest.mark.parametrize("answer", ['{"kind":"letter"}', '{"other":"x"}', '{"vendor":true}'])
def test_an_answer_that_breaks_the_own_schema_is_no_record(answer):
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: answer), CFG, own=own(TEMPLATE))
    assert result["record"] is None and result["problems"][0].startswith("not a custom record: ")


def test_a_text_that_is_longer_than_its_own_field_may_be_is_cut_and_named():
    answer = json.dumps({"vendor": "x" * 201})
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: answer), CFG, own=own(TEMPLATE))
    assert result["record"]["vendor"] == "x" * 200
    assert "vendor had 201 characters and was cut to 200" in result["problems"]


def test_a_required_field_that_is_missing_is_a_problem_and_not_invented():
    text = {"type": "string"}
    row = {"type": "object", "properties": {"b": text}, "required": ["b"]}
    rows = {"type": "array", "items": {**row, "properties": {"b": text, "c": text}}}
    schema = {"type": "object", "properties": {"a": text, "rows": rows}, "required": ["a", "rows"]}
    answer = '{"a":null,"rows":[{"b":"Tea","c":"2.00"},{"b":null,"c":"3.50"}]}'
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: answer), CFG, own=own(schema))
    assert [problem.split(":")[0] for problem in result["problems"]] == ["a", "rows[1].b"]
    assert result["record"]["a"] is None


def test_values_of_a_typed_schema_stay_as_printed_with_what_they_mean_beside_them():
    kinds = {"total": {"type": "number"}, "count": {"type": "integer"}, "day": {"type": "string", "format": "date"}}
    kinds |= {"paid": {"type": "boolean"}, "weight": {"type": "number"}}
    answer = '{"total":"1.234,50 €","count":"3 pcs","day":"12. March 2026","paid":"true","weight":"some"}'
    text = b"Total 1.234,50 \xe2\x82\xac for 3 pcs on 12. March 2026, weight some"
    result = inference.extract(text, Scripted(lambda _: answer), CFG, own=own({"properties": kinds}))
    found = {field["path"]: (field["value"], field["normalized"]) for field in result["fields"]}
    assert found["total"] == ("1.234,50 €", 1234.5) and result["record"]["total"] == "1.234,50 €"
    assert found["count"] == ("3 pcs", 3) and isinstance(found["count"][1], int)
    assert found["day"] == ("12. March 2026", "2026-03-12")
    assert found["paid"] == ("true", True)
    assert result["problems"] == ['weight: "some" cannot be read as one number']


def test_a_random_model_keeps_an_own_schema_under_the_grammar(tiny_cfg):
    backend = choice.choose(tiny_cfg, "base").open()
    task = own(TEMPLATE)
    answer = backend.complete([backends.Request(prompts.messages(task, RECEIPT), task.schema)])[0]
    assert completions.parse(task, answer.text).record is not None, answer.text
    assert answer.text.startswith('{"vendor":')


# --- formats -------------------------------------------------------------------------------------------------


def test_csv_has_a_line_per_document_and_one_per_line_item_and_no_formulas(server, tmp_path):
    record = {
        "merchant": {"name": '=HYPERLINK("x")'},
        "line_items": [{"description": "Tea, green", "amount": "-2.00", "sub_items": [{"description": "@milk"}]}],
        "total": "6.00",
    }
    server.replies = [(200, chat(json.dumps(record)))]
    (tmp_path / "a.txt").write_text(RECEIPT)
    (tmp_path / "b.pdf").write_text("%PDF-1.4\nbroken")
    out = tmp_path / "out.csv"
    done = command(tmp_path, "--model", address(server), "--type", "receipt", "--format", "csv", "-o", out)
    assert done.returncode == 1
    with open(out, encoding="utf-8-sig", newline="") as f:
        good, bad = csv.DictReader(f)
    assert good["record.total"] == "6.00" and good["record.merchant.name"] == '\'=HYPERLINK("x")'
    assert "record.merchant.phone" not in good and good["error"] == ""
    assert bad["error"] == "the PDF is broken" and bad["record.total"] == ""
    with open(tmp_path / "out.items.csv", encoding="utf-8-sig", newline="") as f:
        item, sub = csv.DictReader(f)
    assert (item["path"], item["description"], item["amount"]) == ("line_items[0]", "Tea, green", "'-2.00")
    assert (sub["path"], sub["description"]) == ("line_items[0].sub_items[0]", "'@milk")
    assert {item["file"], sub["file"]} == {good["file"]}
    assert command(tmp_path, "--model", address(server), "--type", "receipt", "--format", "csv", "-o", out).returncode
    assert len(server.seen) == 1  # resumed from out.csv.jsonl


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\n-1", "＝1"])
def test_no_cell_begins_like_a_formula(text):
    assert files.safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["6.00", "a-b", "", "1=1", "'=1"])
def test_other_cells_are_kept(text):
    assert files.safe_cell(text) == text


def test_json_of_several_documents_is_one_array_and_a_table_is_for_people(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(RECEIPT + name + "\x1b[31m\n")
    shown = command(tmp_path, "--model", address(server), "--format", "json", "--timings")
    assert [row["record"]["total"] for row in json.loads(shown.stdout)] == ["6.00", "6.00"]
    assert [line.split()[:2] for line in shown.stderr.decode().splitlines()[2:4]] == [["read", "2"], ["model", "2"]]
    server.replies = [(200, chat('{"total":"6.00\\u001b[31m"}'))]
    shown = command(tmp_path, "--model", address(server), "--format", "table", "--ask", "Total?").stdout.decode()
    assert "total" in shown and "6.00" in shown and "Total?" in shown and "\x1b" not in shown


# --- looking before reading ----------------------------------------------------------------------------------


def test_the_check_names_what_is_missing_and_the_command_that_mends_it(server, tmp_path):
    elsewhere = ["--set", f"output.dir={tmp_path}"]
    missing = command("--check", *elsewhere)
    assert missing.returncode == 1
    line = next(line for line in missing.stdout.decode().splitlines() if line.startswith("--model gguf"))
    assert " missing " in line and line.endswith("python export_gguf.py")
    there = command("--check", *elsewhere, "--model", f"{address(server)}#doc-intel")
    states = {line.split("  ")[0]: line for line in there.stdout.decode().splitlines()}
    assert "answers, with doc-intel" in states[f"--model {address(server)}#doc-intel"]
    assert "read 'TOTAL 12.50'" in states["OCR"] and " ok " in states["OCR"]
    other = command("--check", *elsewhere, "--model", f"{address(server)}#other")
    assert other.returncode == 1 and b"it has no other, but doc-intel" in other.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a FILE"),
        (["README.md", "--workers", "0"], "--workers must be at least 1"),
        (["README.md", "--schema", "x.json", "--type", "receipt"], "leave out --type"),
        (["README.md", "--format", "csv"], "needs -o FILE.csv"),
        (["README.md", "-o", "README.md"], "is one of the documents"),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(arguments, sentence):
    done = command(*arguments)
    assert done.returncode == 2 and sentence in done.stderr.decode() and done.stdout == b""


# --- confidences ---------------------------------------------------------------------------------------------


class Sure(Scripted):
    """Answers whose values have these confidences."""

    def __init__(self, answer, confidences):
        super().__init__(answer)
        self.confidences = confidences

    def complete(self, requests, done=lambda: None):
        return [replace(answer, confidences=self.confidences) for answer in super().complete(requests, done)]


def test_each_field_has_its_confidence_and_says_whether_it_is_calibrated():
    backend = Sure(lambda _: '{"total":"6.00","cash":"10.00"}', {"total": 0.5, "cash": 0.25})
    raw = inference.extract(RECEIPT.encode(), backend, CFG)
    assert {f["path"]: f["confidence"] for f in raw["fields"]} == {"total": 0.5, "cash": 0.25}
    assert raw["confidences"] == "not calibrated"
    backend.calibration = confidence.Calibration({"all": [[0.0, 0.0], [1.0, 0.5]]})
    found = inference.extract(RECEIPT.encode(), backend, CFG)
    assert {f["path"]: f["confidence"] for f in found["fields"]} == {"total": 0.25, "cash": 0.125}
    assert found["confidences"] == "calibrated"


def test_a_value_that_the_model_is_not_sure_enough_of_or_that_stands_nowhere_needs_a_review():
    answer = '{"total":"6.00","tax":"0.50","cash":"77.00","change":"4.00"}'
    backend = Sure(lambda _: answer, {"total": 0.9, "tax": 0.4, "cash": 0.9})
    plain = inference.extract(RECEIPT.encode(), backend, CFG)
    wanted = {"total": None, "tax": None, "cash": True, "change": None}
    assert {f["path"]: f["review"] for f in plain["fields"]} == wanted
    same = [[0.0, 0.0], [1.0, 1.0]]
    backend.calibration = confidence.Calibration({"all": same}, 0.05, {"receipt": 0.8, "all": 0.99})
    found = inference.extract(RECEIPT.encode(), backend, CFG)
    assert {f["path"]: f["review"] for f in found["fields"]} == wanted | {"total": False, "tax": True}


def test_a_backend_without_probabilities_gives_no_confidence():
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: '{"total":"6.00"}'), CFG)
    assert [f["confidence"] for f in result["fields"]] == [None] and result["confidences"] is None
