"""A PDF as PDFium opens it, repaired where it is broken, and pictures of its pages."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extraction.formats import einvoice
from extraction.reading.limits import DocumentError

# PDFium is not thread-safe, not even across documents: one lock for as long as one is open.
_PDFIUM = threading.Lock()
MOST_ATTACHMENTS = 50  # that are looked at
REPAIRED = "the PDF was damaged and has been repaired; parts of it may be missing"


@contextmanager
def opened(data: bytes) -> Iterator[tuple[Any, list[str]]]:
    """The document and what is to be said about it. A broken one is repaired if that can be done."""
    import pypdfium2

    problems = []
    with _PDFIUM:
        try:
            pdf = pypdfium2.PdfDocument(data[data.find(b"%PDF-") :])
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise DocumentError("the PDF is protected by a password") from error
            try:
                pdf = pypdfium2.PdfDocument(_repaired(data))
            except pypdfium2.PdfiumError:
                raise DocumentError("the PDF is broken") from error
            problems.append(REPAIRED)
        try:
            if not len(pdf):
                raise DocumentError("the PDF is broken" if problems else "the PDF has no pages")
            pdf.init_forms()  # so that what was filled into a form is drawn
            yield pdf, problems
        finally:
            pdf.close()


def invoice(pdf: Any) -> tuple[dict | None, list[str]]:
    """The electronic invoice that is attached to a PDF (Factur-X, ZUGFeRD, XRechnung), and what is to be said of it."""
    problems = []
    for index in range(min(pdf.count_attachments(), MOST_ATTACHMENTS)):
        attached = pdf.get_attachment(index)
        name = attached.get_name()
        if not name.lower().endswith(".xml"):
            continue
        try:
            if found := einvoice.read(bytes(attached.get_data())):
                return found, problems
        except DocumentError as error:
            problems.append(f"the attached {name[:60]} was not read: {error}")
    return None, problems


def _repaired(data: bytes) -> bytes:
    try:
        import pikepdf
    except ImportError as error:
        raise DocumentError("the PDF is broken; pip install pikepdf might repair it") from error
    buffer = io.BytesIO()
    try:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            pdf.save(buffer)
    except pikepdf.PasswordError as error:
        raise DocumentError("the PDF is protected by a password") from error
    except (pikepdf.PdfError, ValueError) as error:
        raise DocumentError("the PDF is broken") from error
    return buffer.getvalue()


def picture(pdf: Any, number: int, side: float, dots: float = math.inf, grey: bool = False) -> Any:
    """The page as an image with `side` pixels on its longer side, or fewer if that is more than `dots` an inch."""
    opened_page = pdf[number - 1]
    # The longer side bounds the scale, so that a page of any size makes a picture of bounded size.
    scale = min(dots / 72, side / max(*opened_page.get_size(), 1))
    return opened_page.render(scale=scale, grayscale=grey).to_pil().convert("L" if grey else "RGB")
