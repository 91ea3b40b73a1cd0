"""What each quantization type costs, in one table: distance, scores with paired intervals, speed, memory, size.

    python -m benchmarks.quality                                       # every build, the first 6 test rows of each task
    python -m benchmarks.quality --rows-per-task 22 --quantization Q8_0,Q4_K_M
    python -m benchmarks.quality --profile gpu --reference Q8_0        # where an F32 build does not fit the memory

Takes base model, adapter and rows of the profile, as stages 2 and 3 made them; exports the base model and the adapter
unquantized, then the adapter in every type, without and with an importance matrix of the training rows; compares all
with the adapter's unquantized build on the answers of eval rows (`export_gguf.py --verify`) and on test rows, scored as
test_moe.py does. Builds and predictions that exist are kept, so an interrupted run resumes.

Merge recovery is how much of what training brought is left in a build, by the loss on those answers: (base model's -
build's) / (base model's - adapter's). 1 is all of it.

Writes  output/<profile>/quality/quality.json and quality.md, and the builds beside them
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import config
import export_gguf
import test_moe
from extraction import files, handoff, stage
from extraction.export import quality
from extraction.models import backends, base_model
from extraction.scoring import scores, tables

TYPES = "Q8_0,Q5_K_M,Q4_K_M,Q3_K_M"
MAIN = {"receipt": "field_f1", "document": "field_f1", "contract": "clause_f1", "question": "anls"}


def build(args: Any, cfg: config.Config, overrides: list[str], folder: Path) -> dict[str, Path]:
    """Export all forms. Returns the files by what the table calls them, the one to compare with first."""
    types = args.quantization.split(",")
    names = [args.reference, *(kind for kind in types if kind != args.reference)]
    weighed = [kind for kind in types if kind != "Q8_0"]  # 8 bits leave a matrix nothing to weigh
    runs = [("adapter", "gguf", names, []), ("base model", "gguf_base", [args.reference], ["--base-only"])]
    if weighed:
        runs.append(("imatrix", "gguf", weighed, ["--set", "export.imatrix=true"]))
    found = {}
    for label, made, kinds, more in runs:
        out = folder / label.replace(" ", "-")
        options = ["--profile", cfg.profile, *(part for item in overrides for part in ("--set", item)), *more]
        if label != "base model":
            options += ["--adapter", str(cfg.adapter_dir)]
        if cfg.base_dir.is_dir():
            options += ["--base", str(cfg.base_dir)]
        options += ["--set", f"export.quantization={','.join(kinds)}", "--set", f"output.dir={out.resolve()}"]
        if export_gguf.main(options):
            raise files.StageError(f"the export of {label} failed")
        for kind in kinds:
            title = {"adapter": f"{kind}", "base model": f"base model, {kind}", "imatrix": f"{kind}, imatrix"}[label]
            file = next((out / cfg.profile / made).glob(f"*-{kind}.gguf"))
            found["adapter, unquantized" if title == args.reference == "F32" else title] = file
    return found


def predictions(path: Path, cfg: config.Config, rows: list[dict], partial: Path) -> list[dict]:
    backend = backends.LlamaBackend(
        path, cfg.inference.context_tokens, cfg.inference.max_new_tokens, cfg.inference.threads
    )
    try:
        return test_moe.predict(rows, backend, partial, cfg)
    finally:
        backend.llm.close()


def table(results: list[dict], rows: int, compared: int) -> str:
    """A Markdown table whose first line is what the others are compared with."""
    tasks_found = list(results[0]["scores"])
    heads = ["build", "MB", "KL divergence", "same next token", "loss", "merge recovery"]
    heads += [f"{task}: {tables.TITLES[MAIN[task]]}, difference (95 %)" for task in tasks_found]
    heads += ["unreadable", "prompt tokens/s", "generated tokens/s", "memory, GiB"]
    lines = []
    for r in results:
        first = r["divergence"] is None
        cells = [r["name"], f"{r['bytes'] / 1e6:,.0f}", "compared with" if first else f"{r['divergence']:.4f}"]
        cells.append("" if first else f"{r['same_next_token']:.1%}")
        cells += [f"{r['loss']:.4f}", f"{r['recovery']:.3f}"]
        for task in tasks_found:
            score = r["scores"][task]
            d = score["difference"]
            apart = "" if first else f", {100 * d['value']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"
            cells.append(f"{100 * score['this']:.1f}{apart}")
        cells += [r["unreadable"], r["prompt_tokens_per_second"], r["generated_tokens_per_second"], r["memory_gib"]]
        lines.append(cells)
    about = (
        f"Distances and loss on the answers of {compared} eval rows, {results[0]['tokens']} tokens; scores on {rows} "
        "test rows, intervals by paired bootstrap over documents. Speed and memory of one process.\n"
    )
    return f"{files.markdown_table(heads, lines)}\n{about}"


def recoveries(losses: dict[str, float]) -> dict[str, float]:
    """Of each build, by its name: the share of what the adapter brought that is left. The first is the adapter's."""
    whole = next(iter(losses.values()))
    base = next(loss for name, loss in losses.items() if name.startswith("base model"))
    return {name: round((base - loss) / (base - whole), 4) for name, loss in losses.items()}


