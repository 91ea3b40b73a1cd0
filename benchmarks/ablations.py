"""What does each kind of training row bring, and each setting of training?

    python -m benchmarks.ablations --set train.device=cuda                        # all variants, on a CUDA GPU
    python -m benchmarks.ablations --set train.device=cuda --variant reference --variant no-general    # and no table
    python -m benchmarks.ablations --prepare      # only rows and base model, which need no GPU
    python -m benchmarks.ablations --table        # only the table of what is finished

The reference has the settings of the shipped adapter, on rows that stage 2 makes of data/samples and the generator. A
variant leaves out one kind of rows or changes one setting, and stage 3 trains it from the base model in as many steps.
Then each answers test rows, and documents of the generator that none was trained on, by what costs little: given the
right answer up to each token, how likely is the next one? A row is right if every token of its answer is the likeliest.
Differences are paired, with intervals over documents; another-seed shows what the order of the rows does by chance.
A finished variant is kept. After `--prepare` several processes may train different variants at once.

Writes  output/benchmarks/ablations/   NAME.json with each row's loss, ablations.json and ablations.md, rows/, datasets/
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import config
import download_datasets
import train_moe
from benchmarks import general, learning_curve
from extraction import files, handoff, stage
from extraction.models import base_model
from extraction.models.rows import encode_row, take_turns
from extraction.scoring import metrics
from extraction.tasks import completions, prompts, schemas
from extraction.training import batches

# About 1.6 million tokens of rows. Training has the rest from the cpu profile, as the shipped adapter: ranks 32 and 12,
# the router trained.
SETTINGS = (
    "data.generate.receipt=220 data.generate.invoice=140 data.generate.letter=80 data.variations.cord=6"
    " data.variations.tatqa=2 data.more_questions=0.5 data.general=0.4 data.own_fields=0.3 data.inject=0.05"
    " data.questions_per_document=6 train.max_seq_length=2048 train.init_adapter=null train.learning_rate=6e-4"
    " train.warmup_ratio=0.1 train.batch_size=8 train.eval_rows=24"
).split()
EXPERTS = "train.lora_targets=attention+experts train.train_router=false train.expert_lora_rank=32"
VARIANTS = {
    "reference": "",
    "experts": EXPERTS,
    "quarter-by-use": f"{EXPERTS} train.experts_share=0.25",
    "quarter-by-chance": f"{EXPERTS} train.experts_share=0.25 train.experts_by=chance",
    "attention": "train.lora_targets=attention train.train_router=false",
    "another-seed": "train.seed=1",
    "no-own-fields": "data.own_fields=0",
    "no-general": "data.general=0",
    "no-more-questions": "data.more_questions=0",
    "no-injections": "data.inject=0",
    "no-variations": "data.variations.cord=0 data.variations.tatqa=0",
    "no-generated": "data.generate.receipt=0 data.generate.invoice=0 data.generate.letter=0",
    "half-learning-rate": "train.learning_rate=3e-4",
    "double-learning-rate": "train.learning_rate=1.2e-3",
    "router-not-trained": "train.train_router=false",
    "rank-16": "train.lora_rank=16 train.lora_alpha=32 train.expert_lora_rank=6",
    "shared-1280": "train.shared_width=1280",
    "shared-3584": "train.shared_width=3584",
}
AGAINST = dict.fromkeys(("quarter-by-use", "quarter-by-chance", "attention"), "experts")  # others: the reference
ASKED = (
    "data.datasets=cord data.max_documents=1 data.eval_fraction=0.01 data.seed=8101 data.generate.receipt=60"
    " data.generate.invoice=45 data.generate.letter=30 data.variations.cord=0 data.variations.tatqa=0"
    " data.more_questions=1 data.general=1 data.own_fields=1 data.inject=0"
)
PROBES = {"probes": ASKED, "probes-injected": f"{ASKED} data.inject=1"}  # rows that nothing is trained on
MOST = 120  # rows with an injected instruction; of other kinds all are asked
TOKENS = 16_384  # that are read at a time
TESTS = {"receipt": "test receipts", "contract": "test windows of contracts", "question": "test questions"}
INTERVAL = "{value:+.3f} ({low:+.3f} to {high:+.3f})"
SCORES = {
    "loss": ("Loss of an answer's token, nats", INTERVAL),
    "right": ("Rows right as a whole, percent", INTERVAL.replace("3f", "1f")),
}


def options_of(common: list[str], cfg: config.Config, name: str) -> tuple[list[str], config.Config]:
    """The arguments of the stages for a variant, or for probe rows; and the settings that these are."""
    out = Path(cfg.output.dir) / "benchmarks" / "ablations"
    own = VARIANTS.get(name, PROBES.get(name)).split()
    rows = name if any(item.startswith("data.") for item in own) else "reference"
    items = [*common, *own, f"data.datasets_dir={out / 'datasets'}"]
    items += [f"data.training_dir={out / 'rows' / rows}", f"output.dir={out / 'runs' / name}"]
    options = ["--profile", cfg.profile, *(part for item in items for part in ("--set", item))]
    return options, config.read(config.parser(""), options)[1]


def asked_rows(reference: Path, probes: Path, injected: Path) -> list[dict]:
    """The rows that every variant answers, each with its `kind`."""
    plain, attacked = (
        [row for row in files.read_jsonl(folder / "train.jsonl") if row["source"] == "generated"]
        for folder in (probes, injected)
    )
    kinds: dict[str, list[dict]] = {}
    for row in [*files.read_jsonl(reference / "test.jsonl"), *plain]:
        kinds.setdefault(kind_of(row), []).append(row)
    usual = {row["id"]: row for row in kinds.pop("usual")}
    kinds["no document"] = list(no_documents())
    kinds["injected"] = take_turns(row for row in attacked if row["id"] in usual and "injected" in row)[:MOST]
    kinds["the same, not injected"] = [usual[row["id"]] for row in kinds["injected"]]
    return [{**row, "kind": kind} for kind, rows in kinds.items() for row in rows]


def kind_of(row: dict) -> str:
    """What a row asks for. Stage 2 puts more questions behind a document's record and its one question."""
    if row["source"] != "generated":
        return TESTS[row["task"]]
    if row["task"] == "custom":
        return "fields of one's own"
    if row["task"] == "general":
        return "no document, as trained" if row["target"]["document_type"] == general.NONE else "general instruction"
    if row["task"] != "question" or "/letter/" in row["id"] or int(row["id"].rsplit("#")[-1]) < 2:
        return "usual"
    return "more questions" if row["target"]["answers"] else "more questions, no answer"


