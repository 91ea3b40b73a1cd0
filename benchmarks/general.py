"""What does the general instruction give, which `ollama run doc-intel` uses, without a grammar?

    python -m benchmarks.general
    python -m benchmarks.general --rows FILE --limit 5
    for i in 1 2 3 4; do python -m benchmarks.general --part $i/4 & done; wait; python -m benchmarks.general

Asked are the texts of the test rows, each once: receipts, windows of contracts, pages that the questions are about;
30 letters of the generator; and the 60 texts of no_documents.txt that are no documents: greetings, questions alone,
names of files, empty pages, program text, recipes, chats, prose, in nine languages. None of these texts is in the
training data; texts of the same kinds are, and with data.general pages of other reports and windows of other contracts.
Context and number of tokens are those of the Modelfile. Written to output/<profile>/benchmarks/general/: the answers,
general.json and general.md.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import config
import test_moe
from benchmarks import shared
from extraction import files, stage
from extraction.models import choice
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.scoring import metrics
from extraction.synthetic import generate
from extraction.tasks import completions, prompts, schemas

NONE = "none"
SEED = 7001  # of the generated letters; those of the training data have another
LETTERS = 30
# What is asked: its document type.
GROUPS = {
    "receipts": "receipt",
    "beginnings of contracts": "contract",
    "later windows of contracts": "contract",
    "pages of financial reports": "document",
    "generated letters": "document",
    "no document": NONE,
}


def texts(rows: list[dict], limit: int | None) -> list[dict]:
    """What is asked: `{"name", "document", "group", "text", "target"}`; at most `limit` of a group, spread evenly."""
    found = {one["text"]: one for one in [*of_rows(rows)][::-1]}  # the first row of each text
    by_group = {group: [one for one in found.values() if one["group"] == group][::-1] for group in GROUPS}
    by_group["generated letters"] = list(letters())
    by_group["no document"] = list(no_documents())
    chosen = []
    for group in by_group.values():
        count = min(limit or len(group), len(group))
        chosen += [group[i * len(group) // count] for i in range(count)]
    return chosen


def of_rows(rows: list[dict]) -> Iterator[dict]:
    for row in rows:
        text, target = row["prompt"][-1]["content"], None
        if row["task"] == "receipt":
            group, target = "receipts", row["target"]
        elif row["task"] == "contract":
            text = "\n".join(line.partition("] ")[2] for line in text.split("\n"))  # without the numbers of sentences
            group = "beginnings of contracts" if row["id"].endswith("#0") else "later windows of contracts"
        elif row["task"] == "question" and row["source"] == "tatqa":
            question, text = text.split("\n\n", 1)  # it stands before and behind the page
            group, text = "pages of financial reports", text.removesuffix(f"\n\n{question}")
        else:
            continue
        name = row.get("document") or row["id"]
        yield {"name": row["id"], "document": name, "group": group, "text": text, "target": target}


def letters() -> Iterator[dict]:
    for made in generate.documents("letter", LETTERS, SEED):
        text = layout.layout([Word(w[0], tuple(w[1:])) for w in made["words"]]).text
        yield {
            "name": made["id"],
            "document": made["id"],
            "group": "generated letters",
            "text": text,
            "target": made["record"],
        }


def no_documents() -> Iterator[dict]:
    listed = Path(__file__).with_name("no_documents.txt").read_text(encoding="utf-8").split("## ")[1:]
    for number, block in enumerate(listed, start=1):
        head, _, text = block.partition("\n")
        name = f"{number:02} {head}"
        yield {"name": name, "document": name, "group": "no document", "text": text.strip(), "target": None}


def judged(one: dict, answer: str) -> dict[str, Any]:
    """What an answer is: JSON, a record with no other fields than the general instruction's, its type, all invented."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    reading = completions.parse(schemas.GENERAL, answer)
    said = value if isinstance(value, dict) else reading.record or {}
    fields = {name: inner for name, inner in (reading.record or {}).items() if name != "document_type"}
    kind = said.get("document_type")
    return {
        "json": isinstance(value, dict),
        "record": reading.record is not None and reading.problem is None,
        "type": kind if kind in GROUPS.values() else "another word" if kind else "no type",
        "invented": GROUPS[one["group"]] == NONE and (kind != NONE or len(said) > 1),
        "counts": None if one["target"] is None else metrics.field_counts(one["target"], fields),
    }


