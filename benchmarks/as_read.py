"""Generated documents as they are read in use: as a PDF with text, as a scan and as a photo; rows for test_moe.py.

    python -m benchmarks.as_read output/as_read.jsonl
    python test_moe.py --model gguf --calibrate --rows output/as_read.jsonl

Each document is printed to a PDF, and read by our own reader from that, from a scan of it (150 dots an inch, a little
tilted, in a PDF) and from a photo (tilted, unevenly lit, not quite sharp). Its record is the one that was printed. The
rows say how they were read, and a calibration fitted on them has a curve for each: what a confidence means differs. The
documents are none of the training data.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import config
from benchmarks import bundles, delivery_notes
from extraction import files, stage
from extraction.reading import documents
from extraction.reading.limits import DocumentError
from extraction.synthetic import generate
from extraction.tasks import prompts, records, schemas

SEED = 7003
SHARES = {"receipt": 0.4, "invoice": 0.4, "letter": 0.2}
MARGIN = 24  # points of paper around the print


def printed(made: dict) -> bytes:
    """The PDF of a generated document."""
    words = [(w[0], w[1] + MARGIN, w[2] + MARGIN, w[3] + MARGIN, w[4] + MARGIN) for w in made["words"]]
    size = max(w[3] for w in words) + MARGIN, max(w[4] for w in words) + MARGIN
    return bundles.pdf([bundles.Source(made["kind"], pages=[words], size=size)])[0]


def scan(document: bytes, draw: random.Random) -> bytes:
    """A page of a PDF on the glass of a scanner, as a PDF of one picture."""
    import pypdfium2
    from PIL import Image, ImageFilter

    page = pypdfium2.PdfDocument(document)[0].render(scale=150 / 72).to_pil().convert("L")
    page = page.rotate(draw.uniform(-0.8, 0.8), expand=True, fillcolor=250, resample=Image.Resampling.BICUBIC)
    page = page.filter(ImageFilter.GaussianBlur(draw.uniform(0.2, 0.6)))
    buffer = io.BytesIO()
    page.save(buffer, "PDF", resolution=150.0, quality=draw.randint(50, 85))
    return buffer.getvalue()


def rows(count: int, limits: documents.Limits) -> Iterator[dict]:
    for kind, share in SHARES.items():
        task = schemas.DOCUMENT if kind == "letter" else schemas.RECEIPT
        wanted = round(share * count)
        for made in generate.documents(kind, 10 * count, SEED):
            if not wanted:
                break
            if any(word[0] != word[0].encode("cp1252", "replace").decode("cp1252") for word in made["words"]):
                continue  # the PDF's font has no such letters
            wanted -= 1
            draw, pdf = random.Random(f"{SEED}/{made['id']}"), printed(made)
            for source in (pdf, scan(pdf, draw), delivery_notes.photo(pdf, draw, whole=True)):
                yield row(made, task, source, limits)


def row(made: dict, task: schemas.Task, source: bytes, limits: documents.Limits) -> dict[str, Any]:
    try:
        document = documents.read(source, limits)
    except DocumentError as error:
        raise files.StageError(f"a document of our own making cannot be read: {error}") from error
    return {
        "id": f"{made['id']}/{document.reading}",
        "document": made["id"],
        "task": task.name,
        "source": "generated",
        "ocr": "own" if document.ocr else "",
        "reading": document.reading,
        "prompt": prompts.messages(task, document.text),
        "target": {name: value for name, value in records.prune(made["record"]).items() if name != "summary"},
    }


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("output", type=Path, metavar="FILE", help="where the rows go")
    p.add_argument("--documents", type=int, default=100, metavar="N", help="each read in three ways (default: 100)")
    args, cfg = config.read(p, argv)
    from tqdm import tqdm

    args.output.parent.mkdir(parents=True, exist_ok=True)
    made = list(tqdm(rows(args.documents, cfg.inference), total=3 * args.documents, unit="row", disable=None))
    files.write_jsonl(args.output, made)
    print(f"{len(made)} rows of {len({row['document'] for row in made})} documents: {args.output}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