def no_documents() -> Iterator[dict]:
    """Texts that are no documents, and that training rows do not take theirs from."""
    answer = completions.completion({"document_type": general.NONE})
    for one in general.no_documents():
        messages = prompts.messages(schemas.GENERAL, one["text"])
        completion = [{"role": "assistant", "content": answer}]
        yield {"id": one["name"], "document": one["document"], "prompt": messages, "completion": completion}


def measure(cfg: config.Config, rows: list[dict]) -> list[dict]:
    """What the trained adapter makes of the rows, in the precision that it was trained in."""
    import torch

    start = dataclasses.replace(cfg.train, init_adapter=str(cfg.adapter_dir))
    model = train_moe.load_model(dataclasses.replace(cfg, train=start)).eval()
    found = forced(model, base_model.tokenizer(cfg.train.base_model, cfg.base_dir), rows, cfg.train.device)
    del model
    torch.cuda.empty_cache()  # the next variant is trained in another process
    return found


def forced(model: Any, tokenizer: Any, rows: list[dict], device: str) -> list[dict]:
    """For each row the loss of its answer, summed over the tokens, and whether each of them is the likeliest."""
    import torch

    inner = model.get_base_model()
    encoded = [encode_row(tokenizer, row) for row in rows]
    found: dict[int, dict] = {}
    for batch in batches.TokenBatches([len(prompt) + len(answer) for prompt, answer in encoded], TOKENS, seed=0):
        ids = [torch.tensor(sum(encoded[i], [])) for i in batch]
        ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id).to(device)
        places = torch.arange(ids.shape[1], device=device).expand(ids.shape)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            hidden = inner.model(input_ids=ids, position_ids=places, use_cache=False).last_hidden_state
            for states, i in zip(hidden, batch, strict=True):
                (prompt, answer), row = encoded[i], rows[i]
                logits = inner.lm_head(states[len(prompt) - 1 : len(prompt) + len(answer) - 1]).float()
                wanted = torch.tensor(answer, device=device)
                loss_ = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
                found[i] = {key: row[key] for key in ("id", "kind", "document")} | {"loss": round(loss_, 5)}
                found[i] |= {"tokens": len(answer), "right": bool((logits.argmax(-1) == wanted).all())}
    return [found[i] for i in range(len(rows))]


def run(options: list[str], cfg: config.Config, usual: config.Config, rows: list[dict]) -> dict:
    """Train a variant, and measure it. It has the profile's base model, unless its own is of other sizes."""
    same = train_moe.base_settings(cfg.train) == train_moe.base_settings(usual.train)
    if same and usual.base_dir.is_dir() and not cfg.base_dir.exists():
        cfg.output_dir.mkdir(parents=True, exist_ok=True)
        cfg.base_dir.symlink_to(usual.base_dir.resolve(), target_is_directory=True)
    learning_curve.run("train_moe", options)
    last = [entry for entry in files.read_jsonl(cfg.adapter_dir / train_moe.LOG) if "tokens" in entry][-1]
    trained = files.read_json(cfg.adapter_dir / "training_result.json")
    trained |= {key: last[key] for key in ("tokens", "epoch", "peak_gib") if key in last}
    found = {"training": trained, "rows": measure(cfg, rows)}
    shutil.rmtree(cfg.output_dir.parent)
    return found


