"""The page in a process of its own, with a stand-in for the model: this file, run as a script, is that process."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import app
import config
import inference
from extraction import handoff, tasks

ROOT = Path(app.__file__).parent
HOSTILE = "<img src=http://198.51.100.7/seen.png onerror=document.title='ran'> Cafe"
RECORD = {
    "merchant": {"name": HOSTILE},
    "date": "2024-05-01",
    "line_items": [
        {"description": "Tea", "quantity": "2", "amount": "4.50"},
        {"description": "Cake", "quantity": "1", "amount": "4.75"},
    ],
    "total": "9.25",
}
RECEIPT = (
    "High Street Cafe\n2024-05-01\nTea   2   4.50\nCake  1   4.75\nTotal     9.25\nCash     10.00\nChange    0.75\n"
)
SENTENCE = "broken.pdf: not a PDF, image, DOCX or text file"


class Reader:
    """A backend that knows one answer to each task."""

    name = "stand-in"
    prompt_limit = 1000

    def count(self, text):
        return len(text) // 3

    def complete(self, requests, done=lambda: None):
        return [self.answer(request.schema["properties"]) for request in requests]

    def answer(self, properties):
        if "answer" in properties:
            return inference.Completion(json.dumps({"answer": "9.25"}))
        if "clauses" in properties:
            return inference.Completion(json.dumps({"clauses": {"Governing Law": ["the law of Ohio"]}}))
        return inference.Completion(json.dumps(RECORD))


# --- a page to test ------------------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def start(folder, *arguments, **environment):
    """The page's process once it says that it is ready; its messages go to `folder`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DOC_INTEL_", "GRADIO_"))}
    env |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environment}
    with open(folder / "stdout", "w") as out, open(folder / "stderr", "w") as err:
        process = subprocess.Popen([sys.executable, __file__, *arguments], env=env, cwd=ROOT, stdout=out, stderr=err)
    deadline = time.monotonic() + 120
    while "page: http" not in (folder / "stdout").read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"the page did not start: {(folder / 'stderr').read_text()}")
        time.sleep(0.1)
    return process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a running page, and the file that its standard error goes to."""
    folder, port = tmp_path_factory.mktemp("page"), free_port()
    # An address where nobody listens: who sends anything through the proxy fails.
    dead = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    process = start(folder, "--port", str(port), **dead)
    yield f"http://127.0.0.1:{port}", folder / "stderr"
    process.terminate()
    process.wait(timeout=30)
    assert "Traceback" not in (folder / "stderr").read_text()


@pytest.fixture
def extract(server, tmp_path, monkeypatch):
    """A function from a file and questions to what the page shows."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    from gradio_client import Client, handle_file

    client = Client(server[0], verbose=False, download_files=str(tmp_path / "downloads"))
    names = ("status", "summary", "fields", "json", "answers", "problems", "download")

    def call(path, kind="auto", questions=""):
        found = client.predict(handle_file(path), kind, questions, api_name="/extract")
        shown = dict(zip(names, found, strict=True))
        return shown | {"json": shown["json"] and json.loads(shown["json"])}

    return call


# --- what is shown -------------------------------------------------------------------------------------------


def test_fields_are_rows_of_path_and_value_with_positions_and_without_what_is_missing():
    record = {"total": "9.25", "tax": None, "line_items": [{"amount": "1"}, {"amount": "2", "sub_items": []}]}
    assert app.fields(record) == [["total", "9.25"], ["line_items[0].amount", "1"], ["line_items[1].amount", "2"]]
    assert app.fields(None) == []


def test_the_status_names_document_type_pages_model_and_seconds():
    result = {"file": "a.pdf", "document_type": "contract", "pages": 35, "pages_skipped": 15, "model": "m.gguf"}
    line = app.status_line(result | {"timings": {"read": 1.24, "model": 20.0}})
    assert line == "a.pdf  ·  contract  ·  20 of 35 pages  ·  m.gguf  ·  reading 1.2 s, model 20.0 s"


def test_the_limits_under_the_upload_are_those_of_the_settings():
    line = app.limits_line(config.InferenceConfig(max_file_mb=7.5, max_pages=1))
    assert "at most 7.5 MB" in line and "the first page " in line


