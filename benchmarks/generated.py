"""How documents of our own making compare with the training receipts of CORD in the samples, and whether they add up.

    python benchmarks/generated.py
    python benchmarks/generated.py --count 300 --seeds 1 2 3407

Prints two tables of Markdown: what extraction/checks.py says of the generated records, by kind and rule, and features
of generated receipts beside those of the 40 CORD receipts that are for training. Test receipts are not looked at.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import config  # noqa: E402
from extraction import checks, documents, generate, tasks  # noqa: E402

VERDICTS = (checks.HOLDS, checks.FAILS, checks.UNKNOWN)
Receipts = list[tuple[str, dict]]  # text and record


# --- arithmetic ------------------------------------------------------------------------------------------------


def verdicts(count: int, seeds: Iterable[int]) -> dict[tuple[str, str], Counter]:
    """How often each rule holds, by (kind, rule)."""
    found: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for kind in generate.KINDS:
        task = tasks.DOCUMENT if kind == "letter" else tasks.RECEIPT
        for seed in seeds:
            for document in generate.documents(kind, count, seed):
                for verdict in checks.check(document["record"], task):
                    found[kind, re.sub(r"\[\d+\]", "[]", verdict["rule"])][verdict["verdict"]] += 1
    return found


# --- receipts ----------------------------------------------------------------------------------------------------


def generated(count: int, seeds: Iterable[int]) -> Receipts:
    made = [document for seed in seeds for document in generate.documents("receipt", count, seed)]
    return [(laid_out(documents.Word(text, tuple(box)) for text, *box in d["words"]), d["record"]) for d in made]


def cord(path: Path) -> Receipts:
    """The training receipts of the samples."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["sample_split"] == "train":
            truth = json.loads(row["ground_truth"])
            words = [
                (word["text"], [(word["quad"][f"x{n}"], word["quad"][f"y{n}"]) for n in (1, 2, 3, 4)])
                for printed in truth["valid_line"]
                for word in printed["words"]
            ]
            found.append((laid_out(documents.words_from_quads(words)), tasks.from_cord(truth["gt_parse"])))
    return found


def laid_out(words: Iterable[documents.Word]) -> str:
    return documents.layout(list(words)).text


def items(record: dict) -> list[dict]:
    return record.get("line_items", [])


def subs(record: dict) -> list[dict]:
    return [sub for item in items(record) for sub in item.get("sub_items", ())]


def amounts(record: dict) -> list[str]:
    shown = [item["amount"] for item in items(record) if "amount" in item]
    return shown + [record[name] for name in ("subtotal", "tax", "total", "cash", "change") if name in record]


def form_of(amount: str) -> str:
    """`9,9` for 45,500: what stands between and around the digits."""
    return re.sub(r"\d+", "9", amount)


