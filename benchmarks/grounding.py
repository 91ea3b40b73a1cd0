"""How well grounding finds the values of CORD's records: words of the boxes against CORD's own words.

    python -m benchmarks.grounding
    python -m benchmarks.grounding --split test --show

Gold records: does each value get the words that CORD annotated for it? Control: the record of another receipt; of its
values that this receipt does not print, how many are called found? Control of misreadings: the receipt's
own record with one digit of each number changed.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import shared
from extraction import cord
from extraction.evidence import grounding, values
from extraction.scoring import metrics, places
from extraction.tasks import records, schemas


def misread(value: Any) -> Any:
    """The record with the first digit of every text raised by one."""
    if isinstance(value, dict):
        return {key: misread(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [misread(inner) for inner in value]
    return re.sub(r"\d", lambda m: str((int(m.group()) + 1) % 10), value, count=1)


def measure(truths: list[dict], show: bool) -> dict:
    """Word counts of gold records, values found and foreign values found."""
    counts, left_out, found, total = [], 0, 0, 0
    foreign = Counter()
    for i, truth in enumerate(truths):
        document, gold = cord.gold_words(truth)
        record = cord.from_cord(truth["gt_parse"])
        fields = grounding.ground(records.leaves(record), schemas.RECEIPT, document)
        found += sum(f["grounding"] != "none" for f in fields)
        total += len(fields)
        left_out += sum(f["path"] not in gold for f in fields)
        for field in fields:
            if field["path"] in gold:
                counts.append(places.word_counts(gold[field["path"]], field, document))
                if show and (counts[-1].fp or counts[-1].fn):
                    print(i, field["path"], repr(field["value"]), field["grounding"], counts[-1])
        words = [word.text for word in document.words]
        for step in range(1, 6):
            other = cord.from_cord(truths[(i + step) % len(truths)]["gt_parse"])
            for field in grounding.ground(records.leaves(other), schemas.RECEIPT, document):
                there = places.printed(field["value"], words)
                foreign["all"] += 1
                foreign["found"] += field["grounding"] != "none"
                foreign["absent"] += not there
                foreign["wrong"] += not there and field["grounding"] != "none"
                own = places.letters_and_digits(field["value"].split())
                literal = own <= places.letters_and_digits(words)
                foreign["other words"] += not literal
                foreign["other words, found"] += not literal and field["grounding"] != "none"
                if show and not there and field["grounding"] != "none":
                    a, b = field["span"]
                    print("  foreign", i, field["path"], repr(field["value"]), repr(document.text[a:b]))
        for field in grounding.ground(records.leaves(misread(record)), schemas.RECEIPT, document):
            if values.amount(field["value"]) is not None and not places.printed(field["value"], words):
                foreign["misread"] += 1
                foreign["misread, found"] += field["grounding"] != "none"
                if show and field["grounding"] != "none":
                    print("  misread", i, field["path"], repr(field["value"]))
    return {
        "receipts": len(truths),
        "values": total,
        "found": found / total,
        "without gold words": left_out,
        "precision": metrics.precision(counts),
        "recall": metrics.recall(counts),
        "f1": metrics.f1(counts),
        "foreign values": foreign["all"],
        "not printed here": foreign["absent"],
        "wrongly found": foreign["wrong"] / foreign["absent"],
        "not printed word for word": foreign["other words"],
        "found of those": foreign["other words, found"] / foreign["other words"],
        "found of all foreign": foreign["found"] / foreign["all"],
        "misread numbers": foreign["misread"],
        "misread and found": foreign["misread, found"] / foreign["misread"],
    }


def main() -> int:
    p = shared.parser(__doc__)
    p.add_argument("--data", type=Path, default=shared.SAMPLES / "cord.jsonl", help="rows of CORD")
    p.add_argument("--split", default="all", choices=("all", "train", "validation", "test"))
    p.add_argument("--show", action="store_true", help="print what went wrong")
    args = p.parse_args()
    rows = shared.rows(args.data)
    for split in ("train", "validation", "test") if args.split == "all" else (args.split,):
        truths = [json.loads(row["ground_truth"]) for row in rows if row["sample_split"] == split]
        print(f"{split}\n" + "\n".join(f"  {k:28}{round(v, 4):>8}" for k, v in measure(truths, args.show).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
