"""Run the parts of the hardening suite and write their tables to docs/hardening.md.

    python -m tests.hardening                             # every part, as `make hardening` does
    python -m tests.hardening --part faults --seed 3      # one; the tables of the others stay as they are
    python -m tests.hardening --part faults --short       # less of it; shown, and docs/hardening.md stays as it is

Each part is a module of this package with `measure(short, seed)`, which returns what it counted, and `table(found)`.
It runs in a process of its own. What it counted goes to output/benchmarks/hardening/<part>.json.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import config
from extraction import files, stage

PARTS = ("faults", "documents", "injection", "privacy", "load")
REPORT = Path(__file__).resolve().parents[2] / "docs" / "hardening.md"
RESULTS = config.ROOT / "output" / "benchmarks" / "hardening"
HEADING = """# Hardening

What the pipeline survives: faults (killed stages, full disks, damaged files), hostile documents, injected instructions,
leaks of text and secrets, load. `make hardening` (`python -m tests.hardening`) writes every table here; `make test`
runs a short form of the same measurements and fails where a target is missed. The line under each part says what it was
measured on. [SECURITY.md](../SECURITY.md) has the threat model.
"""


def here() -> list[str]:
    return [part for part in PARTS if importlib.util.find_spec(f"tests.hardening.{part}")]


def run(part: str, short: bool, seed: int) -> tuple[Path, str]:
    """Measure a part. Returns the file with what was counted, and its section of the report."""
    module = importlib.import_module(f"tests.hardening.{part}")
    started = time.monotonic()
    found = module.measure(short, seed)
    about = {
        "part": part,
        "form": "short" if short else "full",
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = files.write_json(RESULTS / f"{part}{'.short' if short else ''}.json", {**about, "found": found})
    return path, f"{module.table(found).strip()}\n\n{measured(about)}\n"


def measured(about: dict) -> str:
    return (
        f"_{about['form'].capitalize()} form, seed {about['seed']}, {about['seconds']:,.0f} s on {about['date']}, "
        f"commit {about['commit']}; {about['machine']}, Python {about['python']}._"
    )


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it."""
    asked = ["git", "-C", str(config.ROOT), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    found = subprocess.run(asked, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def with_section(report: str, part: str, section: str) -> str:
    """The report with this section of a part, in the order of PARTS; the other sections as they are."""
    found = dict(re.findall(r"<!-- part (\w+) -->\n(.*?)<!-- end -->\n", report, re.S))
    found[part] = section
    return HEADING + "".join(f"\n<!-- part {p} -->\n{found[p]}<!-- end -->\n" for p in PARTS if p in found)


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--part", choices=here(), help="only this one")
    p.add_argument("--short", action="store_true", help="the form that the tests run; docs/hardening.md stays as it is")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the random moments and bytes (default: 0)")
    args = p.parse_args(argv)
    if args.part is None:
        failed = [part for part in here() if subprocess.run([*_command(args), "--part", part]).returncode]
        if failed:
            print(f"error: these parts came to no result: {', '.join(failed)}", file=sys.stderr)
        return int(bool(failed))

    path, section = run(args.part, args.short, args.seed)
    print(section, flush=True)
    print(f"counts: {path}", file=sys.stderr)
    if not args.short:
        old = REPORT.read_text(encoding="utf-8") if REPORT.is_file() else ""
        print(f"report: {files.write_text(REPORT, with_section(old, args.part, section))}", file=sys.stderr)
    return 0


def _command(args: argparse.Namespace) -> list[str]:
    short = ["--short"] if args.short else []
    return [sys.executable, "-m", "tests.hardening", "--seed", str(args.seed), *short]


if __name__ == "__main__":
    stage.run_stage(main)