def loss(documents: Sequence[list[dict]]) -> float:
    rows = [row for document in documents for row in document]
    return sum(row["loss"] for row in rows) / sum(row["tokens"] for row in rows)


def right(documents: Sequence[list[dict]]) -> float:
    return 100 * metrics.mean([row["right"] for document in documents for row in document])


def compare(rows: list[dict], others: list[dict], samples: int) -> dict[str, dict]:
    """For each kind of rows: how many, the scores of both, and the paired difference over documents."""
    found: dict[str, dict] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        documents: dict[str, list] = {}
        for mine, other in zip(rows, others, strict=True):
            if mine["kind"] == kind:
                documents.setdefault(mine["document"], []).append((mine, other))
        this, that = ([[pair[side] for pair in pairs] for pairs in documents.values()] for side in (0, 1))
        found[kind] = {"rows": sum(map(len, this)), "documents": len(this)}
        for metric in (loss, right):
            difference = metrics.paired(metric, this, that, samples)
            found[kind][metric.__name__] = {"this": metric(this), "other": metric(that), "difference": difference}
    return found


def lines_of(results: dict[str, dict], samples: int) -> list[dict]:
    """A line for each variant that what it is compared with is finished for, with all else in common."""
    lines = []
    for name, result in results.items():
        against = AGAINST.get(name, "reference")
        other = results.get(against, {"made_of": {}})
        if all(other["made_of"].get(key) == result["made_of"][key] for key in ("common", "asked")):
            kinds = compare(result["rows"], other["rows"], samples)
            lines.append({"variant": name, "against": against, "training": result["training"], "kinds": kinds})
    return lines


def table(lines: list[dict]) -> str:
    """For each score a table: the values of the reference, and of each other variant the differences."""
    shown = ""
    for score, (title, form) in SCORES.items() if lines else ():
        kinds = lines[0]["kinds"]
        heads = ["variant", "settings", "tokens", "compared with", *(f"{k} ({n['rows']})" for k, n in kinds.items())]
        rows = []
        for line in lines:
            name, against, values = line["variant"], line["against"], [line["kinds"][kind][score] for kind in kinds]
            cells = [f"{v['this']:.3g}" if name == against else form.format(**v["difference"]) for v in values]
            tokens = f"{line['training']['tokens'] / 1e6:.2f} M"
            rows.append([name, VARIANTS[name], tokens, "" if name == against else against, *cells])
        shown += f"{title}; of all but the reference the difference\n\n{files.markdown_table(heads, rows)}\n"
    return shown


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--variant", action="append", choices=VARIANTS, metavar="NAME", help=", ".join(VARIANTS))
    p.add_argument("--steps", type=int, default=96, metavar="N", help="optimizer steps of each variant (default: 96)")
    only = p.add_mutually_exclusive_group()
    only.add_argument("--prepare", action="store_true", help="make the rows and the base model, and train nothing")
    only.add_argument("--table", action="store_true", help="write the table of the variants that are finished")
    args, cfg = config.read(p, argv)
    out = config.ROOT / cfg.output.dir / "benchmarks" / "ablations"
    if not args.table:
        train(args, cfg, out)
    if args.prepare or args.variant:
        return 0
    paths = {name: out / f"{name}.json" for name in VARIANTS}
    results = {name: files.read_json(path) for name, path in paths.items() if path.is_file()}
    lines = lines_of(results, cfg.evaluate.bootstrap_samples)
    files.write_json(out / "ablations.json", lines)
    print(files.write_text(out / "ablations.md", table(lines)).read_text(encoding="utf-8"), end="")
    return 0


def train(args: Any, cfg: config.Config, out: Path) -> None:
    """Make the rows of the variants, and, unless that is all, train and measure those that are not finished."""
    names = args.variant or list(VARIANTS)
    common = [*SETTINGS, f"train.max_steps={args.steps}", f"train.eval_steps={args.steps}", *args.overrides]
    made = {name: options_of(common, cfg, name) for name in dict.fromkeys(["reference", *PROBES, *names])}
    if download_datasets.main(made["reference"][0]):
        raise files.StageError("the samples could not be read")
    for options in {own.training_dir: options for options, own in made.values()}.values():
        learning_curve.run("prepare_training_data", options)
    train_moe.ensure_base(cfg)
    if args.prepare:
        return
    asked = asked_rows(*(made[name][1].training_dir for name in ("reference", *PROBES)))
    made_of = {"common": [item for item in common if not item.startswith("train.device=")]}
    made_of["asked"] = files.fingerprint(asked)
    for name in names:
        options, own = made[name]
        rows = handoff.require(own.training_dir, made_by="prepare_training_data.py")["fingerprint"]
        now, path = {**made_of, "own": VARIANTS[name], "rows": rows}, out / f"{name}.json"
        if not path.is_file() or files.read_json(path)["made_of"] != now:
            files.write_json(path, {"made_of": now, **run(options, own, cfg, asked)})
        print(f"{name}: {path}", flush=True)


if __name__ == "__main__":
    stage.run_stage(main)