FEATURES: dict[str, Callable[[str, dict], float | None]] = {
    "rows of text": lambda t, r: len(t.split("\n")),
    "characters": lambda t, r: len(" ".join(t.split())),
    "items": lambda t, r: len(items(r)),
    "words of an item's name": lambda t, r: mean(len(i.get("description", "").split()) for i in items(r)),
    "widest gap in a row, blanks": lambda t, r: max((len(gap) for gap in re.findall(r"(?<=\S) +(?=\S)", t)), default=0),
}
SHARES: dict[str, Callable[[str, dict], bool]] = {
    "one item": lambda t, r: len(items(r)) == 1,
    "sub-items": lambda t, r: bool(subs(r)),
    "4 sub-items or more below an item": lambda t, r: any(len(i.get("sub_items", ())) > 3 for i in items(r)),
    "sub-item with + - * >": lambda t, r: any(re.match(r"[+*>-]", s.get("description", "")) for s in subs(r)),
    "sub-item with an amount": lambda t, r: any("amount" in s for s in subs(r)),
    "item of amount 0": lambda t, r: any(re.fullmatch(r"0[.,0]*", i.get("amount", "")) for i in items(r)),
    "quantity with a mark (x, Prs)": lambda t, r: any(re.search(r"[a-zX]", i.get("quantity", "")) for i in items(r)),
    **{
        f"has an item's {name}": lambda t, r, name=name: any(name in item for item in items(r))
        for name in ("quantity", "unit_price", "discount", "number")
    },
    **{
        f"has {name}": lambda t, r, name=name: name in r
        for name in (
            "subtotal",
            "discount",
            "service_charge",
            "tax",
            "subtotal_other",
            "total",
            "cash",
            "change",
            "card",
            "e_money",
            "item_count",
            "item_type_count",
            "total_other",
        )
    },  # fmt: skip
    "no payment": lambda t, r: not {"cash", "card", "e_money"} & set(r),
    "a row that is one amount alone": lambda t, r: bool(re.search(r"^ *\d[\d.,]*$", t, re.MULTILINE)),
    "two labels with their values in a row": lambda t, r: bool(
        re.search(r"^ *[A-Za-z][A-Za-z .]+:? +[\d.,]+ +[A-Za-z][A-Za-z .]+:? +[\d.,]+$", t, re.MULTILINE)
    ),
    "TOTAL above a tax, GRAND TOTAL below": lambda t, r: bool(
        re.search(r"^ *TOTAL\b.*\n(?:.*\n)*? *GRAND ?TOTAL", t, re.MULTILINE | re.IGNORECASE)
    ),
    "amounts with both marks (1,000 and 1.000)": lambda t, r: (
        {"9,9", "9.9"} <= {form_of(a) for a in amounts(r) if re.fullmatch(r"\d{1,3}[.,]\d{3}", a)}
    ),
    "amount with a currency": lambda t, r: any(re.search(r"[^\W\d]|[$£€₹]", a) for a in amounts(r)),
}


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(list(values) or [0])


def labels(receipts: Receipts) -> Counter:
    """The words of the rows below the items that are in no value, without digits and marks."""
    found: Counter = Counter()
    for text, record in receipts:
        names = {word for item in [*items(record), *subs(record)] for word in item.get("description", "").split()}
        for word in set(text.split()) - names:
            plain = re.sub(r"[^a-z]", "", word.lower())
            if len(plain) > 1 and not re.search(r"\d", word):
                found[plain] += 1
    return found


def words(receipts: Receipts) -> Counter:
    return Counter(word for text, _ in receipts for word in re.findall(r"[a-z]{2,}", text.lower()))


def unseen(of: Counter, among: Counter) -> float:
    """The share of the words of one that are not among those of the other."""
    return sum(n for word, n in of.items() if word not in among) / sum(of.values())


# --- tables ------------------------------------------------------------------------------------------------------


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(heads), *rows]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def compared(ours: Receipts, theirs: Receipts) -> str:
    rows = []
    for name, feature in FEATURES.items():
        found = [sorted(feature(*receipt) for receipt in receipts) for receipts in (ours, theirs)]
        rows.append([f"{name}: 10th, 50th, 90th percentile"])
        rows[-1] += [", ".join(f"{f[round((len(f) - 1) * p)]:.3g}" for p in (0.1, 0.5, 0.9)) for f in found]
    for name, feature in SHARES.items():
        rows.append([name, *(f"{mean(feature(*r) for r in receipts):.1%}" for receipts in (ours, theirs))])
    mine, others = labels(ours), labels(theirs)
    rows.append(["words of rows without items that the other has not", "", f"{unseen(others, mine):.1%}"])
    rows.append(["words of any kind that the other has not", "", f"{unseen(words(theirs), words(ours)):.1%}"])
    head = ("receipts", f"generated, {len(ours):,}", f"CORD, {len(theirs)}")
    missing = ", ".join(word for word, _ in others.most_common() if word not in mine)
    return f"{table(head, rows)}\n\nWords of CORD's rows without items that no generated receipt has: {missing}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="documents of each kind and seed (default: 300)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3407])
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error(f"--count must be at least 1, got {args.count}")
    found = verdicts(args.count, args.seeds)
    print(table(("kind", "rule", *VERDICTS), ([*key, *(n[v] for v in VERDICTS)] for key, n in found.items())))
    print()
    theirs = cord(config.PROFILES["cpu"].samples_dir / "cord.jsonl")
    print(compared(generated(args.count, args.seeds), theirs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
