"""A picture -> its words with their corners, by the best OCR engine that is installed."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import io
import math
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any

from extraction.reading.limits import DocumentError
from extraction.reading.words import Quad, Word, placed

Line = tuple[str, Quad, float]  # text, corners, the engine's score from 0 to 1

THREADS = min(4, os.cpu_count() or 1)  # left alone, the engines take every core
LANGUAGES = ("eng", "deu", "fra", "spa", "ita", "nld")  # that tesseract uses where they are installed
UNREAD = "\ufffd"  # of a line that is print, but none that the engine knows
MOST_UNREAD = 0.4  # of the lines; photos have smudges that look like print
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Engine:
    """`problem` says why it is not the engine one would want. Lines below `print_score` are smudges, not
    print; print in a script that it knows has `sure_score` on the whole."""

    name: str
    recognize: Callable[[Any], list[Line]]
    print_score: float
    sure_score: float
    problem: str | None = None


@lru_cache(maxsize=1)
def engine(wanted: str = "auto") -> Engine:
    """RapidOCR, on OpenVINO where that is installed, else on onnxruntime; tesseract only where RapidOCR is missing.

    Loading it takes seconds. Raises DocumentError if the wanted one, or any at all, is not there.
    """
    if wanted == "tesseract":
        return _tesseract(None)
    runtime = wanted
    if wanted == "auto":
        runtime = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    try:
        return _rapidocr(runtime)
    except ImportError as error:
        if wanted != "auto":
            raise DocumentError(f"OCR by {wanted} is not installed: {error}") from error
        if not shutil.which("tesseract"):
            raise DocumentError("no OCR engine is installed: pip install rapidocr onnxruntime") from error
        return _tesseract(f"read by tesseract, which misreads more, because RapidOCR is not installed: {error}")


def read(image: Any, wanted: str = "auto") -> tuple[list[Word], str | None]:
    """The words of a picture with their corners in it, and what is to be said of print that could not be read.

    Print that lies on its side or its head is turned first.
    """
    used = engine(wanted)
    turn, lines = 0, _recognize(used, image)
    tall = [math.dist(q[0], q[3]) > 1.5 * math.dist(q[0], q[1]) for _, q, score in lines if score >= 0.5]
    if tall and sum(tall) > 0.5 * len(tall):
        turn, lines = 90, _recognize(used, image.rotate(90, expand=True))
    if lines and _mean_score(lines) < 0.85:
        other = _recognize(used, image.rotate(turn + 180, expand=True))
        if other and _mean_score(other) > _mean_score(lines):
            turn, lines = turn + 180, other
    words = [
        placed(word, [_turned_back(point, turn, image.size) for point in corners], score=score)
        for text, quad, score in lines
        if score >= used.print_score
        for word, corners in _split(text, quad)
    ]
    return words, _doubt(used, [score for _, _, score in lines])


def _doubt(used: Engine, scores: list[float]) -> str | None:
    """What is to be said of a picture whose lines have these scores."""
    read = [score for score in scores if score >= used.print_score]
    unread = len(scores) - len(read)
    if unread > 1 and unread > MOST_UNREAD * len(scores):
        return f"{unread} of {len(scores)} lines could not be read by OCR; it may not know their script"
    if len(read) > 2 and fmean(read) < used.sure_score:
        return f"OCR is unsure of what it read (score {fmean(read):.2f}); it may not know all of the letters"
    return None


def _recognize(used: Engine, image: Any) -> list[Line]:
    """The lines of a picture; of a long one piece by piece, since an engine shrinks all of it to what it can take."""
    width, height = image.size
    if height <= max(2.5 * width, 2000):
        return used.recognize(image)
    piece = 2 * width
    shared = piece // 5  # by two neighbors, so that each line is whole in one of them
    starts = range(0, height - shared, piece - shared)
    lines = []
    for start in starts:
        end = min(start + piece, height)
        from_y = start + shared / 2 if start else 0
        to_y = end - shared / 2 if end < height else height
        for text, quad, score in used.recognize(image.crop((0, start, width, end))):
            moved = [(x, y + start) for x, y in quad]
            if from_y <= fmean(y for _, y in moved) < to_y:
                lines.append((text, moved, score))
    return lines


def _mean_score(lines: list[Line]) -> float:
    """Of the lines that are read at all: smudges say nothing about which way is up."""
    return fmean([score for _, _, score in lines if score >= 0.5] or [0.0])


def _turned_back(point: tuple[float, float], turn: int, size: tuple[int, int]) -> tuple[float, float]:
    """Where a point of the picture turned counterclockwise by `turn` degrees is in the picture as it was."""
    x, y = point
    width, height = size
    return {0: (x, y), 90: (width - y, x), 180: (width - x, height - y), 270: (y, height - x)}[turn]


def _split(text: str, quad: Quad) -> list[tuple[str, Quad]]:
    """The words of a recognized line, each with its share of the line's box by characters."""
    top_left, top_right, bottom_right, bottom_left = quad

    def between(a: tuple[float, float], b: tuple[float, float], share: float) -> tuple[float, float]:
        return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share

    pieces = []
    for match in re.finditer(r"\S+", text):
        start, end = match.start() / len(text), match.end() / len(text)
        corners = [
            between(top_left, top_right, start),
            between(top_left, top_right, end),
            between(bottom_left, bottom_right, end),
            between(bottom_left, bottom_right, start),
        ]
        pieces.append((match.group(), corners))
    return pieces


