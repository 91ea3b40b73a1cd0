import os
import signal
import subprocess
import sys
import threading
import time

import pikepdf
import pytest

from extraction.reading import documents, worker
from extraction.reading.documents import DocumentError, Limits
from tests.helpers.papers import FULL_PAGE, LETTER, SCAN, joined, line, names, pdf_of

# --- the process that reads ----------------------------------------------------------------------------------


def nested_form(made, deep):
    """A form that draws ten of its kind, and so on: nothing draws it to the end."""
    inner = pikepdf.Stream(made, b"0 0 m 9 9 l S " if not deep else b"/X Do " * 10)
    for key, value in names({"/Type": "/XObject", "/Subtype": "/Form"}).items():
        inner[key] = value
    inner.BBox = pikepdf.Array([0, 0, 100, 100])
    if deep:
        inner.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(X=nested_form(made, deep - 1)))
    return made.make_indirect(inner)


def test_a_process_begins_with_no_library_and_loads_what_its_documents_need():
    code = "import sys, extraction.reading.pages; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"extraction"} == {*done.stdout.split()} & {"extraction", "pydantic", "numpy", "PIL", "pypdfium2", "lxml"}


def test_a_page_that_takes_too_long_is_reported_and_the_others_are_read():
    def finish(made):
        made.pages[1].obj.Resources.XObject = pikepdf.Dictionary(X=nested_form(made, 12))

    quick = line("A page with a text layer")
    document = documents.read(pdf_of(quick, "/X Do ", quick, finish=finish), Limits(page_seconds=3))
    assert {word.page for word in document.words} == {1, 3}
    assert (document.pages, document.pages_skipped) == (3, 1)
    assert document.problems == ["page 2 took longer than 3 s and was skipped"]


def test_a_document_of_which_no_page_is_quick_enough_is_an_error():
    with pytest.raises(DocumentError, match="page 1 took longer than 0.001 s"):
        documents.read(pdf_of(FULL_PAGE, image=SCAN), Limits(page_seconds=0.001))


def test_a_page_that_makes_the_process_die_is_reported(monkeypatch):
    """The process is killed when it has delivered the first page, as the system does with one that takes all memory."""
    receive = worker.Worker.ask

    def ask(self, request, data):
        for message in receive(self, request, data):
            yield message
            if request["first"] == 1 and message.get("page") == 1:
                self.process.kill()
                self.process.wait()
                while not self.answers.empty():
                    self.answers.get()
                self.answers.put(None)

    monkeypatch.setattr(worker.Worker, "ask", ask)
    document = documents.read(LETTER)
    assert {word.page for word in document.words} == {1, 3}
    assert document.problems == ["page 2 made the reader crash and was skipped"]


def test_a_process_that_died_between_two_documents_is_started_again():
    documents.read(LETTER)
    (process,) = worker.running()
    os.kill(process, signal.SIGKILL)
    while worker.running():
        time.sleep(0.01)
    assert documents.read(LETTER).pages == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_the_process_may_take_only_so_much_memory():
    import resource

    documents.read(LETTER)
    assert resource.prlimit(worker.running()[0], resource.RLIMIT_DATA)[0] == Limits().max_memory_mb * 1_000_000


def test_documents_that_are_read_at_the_same_time_do_not_mix():
    made = {n: pdf_of(*[line(f"document {n}")] * 3) for n in range(8)}
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: documents.read(made[n])})) for n in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: set(joined(document).split()) for n, document in found.items()} == {
        n: {"document", str(n)} for n in made
    }
