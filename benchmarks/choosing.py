"""What is it worth that amounts, dates and times are chosen among those a text prints? Each receipt with and without.

    python -m benchmarks.choosing
    python -m benchmarks.choosing --photos WILDRECEIPT --readings FOLDER
    for i in 1 2 3 4; do python -m benchmarks.choosing --part $i/4 & done; wait; python -m benchmarks.choosing

Receipts are those of the test rows (gold words), the two sample photos as our own OCR reads them, and with --photos
those of WildReceipt (see benchmarks.receipts). Invented: an amount, a date or a time of the answer that the text does
not print, blanks aside. Wrong without a flag: a value that is not in the target, is found on the document, needs no
review, and which no problem and no failed check names; of WildReceipt only fields that it annotates count.
Seconds are those of the model in one run; each receipt is asked with and without, every second one without first.
Written to output/<profile>/benchmarks/choosing/: the results, choosing.json and choosing.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import config
import inference
import test_moe
from benchmarks import receipts, shared
from extraction import files, stage
from extraction.evidence import printed
from extraction.models import choice
from extraction.reading import documents
from extraction.scoring import metrics
from extraction.tasks import records, schemas

WAYS = {"chosen": "true", "written": "false"}


def cases(args: Any, cfg: config.Config) -> Iterator[dict]:
    """`{"name", "source", "document", "target", "compared"}`; `compared` is the part of a record that is scored."""
    rows, _ = test_moe.read_rows(args.rows or cfg.training_dir / "test.jsonl")
    for row in test_moe.select([row for row in rows if row["task"] == "receipt"], args.limit):
        document = documents.Document(row["prompt"][-1]["content"])
        yield case(row["id"], "test rows, gold words", document, row["target"], metrics.scored)
    for path in sorted((shared.SAMPLES / "documents").glob("receipt_photo_*.jpg"))[: args.limit]:
        target = files.read_json(path.with_suffix(".json"))["record"]
        document = shared.read_once(path, cfg.inference, args.readings)
        yield case(path.name, "sample photos, own OCR", document, target, metrics.scored)
    if args.photos:
        for receipt in receipts.receipts(args.photos, args.file, args.readings)[: args.limit]:
            target = receipts.gold(receipt["segments"])[1]
            document = shared.read_once(receipt["image"], cfg.inference, args.readings)
            yield case(receipt["image"].name, "WildReceipt photos, own OCR", document, target, receipts.comparable)


def case(name: str, source: str, document: documents.Document, target: dict, compared: Callable) -> dict:
    return {"name": name, "source": source, "document": document, "target": target, "compared": compared}


def invented(record: dict, text: str) -> int:
    """Amounts, dates and times of a record that its text does not print."""
    by_path = printed.kinds(schemas.RECEIPT)
    shown = receipts.squeezed(text)
    leaves = [leaf for leaf in records.leaves(record) if leaf.field in by_path or leaf.key in by_path]
    return sum(receipts.squeezed(leaf.value) not in shown for leaf in leaves)


def unflagged(one: dict, result: dict) -> tuple[int, int]:
    """How many of the values that are compared are wrong with nothing that points at them; and how many there are."""
    right = Counter((leaf.field, leaf.value) for leaf in records.leaves(one["compared"](one["target"])))
    flagged = {field["path"] for field in result["fields"] or [] if field["review"] or field["grounding"] == "none"}
    flagged |= {problem.partition(": ")[0] for problem in result["problems"]}
    failed = " ".join(check["rule"] for check in result["checks"] or [] if check["verdict"] == "fails")
    wrong = values = 0
    for leaf in records.leaves(records.prune(result["record"] or {})):
        kept = [found.value for found in records.leaves(one["compared"](records.build([leaf])))]
        for value in kept:
            values += 1
            if right[(leaf.field, value)] > 0:
                right[(leaf.field, value)] -= 1
            elif leaf.path not in flagged and (leaf.key == "description" or named(leaf) not in failed):
                wrong += 1
    return wrong, values


def named(leaf: records.Leaf) -> str:
    """What a check calls a value."""
    return "line items" if leaf.item else leaf.key.replace("_", " ")


def answer(one: dict, backend: Any, cfg: config.Config) -> dict:
    """What both ways give for a receipt. They take turns: the second one finds the prompt in the model's cache."""
    found = {}
    for way, choose in list(WAYS.items())[:: -1 if one["turn"] % 2 else 1]:
        chosen = config.override(cfg, f"inference.choose={choose}")
        result = inference.extract(one["document"], backend, chosen, document_type="receipt")
        record = records.prune(result["record"] or {})
        counts = metrics.field_counts(one["target"], one["compared"](record))
        wrong, values = unflagged(one, result)
        found[way] = {
            "record": result["record"] and record,
            "counts": [counts.tp, counts.fp, counts.fn],
            "invented": invented(record, one["document"].text),
            "unflagged": wrong,
            "values": values,
            "seconds": result["timings"]["model"],
        }
    return found


