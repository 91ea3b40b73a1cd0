"""No text of a document, and no secret, gets where it should not; nobody outside is called; nothing stays behind."""

import base64
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import app
import config
import inference
from extraction import steps
from extraction.models import backends, choice, http
from extraction.reading import documents
from extraction.tasks import schemas
from tests.hardening import privacy

ROOT = config.ROOT
CANARY = "quetzal0123456789ab"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the whole line did with documents that carry a canary, in its short form."""
    return privacy.measure(short=True, seed=0)


def test_every_stage_ran_and_ended_as_it_should(found):
    assert found["went_wrong"] == []
    assert found["runs"] >= 20 and found["signals"] >= 2 and found["files_searched"] > 50


def test_text_of_a_document_stands_only_where_it_is_meant_to(found):
    assert found["canaries_leaked"] == []
    # Each place that is allowed was used, so the search can find it; the page's files are gone when it is searched.
    assert set(found["text_found"]) == set(privacy.MAY_HOLD_TEXT) - {"tmp/doc-intel-*/*"}


def test_tokens_and_passwords_are_in_no_file_and_on_no_terminal(found):
    assert found["secrets_leaked"] == []


def test_nothing_temporary_is_left_after_success_failure_or_sigterm(found):
    assert found["left_behind"] == []


def test_nobody_outside_this_machine_is_called(found):
    assert found["outside_connections"] == []


def test_telemetry_is_off_before_a_library_reads_its_switch(found):
    assert found["imports_untold"] == []
    assert found["imports_watched"] >= 5


def test_the_table_is_that_of_these_counts(found):
    shown = privacy.table(found)
    assert shown.startswith("## Privacy and secrets\n")
    assert f"| files searched, terminal and temporary files included | {found['files_searched']} |" in shown


def test_the_threat_model_lists_the_places_where_text_may_be_stored():
    text = Path("SECURITY.md").read_text(encoding="utf-8")
    section = text[text.index("## Where a document's text may be stored") : text.index("## Connections")]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.M)
    assert dict(rows) == privacy.MAY_HOLD_TEXT


# --- the means of the search ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", [str.encode, lambda t: t.encode("utf-16-le"), lambda t: t.upper().encode()])
def test_a_canary_is_found_in_every_form_that_is_searched_for(encode, tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\0 " + encode(CANARY) + b" \0")
    assert any(form in privacy.read(tmp_path / "x") for form in privacy.forms(CANARY))


@pytest.mark.parametrize("before", [b"", b"1", b"12"])
def test_a_canary_is_found_in_base64_wherever_it_begins(before, tmp_path):
    import base64

    (tmp_path / "x").write_bytes(base64.b64encode(before + CANARY.encode() + b" and more"))
    assert any(form in privacy.read(tmp_path / "x") for form in privacy.forms(CANARY))


def guarded(code, tmp_path, **environment):
    """A Python process with the guard: its exit status, what it printed, and the guard's log."""
    log = tmp_path / "log"
    log.touch()
    env = {**os.environ, "PYTHONPATH": f"{privacy.GUARD}:{ROOT}", "GUARD_LOG": str(log), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    return done, log.read_text()


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('example.com', 80))",
        "socket.socket().connect(('192.0.2.1', 80))",
        "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))",
        "__import__('requests').get('http://example.com')",
    ],
)
def test_the_guard_refuses_and_notes_what_leaves_this_machine(call, tmp_path):
    done, log = guarded(f"import socket\n{call}", tmp_path)
    assert done.returncode == 1 and "refused by the guard" in done.stderr
    assert re.search("example.com|192.0.2.1|2001:db8::1", log)


def test_the_guard_lets_this_machine_talk_to_itself(tmp_path):
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    done, log = guarded(code, tmp_path)
    assert (done.returncode, done.stderr, log) == (0, "", "")


def test_the_guard_notes_what_a_library_was_told_when_it_was_imported(tmp_path):
    _, log = guarded("import huggingface_hub", tmp_path, HF_HUB_DISABLE_TELEMETRY="", DO_NOT_TRACK="1")
    assert '"told": {"HF_HUB_DISABLE_TELEMETRY": "", "DO_NOT_TRACK": "1"}' in log
    _, log = guarded("import extraction, huggingface_hub", tmp_path, HF_HUB_DISABLE_TELEMETRY="")
    assert '"HF_HUB_DISABLE_TELEMETRY": "1"' in log.splitlines()[-1]


@pytest.mark.skipif(not privacy.isolated(), reason="this system allows no network namespaces")
def test_names_that_native_code_looks_up_are_heard(tmp_path):
    """getent is no Python program: no audit hook sees it."""
    code = (
        "import pathlib, subprocess; from tests.hardening import privacy; privacy.raise_loopback();"
        f"privacy.hear_names(pathlib.Path({str(tmp_path / 'log')!r}));"
        "subprocess.run(['getent', 'hosts', 'example.com'], stdout=subprocess.DEVNULL)"
    )
    subprocess.run([*privacy.isolated(), sys.executable, "-c", code], cwd=ROOT, check=True)
    assert '"host": "example.com"' in (tmp_path / "log").read_text()


# --- errors that nobody expected -----------------------------------------------------------------------------

FAILS = (
    "import os, sys; from extraction import stage\n"
    "def main(argv):\n"
    "    try:\n"
    f"        int('{CANARY}')\n"
    "    except ValueError as error:\n"
    f"        raise RuntimeError('{CANARY}') from error\n"
    "stage.run_stage(main)\n"
)


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_shown_by_its_lines_of_code_and_its_message_only_on_request(debug, tmp_path):
    script = tmp_path / "stage.py"
    script.write_text(FAILS.replace(CANARY, "' + os.environ['CANARY'] + '"))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CANARY": CANARY, "DOC_INTEL_DEBUG": str(int(debug))}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr and "ValueError" in done.stderr and "stage.py" in done.stderr
    assert (CANARY in done.stderr) == debug


