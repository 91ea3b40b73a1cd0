"""How well and how fast documents are read: words against a ground truth, and rows under skew.

    python -m benchmarks.reader data/samples/documents
    python -m benchmarks.reader FOLDER --ocr tesseract --limit 20 --show
    python -m benchmarks.reader --skew data/samples/cord.jsonl

A FOLDER holds documents with their truth: `name.txt` beside `name.jpg`, `name.pdf` or the like; rows of CORD
(`*.jsonl`) with their images in FOLDER or FOLDER/images. A PDF without a text file is its own truth: its text layer is
compared with what OCR reads from pictures of its first pages.

Words are what stands between blanks, compared without regard to case and order, as multisets. Truths differ in what
they set apart ("Date :" or "Date:"), and some have no blanks within a line, hence two more columns: the F1 of runs of
letters and digits, and "found", the share of true words of three and more characters that occur in the text when all
blanks are left out. Seconds are per page, after a first document that loads the engine and is not counted: the median
and the 95th percentile by the clock, and the mean of the processor's (Linux only), which other jobs do not change much.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math
import os
import platform
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks import shared
from extraction import files
from extraction.reading import documents, layout, worker
from extraction.reading.limits import OCR_ENGINES, DocumentError, Limits
from extraction.reading.words import placed

IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic"}
ANGLES = (0, 1, 2, 3, 5, 8)  # degrees
PAGES = 2  # of a PDF that is its own truth


@dataclasses.dataclass(frozen=True)
class Case:
    """A document and the words it prints. `kind` is the row of the table it belongs to."""

    name: str
    kind: str
    source: Path | bytes
    truth: str


def cases(folder: Path) -> Iterator[Case]:
    """The documents of a folder that have a truth, in the order of their names."""
    for path in sorted(folder.iterdir()):
        text = path.with_suffix(".txt")
        kind = path.suffix.lower()
        if kind in IMAGES | {".pdf", ".docx"} and text.exists():
            truth = text.read_text(encoding="utf-8")
            yield Case(path.name, "images" if kind in IMAGES else kind[1:], path, truth)
        elif kind == ".pdf":
            yield from pictures(path)
        elif kind == ".jsonl":
            yield from cord_cases(path)


def pictures(path: Path) -> Iterator[Case]:
    """The first pages of a PDF at 150 dots an inch, if it has a text layer, with that as their truth."""
    for page in range(1, PAGES + 1):
        try:
            document = documents.read(path, Limits(max_pages=PAGES))
            if document.reader != "pdf text" or page > document.pages:
                return
            size = documents.render(path, page, 100)
            drawn = documents.render(path, page, round(max(size.width, size.height) * 150 / 72))
        except DocumentError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return
        buffer = io.BytesIO()
        drawn.image.save(buffer, "PNG")
        truth = " ".join(word.text for word in document.words if word.page == page)
        yield Case(f"{path.name} page {page}", "pdf pages as pictures", buffer.getvalue(), truth)


def cord_cases(path: Path) -> Iterator[Case]:
    """Rows of CORD whose image is there."""
    for row in shared.rows(path):
        stem = Path(row.get("file_name", "")).stem
        for image in itertools.chain.from_iterable(f.glob(f"{stem}.*") for f in (path.parent, path.parent / "images")):
            if stem and image.suffix.lower() in IMAGES:
                words = [w["text"] for entry in json.loads(row["ground_truth"])["valid_line"] for w in entry["words"]]
                yield Case(image.name, "cord", image, " ".join(words))


def processor_seconds() -> float | None:
    """What the reading process and those it started have used so far, where the system tells."""
    if not worker.running() or not Path("/proc/self/stat").exists():
        return None
    fields = Path(f"/proc/{worker.running()[0]}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def score(text: str, truth: str) -> dict[str, int]:
    read, true = Counter(text.casefold().split()), Counter(truth.casefold().split())
    read_runs, true_runs = (Counter(re.findall(r"[^\W_]+", t.casefold())) for t in (text, truth))
    run = "".join(text.casefold().split())
    long = [word for word in true.elements() if len(word) >= 3]
    return {
        "common": (read & true).total(),
        "read": read.total(),
        "true": true.total(),
        "common runs": (read_runs & true_runs).total(),
        "runs": read_runs.total() + true_runs.total(),
        "long": len(long),
        "long, found": sum(word in run for word in long),
    }


def measure(found: list[Case], limits: Limits, show: bool) -> list[str]:
    """The lines of the table, one for each kind of document."""
    documents.read(found[0].source, limits)
    counts: dict[str, Counter] = {}
    seconds: dict[str, list[float]] = {}
    processor: dict[str, float] = {}
    for case in found:
        used, started = processor_seconds(), time.perf_counter()
        try:
            document = documents.read(case.source, limits)
            text, pages, problems = document.text, document.pages - document.pages_skipped, document.problems
            reader = document.ocr or document.reader
        except DocumentError as error:
            text, pages, problems, reader = "", 1, [str(error)], "none"
        spent = (time.perf_counter() - started) / pages
        scored = score(text, case.truth)
        if used is not None and (after := processor_seconds()) is not None:
            processor[case.kind] = processor.get(case.kind, 0) + max(after - used, 0)
        counts.setdefault(case.kind, Counter()).update({**scored, "documents": 1, "pages": pages, reader: 1})
        seconds.setdefault(case.kind, []).append(spent)
        if show:
            f1 = 2 * scored["common"] / max(scored["read"] + scored["true"], 1)
            print(f"{f1:.3f}  {spent:5.1f} s  {case.name}  {'; '.join(problems)}", file=sys.stderr)
    lines = []
    for kind, c in counts.items():
        readers = ", ".join(key for key in c if key not in {*score("", ""), "documents", "pages"})
        recall, precision = c["common"] / max(c["true"], 1), c["common"] / max(c["read"], 1)
        f1 = 2 * c["common"] / max(c["read"] + c["true"], 1)
        blanks = c["long, found"] / max(c["long"], 1)
        times = sorted(seconds[kind])
        p95 = times[min(len(times) - 1, math.ceil(0.95 * len(times)) - 1)]
        cells = [kind, readers, c["documents"], c["pages"], f"{recall:.3f}", f"{precision:.3f}", f"{f1:.3f}"]
        cells += [f"{2 * c['common runs'] / max(c['runs'], 1):.3f}"]
        spent = f"{processor[kind] / c['pages']:.2f}" if kind in processor else ""
        cells += [f"{blanks:.3f}", spent, f"{statistics.median(times):.2f}", f"{p95:.2f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def pairs(rows: list[list[int]]) -> set[tuple[int, int]]:
    """All pairs of words in one row."""
    return {pair for row in rows for pair in itertools.combinations(sorted(row), 2)}


def skew(path: Path) -> str:
    """For each angle: of the pairs of words that CORD has in one row, how many the layout keeps, and how many of its
    own pairs are right; with the de-skewing, and without it."""
    counts: dict[tuple[int, str], Counter] = {}
    receipts = shared.truths(path)
    for truth in receipts:
        words = [word for entry in truth["valid_line"] for word in entry["words"]]
        quads = [[(w["quad"][f"x{i}"], w["quad"][f"y{i}"]) for i in (1, 2, 3, 4)] for w in words]
        by_row: dict[int, list[int]] = {}
        for i, word in enumerate(words):
            by_row.setdefault(word["row_id"], []).append(i)
        true = pairs(list(by_row.values()))
        for angle in ANGLES:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            items = [placed(w["text"], turned(q, cos, sin)) for w, q in zip(words, quads, strict=True)]
            for name, boxes in (("de-skewed", layout.upright(items)), ("as they are", items)):
                made = pairs(layout.rows(boxes))
                found = {"kept": len(made & true), "true": len(true), "made": len(made)}
                counts.setdefault((angle, name), Counter()).update(found)
    rows = [
        [name, share, *(f"{counts[a, name]['kept'] / counts[a, name][whole]:.3f}" for a in ANGLES)]
        for name in ("de-skewed", "as they are")
        for share, whole in (("pairs kept", "true"), ("pairs right", "made"))
    ]
    return f"{len(receipts)} receipts\n\n" + files.markdown_table(["boxes", "", *(f"{a}°" for a in ANGLES)], rows)


def turned(quad: list[tuple[float, float]], cos: float, sin: float) -> list[tuple[float, float]]:
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in quad]


def main() -> int:
    p = shared.parser(__doc__)
    p.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    p.add_argument("--ocr", choices=OCR_ENGINES, default="auto")
    p.add_argument("--limit", type=int, help="documents of each folder at most")
    p.add_argument("--show", action="store_true", help="a line for each document, on stderr")
    p.add_argument("--skew", type=Path, metavar="CORD.jsonl", help="measure rows under skew on these rows of CORD")
    args = p.parse_args()
    if not args.folders and not args.skew:
        p.error("name a FOLDER, or --skew with a file")
    for path in [*args.folders, *([args.skew] if args.skew else [])]:
        if not path.exists():
            p.error(f"{path} is not there")
    if args.folders:
        columns = "documents | read by | n | pages | recall | precision | word F1 | F1 of runs | found"
        print(f"Python {platform.python_version()}, {platform.machine()}\n\n| {columns} | processor s | s/page | p95 |")
        print("|---" * 12 + "|", flush=True)
    for folder in args.folders:
        found = list(itertools.islice(cases(folder), args.limit))
        if not found:
            p.error(f"{folder} has no document with a ground truth")
        for line in measure(found, Limits(ocr=args.ocr, max_pages=200, page_seconds=900), args.show):
            print(line.replace("| ", f"| {folder.name}, ", 1), flush=True)
    if args.skew:
        print(skew(args.skew), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
