"""A file -> its pages one by one: words with their corners, by text layer or OCR; and pictures of them.

This is the work that can crash or never end, so `worker` does it in a process of its own. What passes
between the two is plain JSON, here called a message.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extraction.reading import ocr, pdf, text_files
from extraction.reading.limits import DocumentError, Limits

LOADING_SECONDS = 180.0  # for opening a file or loading an OCR engine, on a machine with much else to do
OCR_SIDE = 2000  # pixels of the longer side of a PDF page that is read by OCR, at most
IMAGE_SIDE = 3000  # of an image,
NARROW_SIDE = 1000  # but a long receipt keeps so many pixels across
SMALL_SIDE = 1000  # an image with a longer side below it is doubled: small print is found more often
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "AVIF", "HEIF")  # Pillow would try some seventy


def read(data: bytes, kind: str, limits: Limits, first: int = 1) -> Iterator[dict]:
    """Messages: `{"pages": count, "problems": []}`, then for each page from `first` on

    `{"page", "words": [[text, corners], ...], "reader", "ocr", "problems"}` or, of one that cannot be read,
    `{"page", "problems"}`. `{"wait": seconds}` in between says how long the next message may take.
    Of a DOCX or text there is one message: `{"pages": 1, "text", "problems"}`.
    Corners are in points of a PDF page and in pixels of an image, turned as its orientation tag says.
    """
    if kind in ("docx", "text"):
        yield {"wait": limits.page_seconds}
        yield text_files.read(data, kind, limits)
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


def _ocr(image: Any, size: tuple[float, float], limits: Limits) -> Iterator[dict]:
    """The message parts of a page that is read by OCR, corners scaled from the image to the page."""
    yield {"wait": LOADING_SECONDS}
    used = ocr.engine(limits.ocr)
    yield {"wait": limits.page_seconds}
    across, down = size[0] / image.width, size[1] / image.height
    words = [[text, [(x * across, y * down) for x, y in quad]] for text, quad in ocr.read(image, limits.ocr)]
    yield {"words": words, "reader": "ocr", "ocr": used.name, "problems": [used.problem] if used.problem else []}


def _pdf_pages(data: bytes, limits: Limits, first: int) -> Iterator[dict]:
    import pypdfium2

    yield {"wait": LOADING_SECONDS}
    with pdf.opened(data) as (opened, problems):
        yield {"pages": len(opened), "problems": problems}
        left = limits.max_text_chars
        for number in range(first, min(len(opened), limits.max_pages) + 1):
            yield {"wait": limits.page_seconds}
            try:
                words, scanned, characters = pdf.page(opened, number, left)
                hidden = pdf.unseen(opened, number, words)
                if not scanned and 2 * len(hidden) <= len(words):
                    seen = [word for i, word in enumerate(words) if i not in set(hidden)]
                    told = [_unseen(number, words, hidden, "was left out")] if hidden else []
                    if characters > left:
                        most = f"{limits.max_text_chars:,} characters of text"
                        told.append(f"page {number} goes beyond {most}; only those were read")
                    yield {"page": number, "words": seen, "reader": "pdf text", "ocr": None, "problems": told}
                    if characters > left:
                        return
                    left -= characters
                    continue
                size = opened[number - 1].get_size()
                for part in _ocr(pdf.picture(opened, number, OCR_SIDE, dots=200), size, limits):
                    if "words" in part and not part["words"]:
                        told = [_unseen(number, words, hidden, "was used, since OCR read none")] if hidden else []
                        part |= {"words": words, "reader": "pdf text", "ocr": None, "problems": told}
                    elif "words" in part and not scanned:
                        told = _unseen(number, words, hidden, "was left out and the page read by OCR")
                        part |= {"problems": [*part["problems"], told]}
                    yield part if "wait" in part else {"page": number, **part}
            except pypdfium2.PdfiumError:
                yield {"page": number, "problems": [f"page {number} is broken and was skipped"]}


def _unseen(number: int, words: list, hidden: list[int], what: str) -> str:
    text = " ".join(words[i][0] for i in hidden)
    return f'page {number}: text that cannot be seen on it {what}: "{text[:60]}{"..." if text[60:] else ""}"'


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
            for part in _ocr(frame, size, limits):
                yield part if "wait" in part else {"page": number, **part}


@contextmanager
def _image(data: bytes) -> Iterator[Any]:
    from PIL import Image

    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        try:
            import pillow_heif
        except ImportError as error:
            raise DocumentError("HEIC photos need one more package: pip install pillow-heif") from error
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
