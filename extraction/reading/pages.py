"""A file -> its pages one by one: words with their corners, by text layer or OCR; and pictures of them.

This is the work that can crash or never end, so `worker` does it in a process of its own. What passes
between the two is plain JSON, here called a message.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from extraction.formats import unpaged
from extraction.reading import ocr, pdf, pdf_fonts, pdf_page
from extraction.reading.limits import DocumentError, Limits
from extraction.reading.words import Box, Word, placed

LOADING_SECONDS = 180.0  # for opening a file or loading an OCR engine, on a machine with much else to do
OCR_SIDE = 2000  # pixels of the longer side of a PDF page that is read by OCR, at most
IMAGE_SIDE = 3000  # of an image,
NARROW_SIDE = 1000  # but a long receipt keeps so many pixels across
SMALL_SIDE = 1000  # an image with a longer side below it is doubled: small print is found more often
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "AVIF", "HEIF")  # Pillow would try some seventy


def read(data: bytes, kind: str, limits: Limits, first: int = 1) -> Iterator[dict]:
    """Messages: `{"pages": count, "problems": [], "invoice": None}`, then for each page from `first` on

    `{"page", "words": [[text, corners, score], ...], "readers", "ocr", "problems"}` or, of one that cannot be read,
    `{"page", "problems"}`. `{"wait": seconds}` in between says how long the next message may take.
    Of a file without pages there is one message: `{"pages": 1, "text", "problems", "invoice"}`.
    Corners are in points of a PDF page and in pixels of an image, turned as its orientation tag says. Of an image there
    is the "width", too.
    """
    if kind in unpaged.KINDS:
        yield {"wait": limits.page_seconds}
        yield unpaged.read(data, kind, limits)
    else:
        reader = _pdf_pages if kind == "pdf" else _image_pages
        yield from reader(data, limits, first)


def render(data: bytes, kind: str, page: int, side: int, limits: Limits) -> tuple[Any, tuple[float, float]]:
    """A page as an image with at most `side` pixels on its longer side, and its size in the units of its words."""
    if kind == "pdf":
        with pdf.opened(data) as (opened, _):
            if not 1 <= page <= len(opened):
                raise DocumentError(f"there is no page {page}")
            return pdf.picture(opened, page, side), opened[page - 1].get_size()
    with _image(data) as image:
        if not 1 <= page <= _frames(image):
            raise DocumentError(f"there is no page {page}")
        return _frame(image, page, limits, side)


def _ocr(image: Any, number: int, size: tuple[float, float], limits: Limits) -> Iterator[dict]:
    """Messages with the words of a picture of a page, their corners scaled to the page, and the engine's name."""
    yield {"wait": LOADING_SECONDS}
    used = ocr.engine(limits.ocr)
    yield {"wait": limits.page_seconds}
    across, down = size[0] / image.width, size[1] / image.height
    read, unread = ocr.read(image, limits.ocr)
    words = [placed(w.text, [(x * across, y * down) for x, y in w.corners], score=w.score) for w in read]
    problems = [problem for problem in (used.problem, unread and f"page {number}: {unread}") if problem]
    yield {"words": words, "ocr": used.name, "problems": problems}


def _sent(number: int, words: list[Word], readers: list[str], engine: str | None, problems: list[str]) -> dict:
    written = [[word.text, word.corners, word.score] for word in words]
    return {"page": number, "words": written, "readers": readers, "ocr": engine, "problems": problems}


def _pdf_pages(data: bytes, limits: Limits, first: int) -> Iterator[dict]:
    import pypdfium2

    yield {"wait": LOADING_SECONDS}
    with pdf.opened(data) as (opened, problems):
        invoice, said = pdf.invoice(opened)
        yield {"pages": len(opened), "problems": [*problems, *said], "invoice": invoice}
        left, known = limits.max_text_chars, {}
        for number in range(first, min(len(opened), limits.max_pages) + 1):
            yield {"wait": limits.page_seconds}
            try:
                plan = pdf_page.plan(opened, number, left)
                if plan.characters > left:
                    most = f"{limits.max_text_chars:,} characters of text"
                    plan.problems.append(f"page {number} goes beyond {most}; only those were read")
                yield from _planned(opened, number, plan, known, limits)
            except pypdfium2.PdfiumError:
                yield {"page": number, "problems": [f"page {number} is broken and was skipped"]}
                continue
            if plan.characters > left:
                return
            left -= plan.characters


