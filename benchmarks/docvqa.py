"""Questions of DocVQA as rows for test_moe.py: pages unlike anything the small model was trained on.

    python -m benchmarks.docvqa val_v1.0.json -o output/docvqa.jsonl       # the page images in documents/ beside it
    python -m benchmarks.docvqa sample.jsonl -o output/docvqa.jsonl        # lines with question, answers, ocr_text
    python test_moe.py --model gguf --rows output/docvqa.jsonl

The first is the file that the challenge publishes (Mathew, Karatzas, Jawahar 2021): its pages are read by our own
reader. The second is a sample with the text of another OCR. The rows say that they are out of domain, and whose
OCR it is, so that their scores stand in columns of their own. DocVQA is for research; nothing of it is kept here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import config
from extraction import files, stage
from extraction.reading import documents, layout
from extraction.reading.limits import DocumentError
from extraction.tasks import prompts, schemas


def questions(path: Path) -> Iterator[tuple[str, str, str, list[str], str]]:
    """Name of a page, its text, question, accepted answers, whose OCR it is. Raises StageError for other files."""
    try:
        if path.suffix == ".jsonl":
            for entry in files.read_jsonl(path):
                page = hashlib.sha256(entry["ocr_text"].encode()).hexdigest()[:12]
                yield page, layout.prose(entry["ocr_text"]), entry["question"], entry["answers"], "dataset's"
            return
        texts: dict[str, str] = {}
        for entry in files.read_json(path)["data"]:
            page = Path(entry["image"]).stem
            if page not in texts:
                texts[page] = documents.read(image_of(path.parent / entry["image"])).text
            yield page, texts[page], entry["question"], entry["answers"], "own"
    except (KeyError, TypeError, AttributeError) as error:
        raise files.StageError(f"{path} is not a file of DocVQA's questions: {error!r}") from error


def image_of(named: Path) -> Path:
    """The image, or the one of that name in another format."""
    found = [named] if named.is_file() else sorted(named.parent.glob(f"{named.stem}.*"))
    if not found:
        raise files.StageError(f"there is no image {named}")
    return found[0]


def row(
    number: int, page: str, text: str, question: str, answers: list[str], ocr: str, data: config.DataConfig
) -> dict:
    """A row as stage 2 makes it: of a long page the window that fits the question best."""
    shown = layout.best_window(text, question, data.window_chars, data.window_overlap)
    return {
        "id": f"docvqa/{page}#{number}",
        "document": f"docvqa/{page}",
        "task": schemas.QUESTION.name,
        "source": "docvqa",
        "domain": "DocVQA",
        "ocr": ocr,
        "prompt": prompts.messages(schemas.QUESTION, shown, question),
        "target": {"answers": answers},
    }


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("questions", type=Path, metavar="FILE", help="DocVQA's .json, or lines with ocr_text")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where the rows go")
    args, cfg = config.read(p, argv)
    try:
        rows = [row(n, *found, cfg.data) for n, found in enumerate(questions(args.questions))]
    except DocumentError as error:
        raise files.StageError(f"a page cannot be read: {error}") from error
    if not rows:
        raise files.StageError(f"{args.questions} has no questions")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_jsonl(args.output, rows)
    print(f"{len(rows)} questions on {len({r['document'] for r in rows})} pages in {args.output}")
    print(f"Next: python test_moe.py --rows {args.output}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
