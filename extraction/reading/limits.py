"""What is read of a document at most, and the error of one that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass


class DocumentError(ValueError):
    """A document that cannot be read; the message says why in one sentence."""


@dataclass(frozen=True)
class Limits:
    """What is read at most, and by which OCR engine. Every limit that bites is reported, never silent."""

    max_file_mb: float = 20.0
    max_pages: int = 20
    max_text_chars: int = 200_000
    max_image_pixels: int = 60_000_000
    page_seconds: float = 60.0  # a page that takes longer is skipped
    max_memory_mb: int = 4000  # of the process that reads, on Linux
    ocr: str = "auto"  # one of ocr.ENGINES
