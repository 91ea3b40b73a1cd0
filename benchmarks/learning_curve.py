"""How many documents of one's own are needed: the same test documents after learning from 0, 5, 20, 50 and 100.

    python -m benchmarks.learning_curve data/own
    python -m benchmarks.learning_curve data/own --sizes 0,10,20 --set data.replay=1
    python -m benchmarks.learning_curve data/own --model adapter --set train.device=cuda    # no GGUF builds in between

Each size is a run of stages 2, 3, 6 and 4 as data.own sets them up, always from the adapter that training begins with;
0 is that adapter itself. A size that is finished is kept. Every record must be final: a test document that is corrected
later makes all sizes be measured again. Curves of folders of different names may run at once.

Writes  output/learning_curve/NAME/   NAME is the folder's; curve.json, curve.md and curve.svg hold scores, and nothing
                                      of the documents; the predictions of each size are in PROFILE/sizes
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import config
import download_datasets
from extraction import files, handoff, stage
from extraction.models import choice
from extraction.models.rows import OWN
from extraction.scoring import scores, tables

SIZES = "0,5,20,50,100"
MAIN = {"receipt": "field_f1", "document": "field_f1", "contract": "clause_f1", "question": "anls"}


def run(name: str, options: list[str], *more: object) -> None:
    """A stage in a process of its own, which gives its memory back. Raises StageError if it fails."""
    done = subprocess.run([sys.executable, f"{name}.py", *options, *map(str, more)], cwd=config.ROOT)
    if done.returncode:
        raise files.StageError(f"{name}.py ended with status {done.returncode}; what it said stands above")


def put_start(cfg: config.Config) -> None:
    """Put the adapter that training begins with where a trained one would lie."""
    with handoff.alone(cfg.adapter_dir):
        shutil.rmtree(cfg.adapter_dir, ignore_errors=True)
        shutil.copytree(cfg.init_adapter_dir, cfg.adapter_dir)


def make_model(options: list[str], cfg: config.Config, learned: list[str], model: str) -> None:
    """Stages 3 and 6 for the prepared rows; with nothing learned, the adapter that training begins with."""
    if learned:
        run("train_moe", options, *learned)
    elif model == "adapter":
        put_start(cfg)
    if model == "adapter":
        return
    base = ("--base", cfg.base_dir) if cfg.base_dir.is_dir() else ()
    run("export_gguf", options, *(() if learned else ("--adapter", cfg.init_adapter_dir, *base)))


def measure(options: list[str], cfg: config.Config, size: int, model: str) -> dict:
    """The number of own documents that were learned from, and the predictions of the test rows."""
    learned = ["--set", f"data.own_documents={max(size, 1)}"]
    run("prepare_training_data", options, *learned)
    rows = [row for split in ("train", "eval") for row in files.read_jsonl(cfg.training_dir / f"{split}.jsonl")]
    count = len({row["document"] for row in rows if row["source"].startswith(OWN)}) if size else 0
    path = cfg.output_dir / "sizes" / f"{count}.json"
    tested = files.sha256(cfg.training_dir / "test.jsonl")
    made_of = {"test": tested, "options": options, "start": cfg.train.init_adapter, "model": model}
    if path.is_file() and files.read_json(path)["made_of"] == made_of:
        return files.read_json(path)
    make_model(options, cfg, learned if size else [], model)
    run("test_moe", options, "--model", model)
    predictions = list(files.read_jsonl(cfg.evaluation_dir / choice.choose(cfg, model).label / "predictions.jsonl"))
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {"made_of": made_of, "documents": count, "predictions": predictions})
    return files.read_json(path)


def curve(measured: list[dict], samples: int) -> dict[str, list[dict]]:
    """For each task the main score by documents learned from, and the paired differences to none and to the most."""
    first, last = measured[0]["predictions"], measured[-1]["predictions"]
    found: dict[str, list[dict]] = {}
    for one in measured:
        scored = scores.score(one["predictions"], samples)
        to_first, to_last = (scores.compare(one["predictions"], other, samples) for other in (first, last))
        for task, entry in scored.items():
            metric = MAIN.get(task, "field_f1")
            point = {"documents": one["documents"], "n": entry["documents"], "metric": metric}
            point |= {"score": entry["metrics"][metric], "gain": to_first[task][metric]["difference"]}
            found.setdefault(task, []).append(point | {"to_the_most": to_last[task][metric]["difference"]})
    return found


def sentence(task: str, points: list[dict]) -> str:
    """What follows from the curve of an own document type."""
    first, last, n = points[0], points[-1], points[0]["n"]
    title = tables.TITLES[last["metric"]]
    said = f"{task}: {title} rises from {100 * first['score']['value']:.1f} ({first['documents']} documents) to "
    said += f"{100 * last['score']['value']:.1f} ({last['documents']})"
    if last["gain"]["low"] <= 0:
        return f"{said}, which is no difference that {n} test documents can show."
    enough = next(point for point in points if point["to_the_most"]["high"] >= 0)
    if enough is last:
        before = points[-2]["documents"]
        return f"{said}; it still rises between {before} and {last['documents']} documents: label more."
    return f"{said}; beyond {enough['documents']} documents, {n} test documents show no further gain."


def table(found: dict[str, list[dict]]) -> str:
    lines = ["| task | score | documents learned from | test documents | score (95 %) | gain, paired |"]
    lines.append("|---|---|---|---|---|---|")
    for task, points in found.items():
        for p in points:
            cells = [task, tables.TITLES[p["metric"]], str(p["documents"]), str(p["n"])]
            lines.append(f"| {' | '.join([*cells, tables.cell(p['score']), tables.cell(p['gain'], '+')])} |")
    return "\n".join(lines) + "\n"


def draw(found: dict[str, list[dict]], own: list[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for task in sorted(found, key=lambda task: task not in own):
        points = found[task]
        values = [100 * p["score"]["value"] for p in points]
        margins = [[abs(100 * (p["score"][side] - p["score"]["value"])) for p in points] for side in ("low", "high")]
        style: dict[str, Any] = {"marker": "o"} if task in own else {"linestyle": ":", "alpha": 0.6}
        axes.errorbar(range(len(points)), values, yerr=margins, capsize=4, label=task, **style)
        axes.set_xticks(range(len(points)), [str(p["documents"]) for p in points])
    axes.set_ylim(0, 102)
    axes.set_xlabel("own documents learned from")
    axes.set_ylabel("score of the test documents, 95 % intervals")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("folder", metavar="FOLDER", help="documents of your own, as for data.own")
    p.add_argument("--sizes", default=SIZES, metavar="N,N", help=f"documents to learn from (default: {SIZES})")
    p.add_argument(
        "--model",
        default="gguf",
        choices=("gguf", "adapter"),
        help="what is scored: a build of each size (default), or the adapter itself",
    )
    args, cfg = config.read(p, argv)
    try:
        sizes = sorted({int(part) for part in args.sizes.split(",")}, key=lambda size: (size == 0, size))
    except ValueError:
        p.error(f"--sizes {args.sizes}: write whole numbers with commas between them")
    out = config.ROOT / cfg.output.dir / "learning_curve" / Path(args.folder).resolve().name
    own = [f"data.own={Path(args.folder).resolve()}", f"output.dir={out}", f"data.datasets_dir={out / 'datasets'}"]
    own += [f"data.training_dir={out / 'training'}", f"export.quantization={cfg.inference.quantization}"]
    options = ["--profile", cfg.profile, *(part for item in [*args.overrides, *own] for part in ("--set", item))]
    cfg = config.read(config.parser(""), options)[1]
    if 0 in sizes and cfg.init_adapter_dir is None:
        p.error("--sizes 0 is the adapter that training begins with; here it begins with the base model")
    if download_datasets.main(options):
        return 2
    measured = {one["documents"]: one for one in (measure(options, cfg, size, args.model) for size in sizes)}
    if len(measured) < 2:
        raise files.StageError("a curve needs two sizes; there are too few labeled documents for more than one")
    found = curve([measured[count] for count in sorted(measured)], cfg.evaluate.bootstrap_samples)
    types = [task for task in found if task not in MAIN]
    said = [sentence(task, found[task]) for task in types]
    files.write_json(out / "curve.json", found)
    files.write_text(out / "curve.md", table(found) + "\n" + "\n".join(said) + "\n")
    draw(found, types, out / "curve.svg")
    print(table(found), *said, f"Picture: {out / 'curve.svg'}", sep="\n")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
