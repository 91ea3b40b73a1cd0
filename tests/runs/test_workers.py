"""Many documents: which files of a folder are read, how large they may be, and a reading process for each thread."""

import threading

import pytest

from extraction.formats import kinds
from extraction.reading import worker
from extraction.reading.limits import DocumentError, Limits
from extraction.runs import workers
from tests.helpers.papers import LETTER


def test_files_in_a_folder_are_found_by_the_endings_of_all_formats_that_are_read(tmp_path):
    wanted = "jfif jpe JPG avif heic docm eml msg html htm zip pdf docx txt md".split()
    for name in [*wanted, "exe", "xyz"]:
        (tmp_path / f"a.{name}").write_bytes(b"x")
    found, skipped = workers.find_inputs([str(tmp_path)])
    assert [path.rpartition(".")[2] for path in found] == sorted(wanted) and skipped == 2
    assert {f".{name.lower()}" for name in wanted} <= kinds.SUFFIXES


@pytest.mark.parametrize(("size", "said"), [(3_000_000, "3.0"), (1_000_001, "1.1"), (1_040_000, "1.1")])
def test_a_file_that_is_too_large_says_its_own_size(tmp_path, size, said):
    (tmp_path / "a.txt").write_bytes(bytes(size))
    with pytest.raises(DocumentError, match=f"^the file has {said} MB; the limit is 1 MB$"):
        workers.content(str(tmp_path / "a.txt"), Limits(max_file_mb=1))


def test_each_thread_reads_in_a_process_of_its_own():
    both = threading.Barrier(2, timeout=60)

    def read(name):
        messages = worker.read(LETTER, "pdf", Limits())
        pages = [next(messages)]
        both.wait()  # the other thread, too, is in the middle of a document
        yield {"file": name, "pages": len([*pages, *messages])}

    try:
        rows = list(workers.Workers(2).rows(["a", "b"], read))
        assert sorted(row["file"] for row in rows) == ["a", "b"] and {row["pages"] for row in rows} == {4}
        assert len(worker.running()) == 2
    finally:
        worker.allow(1)
    assert len(worker.running()) == 1
