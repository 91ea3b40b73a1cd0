"""What our own OCR costs on receipts that have an image: words, fields, seconds; with WildReceipt's annotations.

    python -m benchmarks.receipts WILDRECEIPT --limit 40
    python -m benchmarks.receipts WILDRECEIPT --file test.txt --model http://127.0.0.1:8080/v1
    python -m benchmarks.receipts WILDRECEIPT --readings FOLDER --part 1/4    # one of four; readings are kept

WILDRECEIPT is a folder with images and a file of one receipt a line, `{"file_name", "annotations": [{"box", "text",
"label"}]}`, as WildReceipt is published (Sun et al. 2021), with `class_list.txt` beside it. Each receipt is extracted
twice: from the annotated words, and from what the reader makes of the image. Both are scored by field F1 on the fields
that WildReceipt knows, and the difference is paired. Its texts have no blanks within a line, so blanks do not count
here. Its labels are not those of CORD or of the generated receipts that the small model has seen: what this measures is
the difference between the two columns rather than either of them.

The reader alone: a printed segment (an annotated box) is read right if the words whose centers are in it make its
text, blanks and case aside. Recall is the share of segments read right, precision the share of words that are in one.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import config
import inference
from benchmarks import shared
from extraction import files, stage
from extraction.models import backends, choice
from extraction.reading import documents, layout
from extraction.reading.limits import DocumentError
from extraction.reading.words import Word, placed
from extraction.scoring import metrics

FIELDS = {
    "Store_name_value": ("merchant", "name"),
    "Store_addr_value": ("merchant", "address"),
    "Tel_value": ("merchant", "phone"),
    "Date_value": ("date",),
    "Time_value": ("time",),
    "Prod_item_value": ("line_items", "description"),
    "Prod_quantity_value": ("line_items", "quantity"),
    "Prod_price_value": ("line_items", "amount"),
    "Subtotal_value": ("subtotal",),
    "Tax_value": ("tax",),
    "Tips_value": ("tip",),
    "Total_value": ("total",),
}
PATHS = {".".join(way) for way in FIELDS.values()}


def receipts(folder: Path, file: str, readings: Path | None = None) -> list[dict]:
    """The receipts whose image is there, or what was read of it, each with the names of its labels."""
    try:
        rows = [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]
        listed = folder / "class_list.txt"
        names = dict(line.split() for line in listed.read_text().splitlines()) if listed.is_file() else {}
        found = []
        for row in rows:
            image = folder / (row["image"] if "image" in row else row["file_name"])
            segments = [
                (s["text"], corners(s["box"]), s.get("label_name") or names[str(s["label"])])
                for s in row["annotations"]
                if s["text"].strip()
            ]
            if image.is_file() or (readings and (readings / f"{image.name}.json").is_file()):
                found.append({"image": image, "segments": segments})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise files.StageError(f"{folder / file} is not a file of WildReceipt's annotations: {error}") from error
    if not found:
        raise files.StageError(f"no image that {folder / file} names is there")
    return found


def corners(box: list[float]) -> list[tuple[float, float]]:
    """The corners clockwise from the top left; WildReceipt begins at the bottom left."""
    points = [(box[i], box[i + 1]) for i in (0, 2, 4, 6)]
    return points[::-1] if points[0][1] > points[3][1] else points


def gold(segments: list[tuple[str, list, str]]) -> tuple[documents.Document, dict]:
    """The annotated words as a document, and the record that they make."""
    laid = layout.page_layout(placed(text, quad, score=1.0) for text, quad, _ in segments)
    order = sorted(range(len(segments)), key=lambda i: laid.spans[i])
    values = defaultdict(list)
    for i in order:
        if segments[i][2] in FIELDS:
            values[FIELDS[segments[i][2]]].append(squeezed(segments[i][0]))
    record: dict[str, Any] = {}
    for way, texts in values.items():
        if way[0] == "line_items":  # field F1 does not ask which row a value is in
            record.setdefault("line_items", []).extend({way[1]: text} for text in texts)
        elif len(way) == 2:
            record.setdefault(way[0], {})[way[1]] = "".join(texts)
        else:
            record[way[0]] = texts[0] if way[0] in ("subtotal", "tax", "tip", "total") else "".join(texts)
    return documents.Document(laid.text, words=laid.words, spans=laid.spans), record


def comparable(value: Any, path: str = "") -> Any:
    """The record with the fields that WildReceipt knows alone, without blanks."""
    if isinstance(value, dict):
        parts = {key: comparable(inner, f"{path}.{key}" if path else key) for key, inner in value.items()}
        return {key: part for key, part in parts.items() if part}
    if isinstance(value, list):
        return [part for part in (comparable(entry, path) for entry in value) if part]
    return squeezed(value) if value and path in PATHS else None


def squeezed(text: str) -> str:
    return "".join(text.casefold().split())


def segment_counts(segments: list[tuple[str, list, str]], words: list[Word]) -> tuple[int, int, int, int]:
    """Segments read right, segments; words in a segment read right, words. Where boxes overlap, as those of crumpled
    paper do, a word belongs to the one whose middle line is nearest."""
    boxes = [tuple(f(c) for c in zip(*quad, strict=True) for f in (min, max)) for _, quad, _ in segments]
    inside: dict[int, list[Word]] = defaultdict(list)
    for word in sorted(words, key=lambda w: w.box[0]):
        x, y = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
        around = [i for i, (left, right, top, bottom) in enumerate(boxes) if left <= x <= right and top <= y <= bottom]
        if around:
            inside[min(around, key=lambda i: abs(boxes[i][2] + boxes[i][3] - 2 * y))].append(word)
    right = [
        i
        for i, (text, _, _) in enumerate(segments)
        if squeezed("".join(word.text for word in inside[i])) == squeezed(text)
    ]
    return len(right), len(segments), sum(len(inside[i]) for i in right), len(words)


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("folder", type=Path, metavar="WILDRECEIPT")
    p.add_argument("--file", default="annotations.jsonl", help="of the folder (default: annotations.jsonl)")
    p.add_argument("--model", default="gguf")
    p.add_argument("--readings", type=Path, metavar="FOLDER", help="where what the reader makes of photos is kept")
    p.add_argument("--limit", type=int, metavar="N", help="the first N receipts")
    shared.add_part(p)
    args, cfg = config.read(p, argv)
    found = receipts(args.folder, args.file, args.readings)[: args.limit]
    model = choice.choose(cfg, args.model)
    backend = model.open()
    if args.readings is None:
        inference.read(found[0]["image"], cfg)  # loads the OCR engine, which is not counted
    by_name = {receipt["image"].name: receipt for receipt in found}
    made_by = files.fingerprint([model.fingerprint, cfg.inference.choose, [r["segments"] for r in found]])
    out = cfg.output_dir / "benchmarks" / "receipts"
    make = lambda name: answer(by_name[name], backend, cfg, args.readings)  # noqa: E731
    answers = shared.work(list(by_name), make, out, made_by, args.part)
    if answers:
        show([(by_name[name], made) for name, made in answers.items()], backend.name, cfg.evaluate.bootstrap_samples)
    return 0


def answer(receipt: dict, backend: backends.Backend, cfg: config.Config, readings: Path | None) -> dict:
    """What is found in a receipt by its annotated words and by our reader's, and the seconds of each part."""
    started, unread = time.perf_counter(), None
    try:
        read = shared.read_once(receipt["image"], cfg.inference, readings)
    except DocumentError as error:
        unread = f"{receipt['image'].name}: {error}"
        read = documents.Document("")
    seconds = {} if readings else {"read": time.perf_counter() - started}
    found = {}
    for column, document in (("gold", gold(receipt["segments"])[0]), ("own", read)):
        if document.text:
            result = inference.extract(document, backend, cfg, document_type="receipt")
            found[column] = result["record"]
            seconds[f"model, {column} words"] = result["timings"]["model"]
    return {
        "records": found,
        "seconds": seconds,
        "unread": unread,
        "segments": segment_counts(receipt["segments"], read.words),
    }