def lines_of(found: list[tuple[dict, dict]], samples: int) -> list[dict]:
    lines = []
    for source in dict.fromkeys(one["source"] for one, _ in found):
        some = [answers for one, answers in found if one["source"] == source]
        counts = {way: [metrics.Counts(*answers[way]["counts"]) for answers in some] for way in WAYS}
        rest = [
            {name: sum(a[way][name] for a in some) for name in ("invented", "unflagged", "values", "seconds")}
            for way in WAYS
        ]
        lines.append(
            {
                "receipts": source,
                "n": len(some),
                "field_f1": {way: metrics.estimate(metrics.f1, counts[way], samples) for way in WAYS},
                "difference": metrics.paired(metrics.f1, *counts.values(), samples),
                "unreadable": {way: sum(a[way]["record"] is None for a in some) for way in WAYS},
                **{name: dict(zip(WAYS, (r[name] for r in rest), strict=True)) for name in rest[0]},
            }
        )
    return lines


def table(lines: list[dict]) -> str:
    heads = ["receipts", "n", "field F1, chosen", "written", "difference, paired", "invented, chosen", "written"]
    heads += ["wrong without a flag, chosen", "written", "unreadable, chosen", "written", "seconds, chosen / written"]
    rows = []
    for line in lines:
        apart = line["difference"]
        rows.append(
            [
                line["receipts"],
                line["n"],
                *(shared.percent(line["field_f1"][way]) for way in WAYS),
                f"{100 * apart['value']:+.1f} ({100 * apart['low']:+.1f} to {100 * apart['high']:+.1f})",
                *(line["invented"][way] for way in WAYS),
                *(f"{line['unflagged'][way]} of {line['values'][way]}" for way in WAYS),
                *(line["unreadable"][way] for way in WAYS),
                f"{line['seconds']['chosen'] / max(line['seconds']['written'], 1e-9):.2f}",
            ]
        )
    return files.markdown_table(heads, rows)


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--model", default="gguf", metavar="MODEL", help=choice.NAMES)
    p.add_argument("--rows", type=Path, metavar="FILE", help="test rows (default: data/training/test.jsonl)")
    p.add_argument("--photos", type=Path, metavar="WILDRECEIPT", help="also its photos")
    p.add_argument("--file", default="annotations.jsonl", help="of that folder (default: annotations.jsonl)")
    p.add_argument("--readings", type=Path, metavar="FOLDER", help="where what the reader makes of photos is kept")
    p.add_argument("--limit", type=int, metavar="N", help="receipts of each source (default: all)")
    shared.add_part(p)
    args, cfg = config.read(p, argv)
    asked = {one["name"]: {**one, "turn": turn} for turn, one in enumerate(cases(args, cfg))}
    model = choice.choose(cfg, args.model)
    backend = model.open()
    texts = [[name, one["document"].text, one["target"]] for name, one in asked.items()]
    calibration = model.calibration()
    made_by = [model.fingerprint, texts, cfg.inference.context_tokens, calibration and calibration.curves]
    out = cfg.output_dir / "benchmarks" / "choosing"
    make = lambda name: answer(asked[name], backend, cfg)  # noqa: E731
    results = shared.work(list(asked), make, out, files.fingerprint(made_by), args.part)
    if not results:
        return 0
    lines = lines_of([(asked[name], result) for name, result in results.items()], cfg.evaluate.bootstrap_samples)
    shared.tell(out, backend.name, "receipts with and without choosing", lines, table(lines))
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