def test_a_bug_in_a_thread_is_shown_without_its_message_too(tmp_path):
    code = (
        "import os, threading; from extraction import stage; stage.show_bugs_without_text()\n"
        "thread = threading.Thread(target=lambda: int(os.environ['CANARY'])); thread.start(); thread.join()"
    )
    env = {**os.environ, "CANARY": CANARY}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert "ValueError" in done.stderr and CANARY not in done.stderr


def test_the_reading_process_that_crashes_does_not_quote_the_file(tmp_path):
    code = (
        "import runpy; from extraction.reading import pages\n"
        "def read(data, *_): raise ValueError(data.decode())\n"
        "pages.read = read\n"
        "runpy.run_module('extraction.reading.worker', run_name='__main__')"
    )
    request = b'{"do": "read", "kind": "pdf", "first": 1, "limits": {}, "bytes": %d}\n' % len(CANARY)
    done = subprocess.run([sys.executable, "-c", code], input=request + CANARY.encode(), cwd=ROOT, capture_output=True)
    assert b"ValueError" in done.stderr and CANARY.encode() not in done.stdout + done.stderr


def test_a_bug_on_one_document_is_a_row_without_the_text(tmp_path, capsys, monkeypatch):
    def fails(*_, **__):
        raise ValueError(CANARY)

    (tmp_path / "a.txt").write_text("Invoice")
    monkeypatch.setattr(inference, "extract", fails)
    monkeypatch.setattr(choice.Choice, "open", lambda *_: object())
    assert inference.main([str(tmp_path / "a.txt")]) == 1
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err
    assert "failed with ValueError" in said.out and "test_hardening_privacy.py" in said.err


@pytest.mark.parametrize("handle", ["extract", "ask", "edit"])
def test_a_bug_behind_the_page_is_a_sentence_without_the_text(handle, tmp_path, capsys, monkeypatch):
    import gradio as gr

    class Fails:
        name, prompt_limit = "fails", 1000

        def count(self, text):
            raise ValueError(CANARY)

        def complete(self, requests, done=lambda: None):
            raise ValueError(CANARY)

    (tmp_path / "a.txt").write_text(f"Invoice {CANARY}")
    handlers = app.Handlers(Fails(), config.PROFILES["cpu"], str(tmp_path))
    handlers.document = {name: name for name in ("status", "view", "text")}
    monkeypatch.setattr(handlers, "_shown", lambda opened, line, **_: {"status": line})
    found = steps.Extraction("a.txt", schemas.RECEIPT, "m", steps.Shown(documents.Document(CANARY), schemas.RECEIPT))
    found.change({"total": "1"}, {})
    opened = app.Opened(tmp_path / "a.txt", found)
    monkeypatch.setattr(app.Opened, "edit", lambda *_: int(CANARY))
    if handle == "extract":
        *_, shown = handlers.extract(str(tmp_path / "a.txt"), "receipt", None, "")
    elif handle == "ask":
        shown = handlers.ask(opened, "Who?")
    else:
        shown = handlers.edit(opened, gr.EventData(None, {"field": "total", "value": CANARY}))
    said = capsys.readouterr().err
    assert "ValueError" in said and CANARY not in said
    assert "failed with ValueError" in shown["status"] and CANARY not in str(shown)


# --- the end of a stage --------------------------------------------------------------------------------------

WORKS = (
    "import pathlib, sys, time; from extraction import handoff, stage\n"
    "def main(argv):\n"
    "    staging = handoff.begin(pathlib.Path(sys.argv[1]) / 'made')\n"
    "    (staging / 'rows.jsonl').write_text('x')\n"
    "    print('begun', flush=True)\n"
    "    time.sleep(30 if sys.argv[2] == 'wait' else 0)\n"
    "    raise KeyError('x') if sys.argv[2] == 'fail' else KeyboardInterrupt\n"
    "stage.run_stage(main)\n"
)


@pytest.mark.parametrize(("how", "status"), [("wait", 143), ("fail", 1), ("interrupt", 130)])
def test_no_unfinished_folder_stays_behind_however_a_stage_ends(how, status, tmp_path):
    command = [sys.executable, "-c", WORKS, str(tmp_path), how]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"begun\n"
    if how == "wait":
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == status
    assert list(tmp_path.iterdir()) == []


# --- addresses with a password -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("http://ann:secret@127.0.0.1:1/v1#m", "http://127.0.0.1:1/v1#m"),
        ("https://ann:se@cret@host/v1", "https://host/v1"),
        ("http://host/v1#a@b", "http://host/v1#a@b"),
        ("a@b.gguf", "a@b.gguf"),
        ("gguf", "gguf"),
    ],
)
def test_a_model_is_shown_without_user_and_password(model, shown):
    assert http.without_login(model) == shown


def test_user_and_password_of_an_address_reach_the_server_as_such(server):
    server.replies = [(400, "no")]
    address = server.address.replace("http://", "http://ann:p%40ss@")
    backend = choice.choose(config.PROFILES["cpu"], f"{address}#m").open()
    answer = backend.complete([backends.Request([{"role": "user", "content": "x"}], {})])[0]
    login = f"Basic {base64.b64encode(b'ann:p@ss').decode()}"
    assert server.headers and all(headers["Authorization"] == login for headers in server.headers)
    assert backend.name == "m" and "p@ss" not in answer.error