def main(argv: list[str] | None = None) -> int:
    parser = config.parser(__doc__)
    parser.add_argument("--quantization", default=TYPES, metavar="TYPES", help=f"default: {TYPES}")
    parser.add_argument("--reference", default="F32", metavar="TYPE", help="what is compared with (default: F32)")
    parser.add_argument(
        "--rows-per-task", type=int, default=6, metavar="N", help="test rows (default: 6); 0: no scores"
    )
    args, cfg = config.read(parser, argv)
    if args.rows_per_task < 0:
        parser.error(f"--rows-per-task must be at least 0, got {args.rows_per_task}")
    for kind in (args.reference, *args.quantization.split(",")):
        if kind not in config.QUANTIZATION_TYPES:
            parser.error(f"unknown quantization type {kind}: {', '.join(config.QUANTIZATION_TYPES)}")
    handoff.require(cfg.training_dir, made_by=cfg.command("prepare_training_data"))
    handoff.require(cfg.adapter_dir, made_by=cfg.command("train_moe"))
    folder = cfg.output_dir / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    paths = build(args, cfg, args.overrides, folder)

    tokenizer = base_model.tokenizer(cfg.train.base_model, cfg.base_dir)
    encoded = export_gguf.encoded_rows(cfg, tokenizer)
    rows = test_moe.select(test_moe.read_rows(cfg.training_dir / "test.jsonl")[0], args.rows_per_task)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        threads = cfg.inference.threads or os.cpu_count() or 1
        measured = quality.measure(list(paths.values()), encoded, Path(work), threads)
    recovered = recoveries({name: found["loss"] for name, found in zip(paths, measured, strict=True)})
    results: list[dict] = []
    first: list[dict] = []
    for (name, path), found in zip(paths.items(), measured, strict=True):
        made_from = handoff.manifest_of(path.parent)["fingerprint"]
        answered = files.fingerprint([made_from, path.name, [row["id"] for row in rows]])
        made = predictions(path, cfg, rows, folder / f"{answered}.jsonl") if rows else []
        first = first or made
        compared = scores.compare(made, first, cfg.evaluate.bootstrap_samples)
        of_tasks = {task: found[MAIN[task]] for task, found in compared.items()}
        unreadable = sum(entry["record"] is None for entry in made)
        results.append(
            {"name": name, **found, "recovery": recovered[name], "scores": of_tasks, "unreadable": unreadable}
        )
    files.write_json(folder / "quality.json", {"rows": len(rows), "compared": len(encoded), "results": results})
    files.write_text(folder / "quality.md", table(results, len(rows), len(encoded)))
    print(table(results, len(rows), len(encoded)), end="")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