def test_every_document_type_can_be_chosen():
    assert [name for _, name in app.DOCUMENT_TYPES] == ["auto", *tasks.DOCUMENT_TYPES]


def test_examples_are_shown_for_the_sample_documents_that_exist(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear reader")
    assert [Path(row[0]).name for row in app.example_rows(tmp_path)] == ["letter.txt"]
    assert app.example_rows(config.PROFILES["cpu"].samples_dir / "documents")


# --- the page, asked by a program ----------------------------------------------------------------------------


def test_an_uploaded_receipt_comes_back_as_fields_json_and_answers(extract, tmp_path):
    document = tmp_path / "réçu (May).txt"
    document.write_text(RECEIPT)
    shown = extract(document, questions="How much was paid?\n\n  When?  \n")
    assert shown["status"].startswith("réçu (May).txt  ·  receipt  ·  1 page  ·  stand-in")
    assert ["line_items[1].amount", "4.75"] in shown["fields"]["data"]
    assert ["merchant.name", HOSTILE] in shown["fields"]["data"]
    assert shown["json"]["file"] == "réçu (May).txt"
    assert shown["json"]["record"]["total"] == "9.25"
    assert shown["answers"]["data"] == [["How much was paid?", "9.25"], ["When?", "9.25"]]
    assert shown["summary"].startswith("Receipt from")
    assert json.loads(Path(shown["download"]["value"]).read_text()) == shown["json"]
    assert Path(shown["download"]["value"]).name == "réçu (May).json"


def test_the_chosen_document_type_wins_over_the_detected_one(extract, tmp_path):
    document = tmp_path / "note.txt"
    document.write_text(RECEIPT)
    assert extract(document, kind="contract")["json"]["document_type"] == "contract"


def test_an_unreadable_document_is_one_sentence_and_clears_what_was_shown(server, extract, tmp_path):
    document = tmp_path / "broken.pdf"
    document.write_bytes(b"\x00\x01\x02")
    before = server[1].read_text()
    shown = extract(document)
    assert shown["status"] == SENTENCE
    assert server[1].read_text().removeprefix(before) == SENTENCE + "\n"
    assert shown["fields"]["data"] == [] and shown["json"] is None and shown["summary"] == ""
    assert shown["download"]["value"] is None and not shown["download"]["interactive"]


def test_files_outside_the_page_are_not_served(server):
    import requests

    with requests.Session() as session:
        session.trust_env = False
        for path in (ROOT / "config.py", Path("/etc/passwd")):
            assert session.get(f"{server[0]}/gradio_api/file={path}").status_code == 403
        assert session.get(f"{server[0]}/monitoring").status_code != 200


# --- the page in a browser -----------------------------------------------------------------------------------


@pytest.fixture
def view(server):
    """The page in Chromium. After the test: no request has left this machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install pytest-playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    requested = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        page.set_default_timeout(60_000)
        sync_api.expect.set_options(timeout=60_000)
        page.on("request", lambda request: requested.append(request.url))
        page.goto(server[0] + "/?__theme=light")
        page.get_by_role("button", name="Extract", exact=True).wait_for()
        yield page
        browser.close()
    outside = [url for url in requested if not url.startswith((server[0] + "/", "data:", "blob:"))]
    assert len(requested) > 10 and outside == []


def upload(page, path):
    from playwright.sync_api import expect

    page.locator("#document input[type=file]").set_input_files(path)
    expect(page.locator("#document")).to_contain_text(path.stem)  # until then a click would come too early


@pytest.mark.browser
def test_a_person_uploads_a_receipt_and_sees_its_fields_then_a_broken_one_and_a_warning(view, tmp_path):
    from playwright.sync_api import expect

    document, broken = tmp_path / "receipt.txt", tmp_path / "broken.pdf"
    document.write_text(RECEIPT)
    broken.write_bytes(b"\x00\x01\x02")
    upload(view, document)
    view.locator("#questions textarea").fill("How much was paid?")
    view.get_by_role("button", name="Extract", exact=True).click()
    expect(view.locator("#status textarea")).to_have_value(re.compile("receipt.txt.*stand-in"))
    expect(view.get_by_role("tab", name="Fields (9)")).to_be_visible()
    expect(view.locator("#fields")).to_contain_text("line_items[1].amount")
    expect(view.locator("#fields")).to_contain_text(HOSTILE)
    with view.expect_download() as download:
        view.locator("#download").click()
    assert download.value.suggested_filename == "receipt.json"
    assert json.loads(Path(download.value.path()).read_text())["record"]["total"] == "9.25"
    view.get_by_role("tab", name="JSON").click()
    expect(view.locator("#json")).to_contain_text('"4.75"')
    view.get_by_role("tab", name="Answers (1)").click()
    expect(view.locator("#answers")).to_contain_text("9.25")
    view.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 20_000

    view.locator("#document").get_by_label("Clear").click()
    upload(view, broken)
    view.get_by_role("button", name="Extract", exact=True).click()
    expect(view.get_by_test_id("toast-body")).to_contain_text(SENTENCE)
    expect(view.get_by_role("tab", name="Fields", exact=True)).to_be_visible()
    expect(view.locator("#download")).to_be_disabled()
    assert view.title() == "Doc intelligence"  # the hostile name would have changed it


@pytest.mark.browser
def test_a_click_on_an_example_reads_it(view):
    from playwright.sync_api import expect

    view.locator("#examples").get_by_text("contract_1.pdf").click()
    expect(view.locator("#status textarea")).to_have_value(re.compile("contract_1.pdf.*contract.*stand-in"))
    expect(view.locator("#fields")).to_contain_text("clauses.Governing Law[0]")


# --- starting and stopping -----------------------------------------------------------------------------------


def refused(*arguments, **environment):
    """Exit status and message of a start that fails."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DOC_INTEL_")} | environment
    command = [sys.executable, "app.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_a_model_no_page_starts_and_the_command_that_makes_one_is_named(tmp_path):
    status, message = refused("--port", str(free_port()), "--set", f"output.dir={tmp_path}")
    assert status == 3
    assert re.fullmatch(r"error: .* is not there yet\. Run: python export_gguf\.py\n", message)


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        status, message = refused("--port", str(port))
    assert status == 2
    assert message.count("\n") == 1 and f"127.0.0.1:{port}" in message and "--port" in message


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_a_port_that_cannot_be_is_refused(port):
    assert refused(f"--port={port}") == (2, f"error: --port must be between 1 and 65535, got {port}\n")


@pytest.mark.parametrize("environment", [{}, {"DOC_INTEL_USER": "ann"}, {"DOC_INTEL_PASSWORD": "secret"}])
def test_an_address_that_others_reach_is_refused_without_user_and_password(environment):
    for choice in (("--host", "0.0.0.0"), ("--set", "app.host=0.0.0.0")):
        status, message = refused(*choice, **environment)
        assert status == 2
        assert (
            message == "error: --host 0.0.0.0 needs DOC_INTEL_USER and DOC_INTEL_PASSWORD, both, in the environment\n"
        )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password_and_takes_one(host, monkeypatch):
    monkeypatch.delenv("DOC_INTEL_USER", raising=False)
    monkeypatch.delenv("DOC_INTEL_PASSWORD", raising=False)
    assert app.login(host) is None
    monkeypatch.setenv("DOC_INTEL_USER", "ann")
    with pytest.raises(handoff.StageError):  # half a login is a mistake
        app.login(host)
    monkeypatch.setenv("DOC_INTEL_PASSWORD", "secret")
    assert app.login(host) == ("ann", "secret")


def test_with_a_password_the_page_asks_for_it_and_ctrl_c_leaves_nothing_behind(tmp_path):
    import requests

    port = free_port()
    process = start(tmp_path, "--port", str(port), DOC_INTEL_USER="ann", DOC_INTEL_PASSWORD="secret")
    try:
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"http://127.0.0.1:{port}/gradio_api/info").status_code == 401
            login = {"username": "ann", "password": "secret"}
            assert session.post(f"http://127.0.0.1:{port}/login", data=login).status_code == 200
            assert session.get(f"http://127.0.0.1:{port}/gradio_api/info").status_code == 200
        assert [path.name for path in tmp_path.glob("doc-intel-*")] != []
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
    assert (tmp_path / "stderr").read_text() == "stopped\n"
    assert list(tmp_path.glob("doc-intel-*")) == []


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore Ctrl-C
    inference.open_backend = lambda cfg, model: Reader()
    handoff.run_stage(app.main)
