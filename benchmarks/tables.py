"""The tables of README and docs that come from a run, written from the result files in docs/results/.

    python -m benchmarks.tables                         # write every marked table again
    python -m benchmarks.tables --from output/cpu/evaluation/gguf-IQ4_NL evaluation --column "tuned model, all rows"
    python -m benchmarks.tables --from output/benchmarks/training.md training --command "python -m benchmarks.training"
    python -m benchmarks.checks | python -m benchmarks.tables --from - checks

A marked table stands between `<!-- table NAME: command -->` and `<!-- end -->` and shows docs/results/NAME.json, which
holds the command of the run, the columns and the rows. NAME.VIEW shows a part of it: the file's "views" list rows by
their first cells, and columns.

--from takes the folder of an evaluation or Markdown (- for stdin). An evaluation fills one column: the rows are those
the file has, matched by task and metric. From Markdown, the tables replace the named files in their order.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import config
from benchmarks import shared
from extraction import files, stage
from extraction.scoring import tables as evaluation

RESULTS = config.ROOT / "docs" / "results"
MARKED = re.compile(r"<!-- table ([\w.]+): .*? -->\n.*?<!-- end -->", re.S)


def documents() -> list[Path]:
    """The documents that may hold marked tables."""
    root = config.ROOT
    return [root / "README.md", *sorted(root.glob("docs/*.md")), *sorted(root.glob("data/*/README.md"))]


def rendered(name: str) -> str:
    """The marked table of a name, as it has to stand in a document."""
    base, _, view = name.partition(".")
    result = files.read_json(RESULTS / f"{base}.json")
    columns, rows = result["columns"], result["rows"]
    if view:
        part = result["views"][view]
        rows = [_row(rows, first) for first in part["rows"]]
        places = [columns.index(column) for column in part["columns"]]
        columns, rows = part["columns"], [[row[place] for place in places] for row in rows]
    lines = "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *rows))
    command = result["command"]
    return f"<!-- table {name}: {command} -->\n{lines}\n\nCommand: `{command}`\n<!-- end -->"


def _row(rows: list[list[str]], first: list[str]) -> list[str]:
    for row in rows:
        if row[: len(first)] == first:
            return row
    raise files.StageError(f"no row begins with {' | '.join(first)}")


def written(text: str) -> str:
    """A document with its marked tables as the result files say."""
    return MARKED.sub(lambda found: rendered(found[1]), text)


def markdown_tables(text: str) -> list[dict]:
    """The tables of a Markdown text: `{"columns": [...], "rows": [[...]]}` each."""
    found = []
    for block in re.findall(r"(?:^\|.*\|[ ]*\n)+", text + "\n", re.M):
        header, _, *rows = [_cells(line) for line in block.splitlines()]
        found.append({"columns": header, "rows": rows})
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def with_evaluation(old: dict | None, metrics: dict, column: str) -> dict:
    """The result with the scores of an evaluation in one column; without an old result, with all rows of its report."""
    table = evaluation.tables([metrics])[0]
    scores = {(row[0], row[1]): row[2] for row in table.rows}
    old = old or {"columns": table.header[:2], "rows": [list(key) for key in scores]}
    columns = old["columns"] if column in old["columns"] else [*old["columns"], column]
    place = columns.index(column)
    rows = []
    for row in old["rows"]:
        row = [*row, *[""] * (len(columns) - len(row))]
        row[place] = scores.get((row[0], row[1]), "")
        rows.append(row)
    return old | {"columns": columns, "rows": rows}


def take(source: str, names: list[str], column: str | None, command: str | None) -> None:
    """Bring the result of a run into the result files of these names."""
    old = {name: files.read_json(RESULTS / f"{name}.json") for name in names if (RESULTS / f"{name}.json").is_file()}
    if Path(source, "metrics.json").is_file():
        metrics = files.read_json(Path(source, "metrics.json"))
        new = [with_evaluation(old.get(names[0]), metrics, column or metrics["label"])]
    else:
        new = markdown_tables(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
    if len(new) < len(names):
        raise files.StageError(f"{source} has {len(new)} tables for {len(names)} names")
    for name, result in zip(names, new, strict=False):
        kept = old.get(name, {})
        said = command or kept.get("command")
        if not said:
            raise files.StageError(f"docs/results/{name}.json is new: say with --command what made it")
        _write(RESULTS / f"{name}.json", {**kept, **result, "command": said})


def _write(path: Path, result: dict) -> None:
    """One row of the table a line, so that a change of one figure is a change of one line."""
    rows = ",\n".join("    " + files.json_text(row) for row in result["rows"])
    parts = [f'  "{key}": {files.json_text(value)}' for key, value in result.items() if key != "rows"]
    files.write_text(path, "{\n" + ",\n".join([*parts, f'  "rows": [\n{rows}\n  ]']) + "\n}\n")


def main(argv: list[str] | None = None) -> int:
    p = shared.parser(__doc__)
    p.add_argument("--from", dest="source", metavar="RUN", help="take the result of a run: FOLDER, FILE.md or -")
    p.add_argument("names", nargs="*", metavar="NAME", help="with --from: the result files to write")
    p.add_argument("--column", help="with --from FOLDER: the column to fill (default: the model's label)")
    p.add_argument("--command", help="with --from: the command of the run (needed once for a new file)")
    args = p.parse_args(argv)
    if bool(args.source) != bool(args.names):
        p.error("--from RUN needs the NAME of a result file, and a NAME needs --from")
    if args.source:
        take(args.source, args.names, args.column, args.command)
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := written(text)) != text:
            print(f"written: {files.write_text(path, new)}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