def scores(found: list[tuple[dict, dict]], samples: int) -> list[dict[str, Any]]:
    """A line for each kind of text, with intervals over documents."""
    lines = []
    for name, kind in GROUPS.items():
        groups: dict[str, list[dict]] = {}
        for one, verdict in found:
            if one["group"] == name:
                groups.setdefault(one["document"], []).append(verdict)
        if not groups:
            continue
        verdicts = [v for group in groups.values() for v in group]

        def share(test: Any, groups: dict = groups) -> dict:
            return metrics.estimate(_share, [[bool(test(v)) for v in group] for group in groups.values()], samples)

        counts = [[v["counts"] for v in group if v["counts"]] for group in groups.values()]
        counts = [metrics.total(group) for group in counts if group]
        lines.append(
            {
                "texts": name,
                "n": len(verdicts),
                "documents": len(groups),
                "json": share(lambda v: v["json"]),
                "record": share(lambda v: v["record"]),
                "type": share(lambda v, kind=kind: v["type"] == kind),
                "types": Counter(v["type"] for v in verdicts),
                "invented": sum(v["invented"] for v in verdicts),
                "field_f1": metrics.estimate(metrics.f1, counts, samples) if counts else None,
            }
        )
    return lines


def _share(groups: Sequence[Sequence[bool]]) -> float:
    return sum(map(sum, groups)) / max(sum(map(len, groups)), 1)


def table(lines: list[dict]) -> str:
    heads = ("texts", "n", "documents", "valid JSON", "a record", "right type", "taken for", "invented", "field F1")
    rows = []
    for line in lines:
        types = ", ".join(f"{name} {count}" for name, count in Counter(line["types"]).most_common())
        invented = f"{line['invented']} of {line['n']}" if GROUPS[line["texts"]] == NONE else ""
        shares = [shared.percent(line[name]) for name in ("json", "record", "type")]
        f1 = shared.percent(line["field_f1"]) if line["field_f1"] else ""
        rows.append((line["texts"], line["n"], line["documents"], *shares, types, invented, f1))
    return files.markdown_table(heads, rows)


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--model", default="gguf", metavar="MODEL", help="gguf (default), base-gguf or FILE.gguf")
    p.add_argument("--rows", type=Path, metavar="FILE", help="test rows (default: data/training/test.jsonl)")
    p.add_argument("--limit", type=int, metavar="N", help="texts of each kind (default: all)")
    shared.add_part(p)
    args, cfg = config.read(p, argv)
    asked = texts(test_moe.read_rows(args.rows or cfg.training_dir / "test.jsonl")[0], args.limit)
    tokens = {"context_tokens": cfg.export.num_ctx, "max_new_tokens": cfg.export.num_predict}
    model = choice.choose(replace(cfg, inference=replace(cfg.inference, **tokens)), args.model)
    if model.is_server or model.name in ("adapter", "base"):
        p.error("--model: a GGUF build in this process is asked, since its answers are not bound to a schema")
    backend = model.open()

    def answered(name: str) -> dict:
        messages = prompts.messages(schemas.GENERAL, by_name[name]["text"])
        return {"answer": shared.free(backend, messages, cfg.export.num_predict)}

    by_name = {one["name"]: one for one in asked}
    made_by = files.fingerprint([model.fingerprint, schemas.GENERAL.instructions, tokens, asked])
    out = cfg.output_dir / "benchmarks" / "general"
    answers = shared.work(list(by_name), answered, out, made_by, args.part)
    if not answers:
        return 0
    found = [(by_name[name], judged(by_name[name], answer["answer"])) for name, answer in answers.items()]
    lines = scores(found, cfg.evaluate.bootstrap_samples)
    shared.tell(out, backend.name, "the general instruction, no grammar", lines, table(lines))
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
