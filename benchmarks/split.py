"""Are the documents in a bundle of pages told apart, and is a single document left whole?

    python -m benchmarks.split
    python -m benchmarks.split --seed 11 --singles FOLDER -o docs/results/split.json

Sixty bundles of two to six documents, each of one to four pages (see `benchmarks.bundles`), are written as PDFs and
read again. A boundary is right if a document begins at the page where one does. Totals are mixed where one record would
be made of two documents with a total, in silence if no problem names the pages. Single documents are the ones that the
bundles are made of, the sample PDFs, whole contracts of data/samples, and the PDFs of --singles: none may be cut.
The weights in `extraction.splitting` were fitted on the seeds 1 and 3.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks import bundles, shared
from extraction import files, splitting
from extraction.reading import documents
from extraction.reading.limits import Limits

LIMITS = Limits(max_pages=60, page_seconds=900)


def measure(sources: list[bundles.Source]) -> Counter:
    """What is right and wrong of one bundle."""
    data, counts = bundles.pdf(sources)
    starts = [1 + sum(counts[:n]) for n in range(len(counts))]
    parts = splitting.split(documents.read(data, LIMITS))
    found = {part.numbers[0] for part in parts}
    missed, wrong = set(starts) - found, found - set(starts)
    seen = Counter(bundles=1, documents=len(starts), pages=sum(counts), boundaries=len(starts) - 1)
    seen |= Counter(found=len(set(starts) & found) - 1, wrong=len(wrong), whole=int(not missed and not wrong))
    for part in parts:
        totals = [s.total for s, start in zip(sources, starts, strict=True) if start in part.numbers and s.total]
        if len(totals) > 1:
            seen["named" if any(" documents; " in problem for problem in part.problems) else "silent"] += 1
    return seen


def singles(seed: int, folder: Path | None) -> Iterator[tuple[str, Path | bytes]]:
    """Single documents by their kind."""
    maker = bundles.Maker(seed)
    for kind in (kind for kind in bundles.KINDS if kind != "sample"):
        for _ in range(20):
            yield kind, bundles.pdf([maker.document(kind)])[0]
    for _ in range(20):
        yield "whole contract", bundles.pdf([maker.contract(longest=20)])[0]
    for file in maker.files:
        yield "sample PDF", file
    for file in sorted(folder.iterdir()) if folder else []:
        if file.suffix.lower() == ".pdf":
            yield folder.name, file


def main(argv: list[str] | None = None) -> int:
    p = shared.parser(__doc__)
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--bundles", type=int, default=60, metavar="N")
    p.add_argument("--singles", type=Path, metavar="FOLDER", help="PDFs of one document each")
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write the tables as JSON")
    args = p.parse_args(argv)
    if args.singles and not args.singles.is_dir():
        p.error(f"{args.singles} is not there")
    seen = sum((measure(sources) for sources in bundles.bundles(args.bundles, args.seed)), Counter())
    cut: dict[str, Counter] = {}
    for kind, source in singles(args.seed, args.singles):
        document = documents.read(source, LIMITS)
        parts = splitting.split(document)
        noted = any(" documents; " in problem for part in parts for problem in part.problems)
        counts = Counter(n=1, pages=document.pages, cut=int(len(parts) > 1), noted=int(noted))
        cut.setdefault(kind, Counter()).update(counts)
    rows = [
        ["bundles, documents, pages", f"{seen['bundles']}, {seen['documents']}, {seen['pages']}"],
        ["boundaries found", f"{seen['found']} of {seen['boundaries']} ({seen['found'] / seen['boundaries']:.1%})"],
        ["wrong boundaries", str(seen["wrong"])],
        ["bundles wholly right", f"{seen['whole']} of {seen['bundles']}"],
        ["records with two totals, named", str(seen["named"])],
        ["records with two totals, in silence", str(seen["silent"])],
    ]
    for kind, counts in cut.items():
        label = f"single: {kind}, {counts['n']} documents, {counts['pages']} pages"
        rows.append([label, f"{counts['cut']} cut, {counts['noted']} with a note"])
    print(files.markdown_table(["what", "result"], rows), end="")
    if args.output:
        command = f"python -m benchmarks.split --seed {args.seed}" + (" --singles FOLDER" if args.singles else "")
        files.write_json(args.output, {"command": command, "columns": ["what", "result"], "rows": rows})
    return int(bool(seen["silent"]))


if __name__ == "__main__":
    sys.exit(main())