def show(found: list[tuple[dict, dict]], model: str, samples: int) -> None:
    counts: dict[str, list[metrics.Counts]] = {"gold": [], "own": []}
    seconds: dict[str, list[float]] = defaultdict(list)
    for receipt, made in found:
        target = gold(receipt["segments"])[1]
        for column, values in counts.items():
            values.append(metrics.field_counts(target, comparable(made["records"].get(column) or {})))
        for part, value in made["seconds"].items():
            seconds[part].append(value)
    right, all_segments, inside, words = (
        sum(part) for part in zip(*(made["segments"] for _, made in found), strict=True)
    )
    recall, precision = right / all_segments, inside / max(words, 1)
    unread = [made["unread"] for _, made in found if made["unread"]]
    print("\n".join([f"{len(found)} receipts, {len(unread)} not read, {model}", *unread]))
    f1 = 2 * recall * precision / max(recall + precision, 1e-9)
    print(f"segments: recall {recall:.3f}, precision {precision:.3f}, F1 {f1:.3f} ({all_segments} segments)")
    for column, values in counts.items():
        value = metrics.estimate(metrics.f1, values, samples)
        print(f"field F1, {column} words: {value['value']:.3f} ({value['low']:.3f} - {value['high']:.3f})")
    apart = metrics.paired(metrics.f1, counts["own"], counts["gold"], samples)
    print(f"own less gold: {apart['value']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f})")
    for part, values in seconds.items():
        p95 = metrics.percentile(values, 0.95)
        print(f"seconds, {part}: median {statistics.median(values):.2f}, 95th percentile {p95:.2f}")


if __name__ == "__main__":
    stage.run_stage(main)