def _planned(opened: Any, number: int, plan: pdf_page.Plan, known: dict, limits: Limits) -> Iterator[dict]:
    """The messages of a page that is read as planned. `known` keeps which fonts of the document can be trusted, and
    what OCR has read of its pictures, since a logo stands on every page."""
    problems = list(plan.problems)
    drawn = None
    if plan.doubtful or plan.parts:
        drawn = pdf.picture(opened, number, OCR_SIDE, dots=200)
    for font, words in plan.doubtful.items():
        if font not in known:
            known[font] = True
            if strip := _strip(drawn, plan.size, pdf_fonts.samples(words)):
                for part in _ocr(strip[0], number, strip[0].size, limits):
                    if "wait" in part:
                        yield part
                    else:
                        known[font] = _agrees(strip[1], part["words"])
        if known[font]:
            plan.words += words
        else:
            plan.behind += words
            plan.read_all()
            claimed = " ".join(word.text for word in words)[:40]
            problems.append(f'page {number}: the text layer is not what it shows ("{claimed}"); it was read by OCR')
    read, engine, painted = [], None, _painted(drawn, plan)
    for part in plan.parts:
        there: list[Word] = []
        for message in _ocr_part(painted, number, part, plan, known, limits):
            if "wait" in message:
                yield message
            else:
                there += message["words"]
                engine = message["ocr"]
                problems += message["problems"]
        read += there
        if not there:
            plan.words += [word for word in plan.behind if pdf_page.inside(word.box, part)]
            if used := [word for word in plan.invisible if pdf_page.inside(word.box, part)]:
                plan.words += used
                problems.append(pdf_page.unseen_note(number, used, "was used, since OCR read none"))
    if plan.parts and not read:
        problems = [problem.replace("it was read by OCR", "OCR read nothing there") for problem in problems]
    if plan.unseen:
        what = "was left out and the page read by OCR" if read else "was left out"
        if not read and not plan.words:
            plan.words, what = plan.unseen, "was used, since OCR read none"
        problems.append(pdf_page.unseen_note(number, plan.unseen, what))
    readers = ["pdf text"] * bool(plan.words) + ["ocr"] * bool(read)
    yield _sent(
        number, plan.words + read, readers or ["pdf text"], engine if read else None, list(dict.fromkeys(problems))
    )


def _strip(drawn: Any, size: tuple[float, float], words: list[Word]) -> tuple[Any, list[tuple[str, int, int]]] | None:
    """Words cut out of a page and set one below the other, and from where to where each stands."""
    from PIL import Image

    if not words:
        return None
    scale = drawn.width / size[0]
    cuts = []
    for word in words:
        slack = 0.15 * word.height
        cuts.append(drawn.crop([round(scale * side) for side in _grown(word.box, slack)]))
    strip = Image.new("RGB", (max(c.width for c in cuts) + 40, sum(c.height + 30 for c in cuts) + 30), "white")
    places, top = [], 30
    for word, cut in zip(words, cuts, strict=True):
        strip.paste(cut, (20, top))
        places.append((word.text, top, top + cut.height))
        top += cut.height + 30
    return strip, places


def _agrees(places: list[tuple[str, int, int]], read: list[Word]) -> bool:
    """Whether OCR reads on the whole what the text layer says, of numbers and of other words: one may be right alone.

    If it reads nothing, nothing is said against the layer.
    """
    scores: dict[bool, list[float]] = {}
    for claimed, top, bottom in places:
        there = [word for word in read if top <= (word.box[1] + word.box[3]) / 2 <= bottom]
        if there:
            there.sort(key=lambda word: word.box[0])
            number = any(map(str.isdigit, claimed))
            scores.setdefault(number, []).append(pdf_fonts.alike(claimed, "".join(word.text for word in there)))
    return all(fmean(values) > 0.6 for values in scores.values())


def _grown(box: Box, slack: float) -> Box:
    return box[0] - slack, box[1] - slack, box[2] + slack, box[3] + slack


