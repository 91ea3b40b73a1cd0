"""The first look at contracts: its weights from contracts with known clauses, and what it loses on others.

    python -m benchmarks.first_look --train data/gpu/datasets/cuad/train.json   # writes the weights
    python -m benchmarks.first_look --test data/gpu/datasets/cuad/test.json     # what is lost
    python -m benchmarks.first_look --test data/datasets/cuad/test.json --model gguf --limit 5

With --model, every contract is read twice: in windows of all its text, one after the other, and as it is by default.
Its record is scored against the quotes of the whole contract. Seconds are of the model alone, as ratios.

The files are CUAD's (python download_datasets.py --profile gpu has all of it), packed by gzip or not. A sentence is to
be read if a labeled clause covers it. A logistic regression on the words and pairs of words of each sentence, with an
L1 penalty, says how likely that is.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import config
import prepare_training_data as prepare
from benchmarks import shared
from extraction import files, stage, steps
from extraction.models import backends, choice
from extraction.reading import documents
from extraction.scoring import metrics
from extraction.tasks import first_look, records, schemas, sentences

FEWEST = 15  # sentences that a word must stand in
SMALLEST = 0.05  # weight that is kept
PENALTY, EPOCHS, BATCH, RATE = 2e-5, 4, 2048, 0.02
THRESHOLDS = (-4.0, -3.7, -3.5, first_look.THRESHOLD, -3.0, -2.7)


def contracts(path: Path) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """Text and labeled spans of each contract of a file."""
    return [prepare.contract_spans(entry["paragraphs"][0]) for entry in json.loads(shared.read(path))["data"]]


def labeled(text: str, spans: list[tuple[str, int, int]]) -> list[tuple[frozenset[str], bool]]:
    """The words of each sentence, and whether a clause covers it."""
    units, covered = sentences.split(text), set()
    for _, start, end in spans:
        first, last = sentences.covering(units, start, end)
        covered |= {*range(first, last + 1)}
    return [(first_look.words(text[a:b]), i in covered) for i, (a, b) in enumerate(units)]


def fit(rows: list[tuple[frozenset[str], bool]]) -> dict:
    """The weights of words by the rows of all sentences."""
    import torch

    torch.manual_seed(0)
    counts = Counter(word for words, _ in rows for word in words)
    place = {word: i for i, word in enumerate(sorted(word for word, n in counts.items() if n >= FEWEST))}
    known = [torch.tensor([place[word] for word in sorted(words) if word in place]) for words, _ in rows]
    wanted = torch.tensor([float(is_covered) for _, is_covered in rows])
    weights = torch.nn.EmbeddingBag(len(place), 1, mode="sum")
    bias = torch.nn.Parameter(torch.tensor([-2.0]))
    weights.weight.data.zero_()
    optimizer = torch.optim.Adam([weights.weight, bias], lr=RATE)
    order = list(range(len(rows)))
    for _ in range(EPOCHS):
        random.Random(0).shuffle(order)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            lengths = torch.tensor([0, *(len(known[i]) for i in batch[:-1])])
            scores = weights(torch.cat([known[i].long() for i in batch]), lengths.cumsum(0))[:, 0] + bias
            loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, wanted[batch])
            optimizer.zero_grad()
            (loss + PENALTY * weights.weight.abs().sum()).backward()
            optimizer.step()
        optimizer.param_groups[0]["lr"] /= 2
    found = {word: round(float(weights.weight[i, 0].detach()), 2) for word, i in place.items()}
    kept = {word: weight for word, weight in found.items() if abs(weight) >= SMALLEST}
    return {"bias": round(float(bias.detach()[0]), 2), "words": kept}


def lost(found: list[tuple[str, list[tuple[str, int, int]]]], threshold: float) -> list[str]:
    """A row of the table: how much of the text is read, and how much of what is labeled."""
    characters = read = 0
    quotes: list[bool] = []
    categories: dict[tuple[int, str], bool] = {}
    for number, (text, spans) in enumerate(found):
        units = sentences.split(text)
        likely = first_look.likely(text, units, threshold)
        characters += len(text)
        read += sum(b - a for (a, b), is_likely in zip(units, likely, strict=True) if is_likely)
        for category, start, end in spans:
            first, last = sentences.covering(units, start, end)
            quotes.append(sum(likely[first : last + 1]) >= (last + 1 - first) / 2)
            categories[number, category] = categories.get((number, category), False) or quotes[-1]
    shares = read / characters, sum(quotes) / len(quotes), sum(categories.values()) / len(categories)
    return [f"{threshold:g}", *(f"{share:.1%}" for share in shares)]


# --- with a model --------------------------------------------------------------------------------------------


@dataclass
class Way:
    """How contracts are read, and what came of it."""

    name: str
    backend: backends.Backend
    look_first: bool
    windows: int = 0
    tokens: int = 0
    written: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    clauses: list[tuple[int, int, int]] = field(default_factory=list)
    quotes: list[tuple[int, int, int]] = field(default_factory=list)

    def read(self, text: str, target: dict, cfg: config.Config) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        shown = steps.Shown(documents.Document(text), schemas.CONTRACT)
        asked = steps.ask(shown, schemas.CONTRACT, (), self.backend, cfg.data, self.look_first)
        answers = self.backend.complete([one.request(cfg.inference.choose) for one in asked])
        self.wall, self.cpu = self.wall + time.monotonic() - wall, self.cpu + time.process_time() - cpu
        readings = steps.read(shown, asked, answers)
        record = records.build(records.merge(schemas.CONTRACT, [reading.leaves or () for reading in readings]))
        self.windows += len(asked)
        self.tokens += sum(answer.prompt_tokens - answer.cached_tokens for answer in answers)
        self.written += sum(answer.completion_tokens for answer in answers)
        self.clauses.append(metrics.clause_counts(target, record))
        self.quotes.append(metrics.span_counts(target, record))

    def row(self, first: Way) -> list[str]:
        ratios = (f"{now / before:.2f}" for now, before in ((self.wall, first.wall), (self.cpu, first.cpu)))
        scores = (f"{metrics.f1(counts) * 100:.1f}" for counts in (self.clauses, self.quotes))
        return [self.name, *map(str, (self.windows, self.tokens, self.written)), *scores, *ratios]


def compare(cfg: config.Config, model: str, found: list[tuple[str, list[tuple[str, int, int]]]]) -> str:
    """The table of both ways; each contract is read in one way and then in the other."""
    one = replace(cfg, inference=replace(cfg.inference, at_once=1))
    ways = [
        Way("windows of all its text, one at a time", choice.choose(one, model).open(), False),
        Way(f"the first look, {cfg.inference.at_once} windows at once", choice.choose(cfg, model).open(), True),
    ]
    heads = ("read as", "windows", "prompt tokens", "written", "clause F1", "span F1", "seconds", "CPU seconds")
    for number, (text, spans) in enumerate(found, start=1):
        quotes = [records.leaves({"clauses": {name: [text[a:b]]}}) for name, a, b in spans]
        target = records.build(records.merge(schemas.CONTRACT, quotes))
        for way in ways:
            way.read(text, target, cfg)
        print(f"{number} of {len(found)}: {[way.row(ways[0]) for way in ways]}", file=sys.stderr)
    return files.markdown_table(heads, [way.row(ways[0]) for way in ways])


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--train", type=Path, metavar="FILE", help="contracts to fit the weights on")
    p.add_argument("--test", type=Path, metavar="FILE", help="contracts to measure on")
    p.add_argument("--model", help="with --test: a GGUF build that reads them (gguf, FILE.gguf)")
    p.add_argument("--limit", type=int, metavar="N", help="with --model: N contracts, evenly over the file")
    args, cfg = config.read(p, argv)
    if not args.train and not args.test:
        p.error("name a file with --train or --test")
    if args.model and not args.test:
        p.error("--model needs --test FILE")
    if args.train:
        rows = [row for contract in contracts(args.train) for row in labeled(*contract)]
        made = fit(rows)
        text = ",\n".join(f"    {json.dumps(word)}: {weight}" for word, weight in sorted(made["words"].items()))
        files.write_text(first_look.FILE, f'{{\n  "bias": {made["bias"]},\n  "words": {{\n{text}\n  }}\n}}\n')
        print(f"{len(made['words']):,} weights of {len(rows):,} sentences: {first_look.FILE}", file=sys.stderr)
        first_look.weights.cache_clear()
    if args.model:
        found = contracts(args.test)
        count = min(args.limit or len(found), len(found))
        print(compare(cfg, args.model, [found[i * len(found) // count] for i in range(count)]), end="")
    elif args.test:
        found = contracts(args.test)
        print(f"{len(found)} contracts, {sum(len(spans) for _, spans in found):,} labeled quotes\n")
        rows = [lost(found, threshold) for threshold in THRESHOLDS]
        print(files.markdown_table(("threshold", "text read", "quotes in it", "categories in it"), rows), end="")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
