"""What is read of a document at most, and the error of one that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass


class DocumentError(ValueError):
    """A document that cannot be read; the message says why in one sentence."""


class TooLarge(DocumentError):
    """A file that is not even opened."""


OCR_ENGINES = ("auto", "openvino", "onnxruntime", "tesseract")


@dataclass(frozen=True)
class Limits:
    """What is read at most, and by which OCR engine. Every limit that bites is reported, never silent."""

    max_file_mb: float = 20.0
    max_pages: int = 20  # the rest is reported as skipped
    max_text_chars: int = 200_000
    max_image_pixels: int = 60_000_000
    page_seconds: float = 60.0  # a page that takes longer to read is reported as skipped
    max_memory_mb: int = 4000  # of the process that reads documents; kept on Linux
    ocr: str = "auto"  # auto: openvino if it is installed, else onnxruntime, else tesseract, which is reported
