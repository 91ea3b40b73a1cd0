"""Inputs that nobody would think of, for what reads strangers' data: each must give a result or its own refusal.

python -m tests.hardening.fuzz --seconds 600            # make fuzz
python -m tests.hardening.fuzz --seconds 60 --only reader
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import hypothesis
from hypothesis import strategies as st

import config
from extraction import files
from extraction.evidence import checks, grounding, values
from extraction.files import StageError
from extraction.formats import unpaged
from extraction.page import view
from extraction.reading import documents, layout
from extraction.reading.limits import DocumentError, Limits
from extraction.reading.words import placed
from extraction.runs import results
from extraction.tasks import completions, custom, detection, prompts, records, schemas, sentences
from tests.hardening import hostile_files

SLOW = 30.0  # seconds; an input that takes longer is a failure, but of the reader, which has limits of its own


@dataclass(frozen=True)
class Target:
    """`check` raises for an input of `inputs` that is not dealt with as it must be."""

    inputs: st.SearchStrategy
    check: Callable[[Any], None]
    at_once: int = 100  # executions between two looks at the clock
    slow: float = SLOW


def _writable(value: Any) -> None:
    """JSON that any reader takes and any UTF-8 file holds."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


# --- inputs --------------------------------------------------------------------------------------------------

EVERY_TASK = [*schemas.TASKS.values(), custom.parse('{"a": "", "b": [{"c": "", "d": ["x", "y"]}]}', "fuzz")]
ODD = "\0\x1b\ud800\udcff\u202e\u200b\u0301\ufeff\U0001f600\ufdfaß١²½"
anything = st.text() | st.text(st.characters(categories=None) | st.sampled_from(ODD))
printed = st.text(st.sampled_from("0123456789.,'’ -−()%$€RpXJanuaryMärz/:\n\u00a0\u202f١²½"), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[schemas.Task, str]:
    """A task and an answer to it: right, cut off, altered, of another task, or no answer at all."""
    task = draw(st.sampled_from(EVERY_TASK))
    right = draw(_of_schema(task.schema))
    text = draw(
        st.just(json.dumps(right)) | st.just(completions.completion(right)) | json_values.map(json.dumps) | anything
    )
    kind = draw(st.sampled_from(("whole", "cut", "altered", "repeated", "nested")))
    if kind == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    elif kind == "altered" and text:
        at = draw(st.integers(0, len(text) - 1))
        text = text[:at] + draw(anything) + text[at + draw(st.integers(0, 3)) :]
    elif kind == "repeated":
        text *= draw(st.integers(2, 50))
    elif kind == "nested":
        text = draw(st.sampled_from(("[", '{"a":', '{"line_items":[', "[{}", '"'))) * draw(st.integers(1, 5000)) + text
    return task, text


def _of_schema(schema: dict) -> st.SearchStrategy:
    if "anyOf" in schema:
        return st.one_of(map(_of_schema, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        inner = {name: _of_schema(s) for name, s in schema["properties"].items()}
        if len(inner) > 12:  # of the 41 kinds of clauses a few
            return st.dictionaries(st.sampled_from(sorted(inner)), st.nothing(), max_size=0) | st.sampled_from(
                sorted(inner)
            ).flatmap(lambda name: st.fixed_dictionaries({name: inner[name]}))
        return st.fixed_dictionaries({}, optional=inner)
    if schema["type"] == "array":
        return st.lists(_of_schema(schema["items"]), max_size=3)
    if schema["type"] == "null":
        return st.none()
    if "pattern" in schema:
        return st.integers(0, 120).map(str) | st.just("3-9")
    return st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | printed.map(lambda text: text[:60])


# --- what must hold ------------------------------------------------------------------------------------------


def _record_parser(given: tuple[schemas.Task, str]) -> None:
    task, text = given
    reading = completions.parse(task, text, [prompts.Sentence("One."), prompts.Sentence("Two.")])
    assert (reading.record is None) <= (reading.problem is not None)
    if reading.record is not None:
        _writable(reading.record)
        assert [leaf.path for leaf in reading.leaves] == [leaf.path for leaf in records.leaves(reading.record)]
        if task in (schemas.RECEIPT, schemas.CONTRACT, schemas.DOCUMENT):
            records.summarize(task, reading.record)
        if task not in (schemas.DOCUMENT, schemas.CONTRACT):  # whose entries lose a key that is empty, or are pointers
            again = completions.parse(task, completions.completion(reading.record))
            assert again.record == reading.record and again.problem is None
        checks.check(reading.record, task)


def _json_closer(given: tuple[Any, float]) -> None:
    value, share = given
    whole = json.dumps(value)
    closed, cut = completions.close_json(whole)
    assert cut is None and closed == json.loads(whole, parse_int=str, parse_float=str)  # numbers as they are written
    part = whole[: int(len(whole) * share)]
    try:
        closed, cut = completions.close_json(part)
    except ValueError:
        assert not part or type(value) not in (dict, list) or "\\ud" in part  # half a character, which is no text
    else:
        assert type(value) not in (dict, list) or (type(closed) is type(value) and cut is not None)


def _settings(given: tuple[str, str, str]) -> None:
    profile, name, value = given
    try:
        changed = config.override(config.PROFILES[profile], f"{name}={value}")
    except config.ConfigError:
        return
    _writable(
        {name: repr(value) if isinstance(value, str) else value for name, value in config.settings(changed).items()}
    )


def _own_schema(text: str) -> None:
    try:
        task = custom.parse(text, "fields.json")
    except StageError as error:
        assert "\n" not in str(error) or "\n" in text
        return
    _writable([task.schema, task.instructions])
    reading = completions.parse(task, "{}")
    assert reading.record == {} and task.missing({}) is not None


def _values(text: str) -> None:
    for value in values.readings(text):
        assert value.is_finite()
    for start, end, readings in values.dates(text):
        assert 0 <= start < end <= len(text) and len(readings) <= 2
    values.currency(text)


def _layout(given: list[tuple[str, list[tuple[float, float]]]]) -> None:
    laid = layout.page_layout(placed(text, quad, score=1.0) for text, quad in given)
    for word, (start, end) in zip(laid.words, laid.spans, strict=True):
        assert laid.text[start:end] == word.text == " ".join(word.text.split())
    assert len(laid.words) <= sum(bool(text.strip()) for text, _ in given)
    assert len(laid.words) == sum(bool(text.strip()) for text, _ in given) or laid.aside  # where a phrase stands once
    assert len(laid.text) <= sum(len(text) + 260 for text, _ in given)  # no page has more columns than that
    _writable([word.box for word in laid.words])


def _grounding(given: tuple[schemas.Task, str, int, list[str]]) -> None:
    """A text that says the same again and again, up to the most that is read, and values that it may hold."""
    task, unit, times, found = given
    text = (unit * times)[:200_000]
    fields = ["merchant.name", "total", "date"] if task is schemas.RECEIPT else ["title", "value", "x"]
    record: dict = {}
    for name, value in zip(fields, found, strict=False):
        head, _, tail = name.partition(".")
        record[head] = {tail: value} if tail else value
    if task is schemas.RECEIPT:
        record["line_items"] = [{"description": value, "amount": value} for value in found]
    elif task is schemas.CONTRACT:
        record = {"clauses": {"Parties": found, "Agreement Date": found}}
    for field in grounding.ground(records.leaves(record), task, documents.Document(text)):
        assert field["span"] is None or 0 <= field["span"][0] < field["span"][1] <= len(text)
        _writable(field)


def _windows(text: str) -> None:
    detection.detect(text)
    plain = layout.prose(text)
    spans = layout.windows(plain, 2000, 300)
    assert spans[0][0] == 0 and spans[-1][1] == len(plain)
    assert all(a < b <= a + 2000 for a, b in spans) or not plain
    for a, b in spans[:3]:
        parts = sentences.split(plain[a:b])
        assert "".join(plain[a:b][start:end] for start, end in parts) == plain[a:b]
        shown = prompts.messages(schemas.CONTRACT, plain[a:b])[-1]["content"]
        assert "<|" not in shown and "|>" not in shown
    layout.best_window(plain, text[:100], 2000, 300)


def _text_file(data: bytes) -> None:
    try:
        read = unpaged.read(data, "text", Limits(max_text_chars=1000))
    except DocumentError:
        return
    _writable(read)
    assert len(read["text"]) <= 1000 and not set(map(ord, read["text"])) & (set(range(32)) - {10})


def _result(record: dict, names: tuple[str, str, str]) -> dict:
    """A result object as `inference.extract` makes it."""
    file, problem, question = names
    fields = [
        {
            "path": leaf.path,
            "value": leaf.value,
            "normalized": None,
            "confidence": None,
            "grounding": "none",
            "boxes": [{"page": 1, "left": 0, "top": 0, "right": 1, "bottom": 1}],
        }
        for leaf in records.leaves(record)
    ]
    return {
        "file": file,
        "document_type": "receipt",
        "record": record,
        "summary": problem,
        "answers": [{"question": question, "answer": problem}],
        "fields": fields,
        "checks": [{"rule": question, "verdict": checks.FAILS, "detail": problem}],
        "problems": [problem],
        "timings": {"read": 0.1, "model": 0.2},
    }


def _csv(given: list[tuple[dict, tuple[str, str, str]]]) -> None:
    rows = [{"file": names[0], "summary": names[1], names[2]: names[1]} for _, names in given]
    text = files.csv_text(rows, first=("file",))
    read = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert len(read) == len(rows) + 1 and len({len(line) for line in read}) == 1
    for cell in (cell for line in read for cell in line):
        assert not cell.strip().startswith(("=", "+", "-", "@")), repr(cell)
    for record, names in given:
        result = _result(record, names)
        shown = results.document_table(result)
        assert all(c.isprintable() or c == "\n" for c in shown)
        files.json_text(result).encode()
        assert json.loads(files.json_text(result)) == _through_json(result)
        assert files.shown(names[0]).isprintable()


def _through_json(value: Any) -> Any:
    """The value as JSON can hold it: of two halves of a surrogate pair it makes the character."""
    return json.loads(json.dumps(value))


def _page_view(given: tuple[dict, tuple[str, str, str]]) -> None:
    result = _result(*given)
    shown_view = view.table(result, schemas.RECEIPT.schema)
    assert len(shown_view["rows"]) == len(result["fields"])
    assert view.needing_a_look(result) == 2
    assert len(view.batch_row(result)) == len(view.BATCH_HEADER)
    made = view.exports(result)
    assert json.loads(made["json"]) == json.loads(made["jsonl"]) == _through_json(result)
    read = list(csv.reader(io.StringIO(made["csv"].removeprefix("\ufeff"), newline="")))
    assert len(read) == len(result["fields"]) + 1


@cache
def _small_files() -> list[bytes]:
    """Valid files of every kind, the mothers of what the reader is fuzzed with."""
    pictures = [hostile_files.picture(kind, (64, 24)) for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")]
    table = "<w:tbl><w:tr><w:tc>" + hostile_files.PROSE + "</w:tc><w:tc/></w:tr></w:tbl>"
    files = [hostile_files.letter(), hostile_files.docx(hostile_files.PROSE + table)]
    return [*files, *files, *pictures, hostile_files.RECEIPT.encode("utf-16")]


def _mutated(seed: int) -> bytes:
    """A small valid file with a few bytes changed, cut out, repeated, or put in from another place of it."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(_small_files()))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at, size = chance.randrange(len(data)), chance.choice((1, 1, 2, 4, 40))
        kind = chance.randrange(6)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + size] = chance.randbytes(size)
        elif kind == 2 and len(data) > 100:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size] * chance.choice((1, 2, 100))
        elif kind == 4:
            other = chance.randrange(len(data))
            data[at : at + size] = data[other : other + size]
        else:
            data[at : at + size] = chance.choice((b"\xff" * size, bytes(size), b"9" * size, b"-1", b"1e38", b"\x80"))
    return bytes(data)


def _reader(seed: int) -> None:
    try:
        document = documents.read(_mutated(seed), Limits(page_seconds=10, max_memory_mb=2000))
    except DocumentError as error:
        assert str(error).isprintable() and "crash" not in str(error), error
        return
    _writable([document.text, document.problems, [word.box for word in document.words]])
    assert not any("crash" in problem for problem in document.problems), document.problems


# --- the targets ---------------------------------------------------------------------------------------------

settings_names = st.sampled_from(sorted(config.settings(config.PROFILES["cpu"]))) | anything
settings_values = (
    anything
    | json_values.map(json.dumps)
    | st.sampled_from(("[" * 100_000, "1" * 5000, "1e999", "NaN", "-Infinity", "1" * 400, "-1", "0", "1e308"))
)
keywords = st.sampled_from(
    "type properties items enum required maxLength maxItems anyOf object array string null description a b".split()
)
json_schemas = st.recursive(
    st.none() | st.integers() | keywords | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords | anything, inner, max_size=4),
    max_leaves=20,
)
coordinates = st.floats(-(2.0**100), 2.0**100, width=32) | st.integers(0, 2000).map(float)
points = st.tuples(coordinates, coordinates)
upright = st.tuples(st.integers(0, 600), st.integers(0, 800), st.integers(0, 90), st.integers(0, 20)).map(
    lambda b: [(b[0], b[1]), (b[0] + b[2], b[1]), (b[0] + b[2], b[1] + b[3]), (b[0], b[1] + b[3])]
)
quads = upright | st.lists(points, min_size=4, max_size=4)
own_records = _of_schema(schemas.RECEIPT.schema)
names = st.tuples(anything, anything, anything)
units = st.text(
    st.sampled_from("aA1., \n-:/\"'$§سTOTAL") | st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20
)
repeated = st.tuples(units, st.sampled_from((1, 3, 100, 20_000))).map(lambda pair: (pair[0] * pair[1])[:200_000])

TARGETS = {
    "record parser": Target(answers(), _record_parser),
    "JSON closer": Target(st.tuples(json_values, st.floats(0, 0.99)), _json_closer),
    "settings": Target(st.tuples(st.sampled_from(sorted(config.PROFILES)), settings_names, settings_values), _settings),
    "own schema": Target(json_schemas.map(json.dumps) | anything | settings_values, _own_schema),
    "amounts and dates": Target(printed | anything | repeated, _values),
    "layout and de-skew": Target(st.lists(st.tuples(anything, quads), max_size=30), _layout),
    "grounding": Target(
        st.tuples(
            st.sampled_from((schemas.RECEIPT, schemas.DOCUMENT, schemas.CONTRACT)),
            units,
            st.sampled_from((1, 3, 100, 20_000)),
            st.lists(units | printed.filter(bool), min_size=1, max_size=3),
        ),
        _grounding,
        20,
    ),
    "windows and sentences": Target(anything | repeated, _windows, 20),
    "text files": Target(st.binary() | anything.map(lambda text: text.encode("utf-16", "replace")), _text_file, 50),
    "CSV and tables": Target(st.lists(st.tuples(own_records, names), max_size=4), _csv),
    "page view": Target(st.tuples(own_records, names), _page_view),
    "reader": Target(st.integers(0, 2**40), _reader, 20, 240),
}


def run(target: Target, seconds: float, seed: int) -> dict:
    """Inputs for so many seconds, or until one fails: how many, the longest that one took, and the failure.

    `seconds` of 0 is one round of `at_once` inputs, the same ones for the same seed on every machine.
    """
    executions, slowest, latest, failures = 0, 0.0, None, []
    ends = time.monotonic() + seconds

    def check(given: Any) -> None:
        nonlocal executions, slowest, latest
        latest, executions, started = given, executions + 1, time.monotonic()
        target.check(given)
        took = time.monotonic() - started
        slowest = max(slowest, took)
        assert took < target.slow, f"it took {took:.1f} s"

    while not failures and (executions == 0 or time.monotonic() < ends):
        bounded = hypothesis.settings(
            max_examples=target.at_once,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            print_blob=False,
        )
        try:
            hypothesis.seed(seed)(bounded(hypothesis.given(target.inputs)(check)))()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failures.append(f"{type(error).__name__}: {str(error)[:300]} for {latest!r:.500}")
        seed += 1_000_003
    return {"executions": executions, "slowest": round(slowest, 2), "failures": failures}


def run_all(seconds: float, seed: int, only: str = "") -> dict[str, dict]:
    """Every target for its share of the time; the reader, whose inputs take longest, for three shares."""
    chosen = {name: target for name, target in TARGETS.items() if only in name}
    share = seconds / (len(chosen) + 2 * ("reader" in chosen))
    return {name: run(target, share * (3 if name == "reader" else 1), seed) for name, target in chosen.items()}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=60.0, help="of all targets together (default: 60)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", default="", metavar="TEXT", help="targets with this in their names")
    args = p.parse_args()
    found = run_all(args.seconds, args.seed, args.only)
    for name, target in found.items():
        print(f"{name:24} {target['executions']:9,} executions, slowest {target['slowest']:6.2f} s")
        for failure in target["failures"]:
            print(f"    {failure}")
    return int(any(target["failures"] for target in found.values()))


if __name__ == "__main__":
    sys.exit(main())