def _painted(drawn: Any, plan: pdf_page.Plan) -> Any:
    """The picture of a page without the words that its text layer has."""
    if plan.parts:
        from PIL import ImageDraw

        scale, pen = drawn.width / plan.size[0], ImageDraw.Draw(drawn)
        for word in plan.words:
            pen.polygon([(x * scale, y * scale) for x, y in word.corners], fill="white")
    return drawn


def _ocr_part(image: Any, number: int, part: Box, plan: pdf_page.Plan, known: dict, limits: Limits) -> Iterator[dict]:
    """Messages with the words of a part of a page that its text layer has not, in points of the page."""
    import numpy
    from PIL import Image

    scale, left, top = image.width / plan.size[0], 0, 0
    if part != (0.0, 0.0, *plan.size):
        left, top, right, bottom = (round(scale * side) for side in _grown(part, 2))
        left, top = max(left, 0), max(top, 0)
        image = image.crop((left, top, min(right, image.width), min(bottom, image.height)))
    grey = numpy.asarray(image.convert("L"))
    if not grey.size or grey.max() - grey.min() < pdf_page.SEEN_CONTRAST:
        return
    size = image.width / scale, image.height / scale
    if max(image.size) < SMALL_SIDE:
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
    dots = hashlib.sha256(image.tobytes()).digest()
    for message in [known[dots]] if dots in known else _ocr(image, number, size, limits):
        if "words" in message:
            known[dots] = message
            x, y = left / scale, top / scale
            moved = [placed(w.text, [(a + x, b + y) for a, b in w.corners], score=w.score) for w in message["words"]]
            message = {**message, "words": moved}
        yield message


def _image_pages(data: bytes, limits: Limits, first: int) -> Iterator[dict]:
    yield {"wait": LOADING_SECONDS}
    with _image(data) as image:
        count = _frames(image)
        yield {"pages": count, "problems": []}
        for number in range(first, min(count, limits.max_pages) + 1):
            yield {"wait": limits.page_seconds}
            try:
                side = max(IMAGE_SIDE, round(NARROW_SIDE * max(image.size) / max(min(image.size), 1)))
                frame, size = _frame(image, number, limits, side)
            except DocumentError as error:
                if count == 1:
                    raise
                yield {"page": number, "problems": [f"page {number} was skipped: {error}"]}
                continue
            if max(frame.size) < SMALL_SIDE:
                frame = frame.resize((2 * frame.width, 2 * frame.height))
            for part in _ocr(frame, number, size, limits):
                if "words" in part:
                    sent = _sent(number, part["words"], ["ocr"], part["ocr"], part["problems"])
                    part = {**sent, "width": size[0]}
                yield part


@contextmanager
def _image(data: bytes) -> Iterator[Any]:
    from PIL import Image

    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have a limit of our own
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise DocumentError("the image has far more pixels than the limit") from error
    except Exception as error:  # the readers of single formats let errors of every kind through
        raise DocumentError("the image is broken or of an unknown kind") from error
    with image:
        yield image


def _frames(image: Any) -> int:
    """Pages of a TIFF; of what moves or comes with other pictures, the first one is the document."""
    try:
        return image.n_frames if image.format == "TIFF" else 1
    except Exception as error:
        raise DocumentError("the image is broken") from error


def _frame(image: Any, number: int, limits: Limits, side: int) -> tuple[Any, tuple[int, int]]:
    """A page of an image, upright, on white and at most `side` pixels long, and its full size."""
    from PIL import Image, ImageOps

    try:
        if number > 1:
            image.seek(number - 1)
        width, height = image.size
        if width * height > limits.max_image_pixels:
            raise DocumentError(f"it has {width} x {height} pixels; the limit is {limits.max_image_pixels:,}")
        sideways = image.getexif().get(0x0112) in (5, 6, 7, 8)  # the orientation tag
        image.draft("RGB", (side, side))  # a JPEG is decoded at a smaller size where that is enough
        frame = ImageOps.exif_transpose(image)
        if frame.mode.startswith("I;16"):
            frame = frame.point(lambda value: value / 256).convert("L")
        if frame.has_transparency_data:
            frame = frame.convert("RGBA")
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame)
        frame = frame.convert("RGB")
    except (DocumentError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise DocumentError("it has far more pixels than the limit") from error
    except Exception as error:
        raise DocumentError("the image is broken") from error
    frame.thumbnail((side, side))
    return frame, (height, width) if sideways else (width, height)