def _rapidocr(runtime: str) -> Engine:
    importlib.import_module(runtime)
    import numpy
    from rapidocr import EngineType, RapidOCR

    params = {
        "Global.log_level": "critical",
        "Global.use_cls": False,  # the 180-degree classifier turns short lines of upright pages around
        "Global.return_word_box": False,
        "Global.text_score": 0.0,  # what it cannot read is counted here, not left out there
        "Det.limit_type": "max",
        "Det.limit_side_len": 1600,
        "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.openvino.inference_num_threads": THREADS,
    }
    params |= {f"{part}.engine_type": EngineType(runtime) for part in ("Det", "Cls", "Rec")}

    class Rapid(RapidOCR):
        def crop_text_regions(self, img: Any, det_boxes: Any) -> list:
            """The crops of lines, of which it turns the tall ones on their side; which these are is kept."""
            crops = super().crop_text_regions(img, det_boxes)
            tall = [math.dist(box[0], box[3]) > math.dist(box[0], box[1]) for box in det_boxes]
            self.turned = [n for n, crop in enumerate(crops) if tall[n] and crop.shape[1] > crop.shape[0]]
            return crops

        def recognize_txt(self, img: Any) -> Any:
            """The turned ones are read upright, too, and the better reading counts: a "1" in a column is taller than
            wide. A line of which nothing could be read stays as a sign without a score, rather than be left out."""
            found = super().recognize_txt([*img, *(numpy.rot90(img[n], -1) for n in self.turned)])
            both = zip(found.scores, found.txts, strict=True)
            read = [(score, text) if text.strip() else (0.0, UNREAD) for score, text in both]
            for n, upright in zip(self.turned, read[len(img) :], strict=True):
                read[n] = max(read[n], upright)
            found.scores, found.txts = zip(*read[: len(img)], strict=True)
            return found

    rapid = Rapid(params=params)

    def recognize(image: Any) -> list[Line]:
        try:
            with _LOCK:
                result = rapid(numpy.asarray(image)[:, :, ::-1])  # it reads BGR
        except Exception as error:
            if "bad_alloc" in str(error) or "Insufficient memory" in str(error):  # as onnxruntime and OpenCV say it
                raise MemoryError from error
            raise
        if result.boxes is None:
            return []
        quads = [[(float(x), float(y)) for x, y in box] for box in result.boxes]
        return list(zip(result.txts, quads, map(float, result.scores), strict=True))

    return Engine(
        f"rapidocr {importlib.metadata.version('rapidocr')} ({runtime})", recognize, print_score=0.8, sure_score=0.92
    )


def _tesseract(problem: str | None) -> Engine:
    program = shutil.which("tesseract")
    if not program:
        raise DocumentError("OCR by tesseract is not installed: apt-get install tesseract-ocr")
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # its threads spin when they have to wait

    def run(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run([program, *arguments], input=data, capture_output=True, env=environment)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise DocumentError(f"tesseract failed: {reason[-1]}")
        return done.stdout.decode("utf-8", errors="replace")

    there = run("--list-langs").split()
    languages = "+".join(name for name in LANGUAGES if name in there) or "eng"
    version = run("--version").split()[1]

    def recognize(image: Any) -> list[Line]:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        table = run("stdin", "stdout", "--psm", "4", "-l", languages, "tsv", data=buffer.getvalue())
        lines = []
        for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["level"] == "5" and row["text"].strip():
                left, top = float(row["left"]), float(row["top"])
                right, bottom = left + float(row["width"]), top + float(row["height"])
                corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
                lines.append((row["text"], corners, float(row["conf"]) / 100))
        return lines

    return Engine(f"tesseract {version} ({languages})", recognize, print_score=0.3, sure_score=0.0, problem=problem)
