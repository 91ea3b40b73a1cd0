"""How far answers that point at sentences can reach, and what they cost: the answers that stage 2 writes, scored.

    python -m benchmarks.contracts
    python -m benchmarks.contracts --split test --set data.window_chars=3000

A model that answers as it is trained to gives these records, so their span F1 bounds what training can reach. It is
taken against the quotes of the contract's windows, as test_moe.py does, and against those of the whole contract. Needs
data/datasets/cuad (python download_datasets.py) and the base model's tokenizer.
"""

from __future__ import annotations

import config
import prepare_training_data as prepare
from extraction import files, stage
from extraction.models import base_model
from extraction.reading import layout
from extraction.scoring import metrics
from extraction.tasks import completions, prompts, records, schemas, sentences


def coverage(contracts: list[tuple[str, list]], unit: str) -> dict:
    """How well runs of units cover the quotes of the categories that are answered by number."""
    found, lengths = [], []  # of each quote its likeness to the run of units, and whether that is one
    for text, spans in contracts:
        units = sentences.split(text, unit)
        lengths += [b - a for a, b in units]
        for category, start, end in spans:
            if category in schemas.QUOTED:
                continue
            first, last = sentences.covering(units, start, end)
            likeness = metrics.jaccard(text[start:end], text[units[first][0] : units[last][1]])
            found.append((likeness, first == last))
    return {
        "quotes": len(found),
        "exact": metrics.mean([likeness == 1 for likeness, _ in found]),
        "near": metrics.mean([likeness >= 0.5 for likeness, _ in found]),
        "single": metrics.mean([alone for _, alone in found]),
        "units": len(lengths),
        "median": metrics.percentile(lengths, 0.5),
        "p95": metrics.percentile(lengths, 0.95),
    }


def seen(contracts: list[tuple[str, list]], data: config.DataConfig) -> dict[str, int]:
    """What the windows hold."""
    windows = empty = torn = quotes = 0
    for text, spans in contracts:
        places = layout.windows(text, data.window_chars, data.window_overlap)
        windows, quotes = windows + len(places), quotes + len(spans)
        empty += sum(not any(a < end and b > start for _, a, b in spans) for start, end in places)
        torn += sum(not any(start <= a and b <= end for start, end in places) for _, a, b in spans)
    return {"windows": windows, "empty": empty, "quotes": quotes, "torn": torn}


def merged(parts: list[dict]) -> dict:
    return records.build(records.merge(schemas.CONTRACT, map(records.leaves, parts)))


def reach(contracts: list[tuple[str, list]], data: config.DataConfig, tokenizer) -> dict:
    """Scores of the answers that the model is to write, and their tokens."""
    of_windows, of_contract, clauses, prompt, answer, answered = [], [], [], [], [], []
    for text, spans in contracts:
        parts, targets = [], []
        for window in prepare.contract_windows(text, spans, data, prepare.Sources(), "test"):
            prompt_ = prompts.prompt(schemas.CONTRACT, window["text"])
            written = completions.completion(window["answer"])
            reading = completions.parse(schemas.CONTRACT, written, prompt_.sentences)
            assert not reading.problem and not reading.dropped
            parts.append(reading.record)
            targets.append(window["record"])
            rendered = tokenizer.apply_chat_template(prompt_.messages, tokenize=False, add_generation_prompt=True)
            prompt.append(len(tokenizer(rendered, add_special_tokens=False)["input_ids"]))
            answer.append(len(tokenizer(written, add_special_tokens=False)["input_ids"]) + 1)
            if window["record"]["clauses"]:
                answered.append(answer[-1])
        record, target = merged(parts), merged(targets)
        whole = merged([{"clauses": {name: [text[a:b]]}} for name, a, b in spans])
        of_windows.append(metrics.span_counts(target, record))
        of_contract.append(metrics.span_counts(whole, record))
        clauses.append(metrics.clause_counts(target, record))
    return {
        "span_f1": metrics.f1(of_windows),
        "span_f1_whole": metrics.f1(of_contract),
        "clause_f1": metrics.f1(clauses),
        "prompt": metrics.mean(prompt),
        "answer": metrics.mean(answer),
        "answered": metrics.mean(answered),
        "p95": metrics.percentile(answered, 0.95),
        "longest": max(a + b for a, b in zip(prompt, answer, strict=True)),
    }


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--split", choices=("train", "test"), default="train")
    args, cfg = config.read(p, argv)
    entries = files.read_json(cfg.datasets_dir / "cuad" / f"{args.split}.json")["data"]
    contracts = [prepare.contract_spans(entry["paragraphs"][0]) for entry in entries]
    tokenizer = base_model.tokenizer(cfg.train.base_model, cfg.base_dir, cfg.cache_dir)
    data = cfg.data
    print(f"{len(contracts)} {args.split} contracts; windows of {data.window_chars}, overlap {data.window_overlap}")
    print("{windows} windows, {empty} without a clause; of {quotes} quotes {torn} are whole in no window\n".format(
        **seen(contracts, data)
    ))  # fmt: skip
    print("unit       quotes  exact  Jaccard>=.5  one unit   units  median  p95 characters")
    for unit in sentences.UNITS:
        c = coverage(contracts, unit)
        print(
            f"{unit:10} {c['quotes']:6} {c['exact']:6.3f} {c['near']:12.3f} {c['single']:9.3f} {c['units']:7} "
            f"{c['median']:7} {c['p95']:4}"
        )
    print("\nunit      span F1  whole contract  clause F1  prompt  answer  with clauses  p95  longest row")
    for unit in sentences.UNITS:
        sentences.UNIT = unit
        r = reach(contracts, data, tokenizer)
        print(
            f"{unit:9} {r['span_f1']:7.3f} {r['span_f1_whole']:15.3f} {r['clause_f1']:10.3f} "
            f"{r['prompt']:7.0f} {r['answer']:7.1f} {r['answered']:13.1f} {r['p95']:4} {r['longest']:12}"
        )
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
