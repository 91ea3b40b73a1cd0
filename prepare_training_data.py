"""Stage 2 of 7: turn the raw datasets into training rows.

Reads   data/datasets/{cord,cuad,docvqa,tatqa}/, data/datasets/own/   made by download_datasets.py
Writes  data/training/    train.jsonl, eval.jsonl, test.jsonl, stats.json, stats.png, manifest.json; schemas.json
Next    python train_moe.py

    python prepare_training_data.py
    python prepare_training_data.py --set data.generate.receipt=500     # more synthetic documents
    python prepare_training_data.py --set data.datasets_dir=/my/data --set data.training_dir=/my/rows
    python prepare_training_data.py --set data.own=data/own             # with documents of your own; docs/own.md
    python prepare_training_data.py --set data.own=data/own --set data.replay=0    # on these alone

A row holds the prompt as messages, the completion we want, and the target record. Published test splits stay whole;
a document is only ever in one split; what is left out is counted by reason in stats.json.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import cord, files, handoff, stage
from extraction.formats import plain
from extraction.models import base_model
from extraction.models.rows import encode_row
from extraction.preparing import duplicates, labeled, statistics
from extraction.preparing.sources import SPLITS, Sources, chosen
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.synthetic import general, generate, injected, own, questions, variations
from extraction.tasks import completions, custom, own_types, prompts, records, schemas, sentences

STAGE = "prepare_training_data"
MAX_ANSWER = schemas.QUESTION.schema["properties"]["answer"]["maxLength"]  # characters


# --- documents: {"id", "source", "rows": [{"task", "text", "question", "record", "answers"}], "text"} ----------


def from_cord(folder: Path, data: config.DataConfig, sources: Sources) -> None:
    """Receipts with the gold words as text, one question about each, and `data.variations` of those for training."""
    truths: dict[str, dict] = {}
    for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True):
        for number, row in enumerate(files.read_jsonl(folder / f"{name}.jsonl")):
            if data.max_documents is not None and number >= data.max_documents:
                sources.leave_out("cord", split, "beyond data.max_documents")
                continue
            truth = json.loads(row["ground_truth"])
            if cord.to_cord(cord.from_cord(truth["gt_parse"])) != truth["gt_parse"]:
                sources.leave_out("cord", split, "its tree cannot be mapped without loss")
                continue
            made = cord_receipt(row["id"], truth, data.seed, with_words=split != "train")
            sources.add(split, made)
            if split == "train":
                ask_items(made, truth, data)
                truths[row["id"]] = truth
    pool = variations.item_words(list(truths.values()))
    for name, truth in truths.items():
        for number in range(1, data.variations.cord + 1):
            draw = random.Random(f"{data.seed}/{name}/{number}")
            varied = variations.of_cord(truth, pool, draw)
            made = cord_receipt(f"{name}~{number}", varied, data.seed)
            ask_items(made, varied, data)
            sources.add("train", made | {"varies": name})


def ask_items(made: dict, truth: dict, data: config.DataConfig) -> None:
    """Of what CORD's labels leave out, some is printed: so no question without an answer is asked here."""
    draw = random.Random(f"{data.seed}/{made['id']}/more")
    if draw.random() < data.more_questions:
        asked = questions.about_an_item(cord.from_cord(truth["gt_parse"]), draw)
        made["rows"] += [{"task": "question", "text": made["text"], **asked}] if asked else []


def values_of(record: dict) -> list[str]:
    return [leaf.value.strip() for leaf in records.leaves(record)]


def cord_receipt(name: str, truth: dict, seed: int, with_words: bool = False) -> dict:
    document, gold = cord.gold_words(truth)
    made = receipt(name, "cord", document.text, cord.from_cord(truth["gt_parse"]), seed)
    if with_words:
        made["rows"][0]["words"] = cord.words_of(document, gold)
    return made


def receipt(name: str, source: str, text: str, record: dict, seed: int) -> dict:
    """A receipt as a document: its record with a summary, and one question that the record answers."""
    record = completions.ordered(schemas.RECEIPT, record)
    rows = [with_summary(schemas.RECEIPT, text, record)]
    answers = [(path, value) for path, value in leaves(record) if path in questions.RECEIPT_QUESTIONS]
    if answers:
        draw = random.Random(f"{seed}/{name}")
        path, value = draw.choice(answers)
        rows.append({"task": "question", "text": text, "question": draw.choice(questions.RECEIPT_QUESTIONS[path])})
        rows[-1]["answers"] = [value]
    return {"id": name, "source": source, "text": text, "rows": rows}


def leaves(record: dict) -> list[tuple[str, str]]:
    """The fields of a record as (path, value), without positions in lists."""
    return [(records.without_positions(leaf.path), leaf.value) for leaf in records.leaves(record)]


def with_summary(task: schemas.Task, text: str, record: dict) -> dict:
    return {"task": task.name, "text": text, "record": {**record, "summary": records.summarize(task, record)}}


def from_cuad(folder: Path, data: config.DataConfig, sources: Sources) -> None:
    """Contracts in windows. Some training contracts become the eval split. Eval and test keep every window, as a
    contract is read; of those for training that have no clause, `data.negative_ratio` says how many stay."""
    contracts = {name: files.read_json(folder / f"{name}.json")["data"] for name in ("train", "test")}
    if data.max_documents is not None:
        for name, entries in contracts.items():
            sources.leave_out("cuad", name, "beyond data.max_documents", max(len(entries) - data.max_documents, 0))
            contracts[name] = entries[: data.max_documents]
    held_out = chosen((entry["title"] for entry in contracts["train"]), data.eval_fraction, data.seed)
    for name, entries in contracts.items():
        for entry in entries:
            split = "eval" if entry["title"] in held_out else name
            text, spans = contract_spans(entry["paragraphs"][0])
            rows = list(contract_windows(text, spans, data, sources, split))
            if split == "train":
                rows = balance(rows, data.negative_ratio, f"{data.seed}/{entry['title']}", sources, split)
                rows += list(ask_terms(rows, data, entry["title"]))
            made = {
                "id": f"cuad/{name}/{entry['title']}",
                "source": "cuad",
                "text": text,
                "rows": rows,
                "clauses": spans,
            }
            sources.add(split, made)


def ask_terms(windows: list[dict], data: config.DataConfig, title: str) -> Iterator[dict]:
    draw = random.Random(f"{data.seed}/{title}/more")
    for window in windows:
        if draw.random() < data.more_questions:
            for asked in questions.about_a_contract(window["record"]["clauses"], draw):
                yield {"task": "question", "text": window["text"], **asked}


def contract_spans(paragraph: dict) -> tuple[str, list[tuple[str, int, int]]]:
    """A contract's text without its layout, and its labeled spans `(category, start, end)` in that text.

    White space is all that `prose` changes, so the n-th printed character stays the n-th printed character.
    """
    original, text = paragraph["context"], layout.prose(paragraph["context"])
    printed_before = [0]
    for character in original:
        printed_before.append(printed_before[-1] + (not character.isspace()))
    place = [i for i, character in enumerate(text) if not character.isspace()]
    spans = []
    for question in paragraph["qas"]:
        category = question["id"].rsplit("__", 1)[-1]
        for answer in question["answers"]:
            first = printed_before[answer["answer_start"]]
            last = printed_before[answer["answer_start"] + len(answer["text"])]
            if last > first:
                spans.append((category, place[first], place[last - 1] + 1))
    return text, spans


def contract_windows(
    text: str, spans: list[tuple[str, int, int]], data: config.DataConfig, sources: Sources, split: str
) -> Iterator[dict]:
    """One row per window: the target are the quotes that it holds, the answer is what we want the model to write."""
    for start, end in layout.windows(text, data.window_chars, data.window_overlap):
        window = text[start:end]
        units = sentences.split(window)
        clauses: dict[str, list[str]] = {}
        answer: dict[str, list[str]] = {}
        for category, a, b in spans:
            visible_start, visible_end = max(a, start), min(b, end)
            visible = visible_end - visible_start
            if visible <= 0:
                continue
            if visible < (b - a) / 2 and visible < data.window_overlap / 2:
                sources.leave_out("cuad", split, "quote mostly in the neighboring window")
                continue
            quote = text[visible_start:visible_end].strip()
            if not quote or quote in clauses.setdefault(category, []):
                continue
            clauses[category].append(quote)
            if category in schemas.QUOTED:
                written = shortened(quote, data.max_quote_chars)
                if written != quote:
                    sources.leave_out("cuad", split, "end of a long quote, in the answer")
            else:
                first, last = sentences.covering(units, visible_start - start, visible_end - start)
                written = f"{first + 1}-{last + 1}" if last > first else str(first + 1)
            if written in answer.setdefault(category, []):
                sources.leave_out("cuad", split, "quote that another of its category already answers")
            elif len(answer[category]) == schemas.MAX_QUOTES:
                sources.leave_out("cuad", split, f"quote beyond {schemas.MAX_QUOTES} of a category, in the answer")
            else:
                answer[category].append(written)
        record, answer = (
            {"clauses": {name: found[name] for name in found if found[name]}} for found in (clauses, answer)
        )
        yield {"task": "contract", "text": window, "record": record, "answer": answer}


def shortened(quote: str, chars: int) -> str:
    return quote if len(quote) <= chars else quote[:chars].rsplit(None, 1)[0]


def balance(rows: list[dict], negative_ratio: float, seed: str, sources: Sources, split: str) -> list[dict]:
    """All windows with a clause, and `negative_ratio` times as many without (at least one)."""
    empty = [i for i, row in enumerate(rows) if not row["record"]["clauses"]]
    stay = max(1, round(negative_ratio * (len(rows) - len(empty))))
    dropped = set(random.Random(seed).sample(empty, max(len(empty) - stay, 0)))
    if dropped:
        sources.leave_out("cuad", split, "window without a clause, beyond data.negative_ratio", len(dropped))
    return [row for i, row in enumerate(rows) if i not in dropped]


def from_tatqa(folder: Path, data: config.DataConfig, sources: Sources) -> None:
    """Report pages (a table and its paragraphs) with the questions whose answer is printed on them."""
    for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True):
        path = folder / f"{name}.json"
        contexts = files.read_json(path) if path.is_file() else []
        if data.max_documents is not None:
            sources.leave_out("tatqa", split, "beyond data.max_documents", max(len(contexts) - data.max_documents, 0))
            contexts = contexts[: data.max_documents]
        for context in contexts:
            name_ = f"tatqa/{context['table']['uid']}"
            sources.add(split, tatqa_page(name_, context, data, sources, split))
            for number in range(1, data.variations.tatqa + 1 if split == "train" else 1):
                varied = variations.of_tatqa(context, random.Random(f"{data.seed}/{name_}/{number}"))
                made = tatqa_page(f"{name_}~{number}", varied, data, sources, split)
                sources.add(split, made | {"varies": name_})


def tatqa_page(name: str, context: dict, data: config.DataConfig, sources: Sources, split: str) -> dict:
    paragraphs = sorted(context["paragraphs"], key=lambda p: p["order"])
    text = plain.table(context["table"]["table"]) + "\n\n" + "\n".join(p["text"] for p in paragraphs)
    asked = []
    for question in context["questions"]:
        if question["answer_type"] not in ("span", "multi-span"):
            sources.leave_out("tatqa", split, f"answer is not printed ({question['answer_type']})")
            continue
        answer = ", ".join(map(str, question["answer"]))
        asked.append({"question": question["question"], "answers": [answer]})
    made = page(name, "tatqa", text, asked, data, sources, split) | {"table": context["table"]["table"]}
    draw = random.Random(f"{data.seed}/{name}/more")
    if split == "train" and draw.random() < data.more_questions:
        more = questions.about_a_table(context["table"]["table"], draw)
        made["rows"] += page(name, "tatqa", text, more, data, sources, split)["rows"]
    return made


def from_docvqa(folder: Path, data: config.DataConfig, sources: Sources) -> None:
    """Scanned pages with their OCR words. The published validation split is the test split: test has no answers."""
    texts = {}
    for row in files.read_jsonl(folder / "pages.jsonl"):
        words = [Word(text, (left, top, right, bottom)) for text, left, top, right, bottom in row["words"]]
        texts[row["document"]] = layout.layout(words).text
    for split, name in (("train", "train"), ("test", "validation")):
        pages: dict[str, list[dict]] = defaultdict(list)
        for row in files.read_jsonl(folder / f"{name}.jsonl"):
            pages[row["document"]].append({"question": row["question"], "answers": row["answers"]})
        held_out = chosen(pages, data.eval_fraction, data.seed) if split == "train" else set()
        for number, (document, asked) in enumerate(pages.items()):
            place = "eval" if document in held_out else split
            if data.max_documents is not None and number >= data.max_documents:
                sources.leave_out("docvqa", place, "beyond data.max_documents", len(asked))
            else:
                sources.add(place, page(f"docvqa/{document}", "docvqa", texts[document], asked, data, sources, place))


def page(
    name: str, source: str, text: str, asked: list[dict], data: config.DataConfig, sources: Sources, split: str
) -> dict:
    """A page as a document: a row per question. In training the answer must stand in the text that is shown."""
    rows = []
    for entry in asked:
        shown = layout.best_window(text, entry["question"], data.window_chars, data.window_overlap)
        answers = entry["answers"]
        if split != "test":
            answers = [answer for answer in answers if printed(answer, shown)]
            if entry["answers"] and not answers:
                sources.leave_out(source, split, "answer is not in the text shown")
                continue
            if answers and len(answers[0]) > MAX_ANSWER:
                sources.leave_out(source, split, f"answer longer than {MAX_ANSWER} characters")
                continue
        rows.append({"task": "question", "text": shown, "question": entry["question"], "answers": answers})
    if split != "test" and data.questions_per_document is not None and len(rows) > data.questions_per_document:
        sources.leave_out(source, split, "beyond data.questions_per_document", len(rows) - data.questions_per_document)
        rows = random.Random(f"{data.seed}/{name}").sample(rows, data.questions_per_document)
    return {"id": name, "source": source, "text": text, "rows": rows}


def printed(answer: str, text: str) -> bool:
    """Whether the text holds the answer, or each of the parts of one that lists several; white space and case aside.

    A part of a longer number or word does not count: "5" is not printed in "15", "5.2" or "1,500".
    """
    flat = " ".join(text.casefold().split())
    whole = " ".join(answer.casefold().split())
    return stands_in(whole, flat) or all(stands_in(part, flat) for part in whole.split(", "))


def stands_in(part: str, text: str) -> bool:
    number, letter = r"\d", r"[^\W\d_]"
    before = rf"(?<!{number})(?<!\d[.,])" if re.match(number, part) else rf"(?<!{letter})"
    after = rf"(?!{number}|[.,]\d)" if re.search(rf"{number}$", part) else rf"(?!{letter})"
    before, after = before * bool(re.match(r"\w", part)), after * bool(re.search(r"\w$", part))
    return re.search(before + re.escape(part) + after, text) is not None


def from_generator(data: config.DataConfig, sources: Sources) -> None:
    """Synthetic receipts, invoices and letters, for training and eval only."""
    for kind, count in asdict(data.generate).items():
        held_out = max(1, round(count * data.eval_fraction)) if count else 0
        for number, made in enumerate(generate.documents(kind, count, data.seed)):
            split = "eval" if number < held_out else "train"
            text = layout.layout([Word(w[0], tuple(w[1:])) for w in made["words"]]).text
            if not all(generate.holds(text, value) for _, value in leaves(made["record"])):
                sources.leave_out("generated", split, "the layout tears a value")
                continue
            if kind == "letter":
                record = completions.ordered(schemas.DOCUMENT, made["record"])
                rows = [with_summary(schemas.DOCUMENT, text, record)]
                rows += [
                    {"task": "question", "text": text, "question": asked["question"], "answers": [asked["answer"]]}
                    for asked in made["questions"]
                ]
                sources.add(split, {"id": made["id"], "source": "generated", "text": text, "rows": rows})
            else:
                made_receipt = receipt(made["id"], "generated", text, made["record"], data.seed)
                share = data.more_questions if split == "train" else 0
                made_receipt["rows"] += questions.more(made["record"], text, share, f"{data.seed}/{made['id']}")
                sources.add(split, made_receipt)


READERS = {"cord": from_cord, "cuad": from_cuad, "tatqa": from_tatqa, "docvqa": from_docvqa}


# --- rows ----------------------------------------------------------------------------------------------------


def with_injections(documents_: list[dict], share: float, seed: int, sources: Sources) -> None:
    """Put an instruction to a machine into the text of about this share of the rows. Their targets stay."""
    for document in documents_:
        for number, row in enumerate(document["rows"]):
            draw = random.Random(f"{seed}/{document['id']}#{number}/order")
            if draw.random() >= share:
                continue
            instruction = injected.instruction(row["task"], row["text"], draw)
            if row["task"] == "contract":
                text = injected.behind(row["text"], instruction)
            else:
                values = row["answers"] if "answers" in row else [value for _, value in leaves(row["record"])]
                text = injected.within(row["text"], instruction, values, draw)
            if text is None:
                sources.not_injected += 1
            else:
                row |= {"text": text, "injected": instruction}


def to_rows(document: dict) -> Iterator[dict]:
    """Training rows: the prompt exactly as the model will see it, and the answer we want."""
    for number, row in enumerate(document["rows"]):
        task = task_of(row)
        target = {"answers": row["answers"]} if task is schemas.QUESTION else row["record"]
        yield {
            "id": f"{document['id']}#{number}",
            "document": document["id"],
            "task": task.name,
            "source": document["source"],
            **({"form": schemas.CONTRACT_FORM} if task is schemas.CONTRACT else {}),
            **{key: row[key] for key in ("words", "injected", "template") if key in row},
            "prompt": prompts.messages(task, row["text"], row.get("question")),
            "completion": [{"role": "assistant", "content": answer_of(row, task)}],
            "target": target,
        }


def task_of(row: dict) -> schemas.Task:
    if "template" in row:
        return custom.task_of(row)
    return schemas.GENERAL if row["task"] == schemas.GENERAL.name else schemas.TASKS[row["task"]]


def answer_of(row: dict, task: schemas.Task) -> str:
    """What we want the model to write."""
    if isinstance(task, custom.CustomTask):  # every field is written, null where the document has none
        return json.dumps(task.whole(row["record"]), ensure_ascii=False, separators=(",", ":"))
    if task is schemas.QUESTION:
        return completions.completion({"answer": row["answers"][0]} if row["answers"] else {})
    return completions.completion(row.get("answer", row["record"]))


def count_tokens(rows: list[dict], tokenizer: Any) -> None:
    """Add `tokens` = {"prompt", "completion"} to each row, as the base model's tokenizer counts them."""
    from tqdm import tqdm

    for row in tqdm(rows, desc="counting tokens", unit="row", disable=None):
        prompt, answer = encode_row(tokenizer, row)
        row["tokens"] = {"prompt": len(prompt), "completion": len(answer)}


def fitting(rows: list[dict], split: str, limit: int, sources: Sources) -> list[dict]:
    """Without the training and eval rows that are longer than the model is trained on. Test rows all stay."""
    if split == "test":
        return rows
    kept = []
    for row in rows:
        if sum(row["tokens"].values()) <= limit:
            kept.append(row)
        else:
            sources.leave_out(row["source"], split, f"{row['task']} row longer than train.max_seq_length")
    return kept


# --- the stage -----------------------------------------------------------------------------------------------


def checked_own(cfg: config.Config, name: str, folder: Path) -> dict:
    """The manifest of own documents. Raises StageError if they have changed since stage 1 read them."""
    download = cfg.command("download_datasets")
    manifest = handoff.require(cfg.own_datasets_dir / name, made_by=download)
    if manifest["inputs"].get("documents") != own_types.contents(folder):
        raise files.StageError(f"{folder} has changed since its documents were read. Run: {download}")
    return manifest


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--force", action="store_true", help="make the rows again even if nothing changed")
    args, cfg = config.read(p, argv)
    download = cfg.command("download_datasets")
    inputs = {name: handoff.require(cfg.datasets_dir / name, made_by=download) for name in cfg.data.datasets}
    own_folders = own_types.folders(cfg.own_dir) if cfg.own_dir else {}
    inputs |= {f"own/{name}": checked_own(cfg, name, folder) for name, folder in own_folders.items()}
    settings = {
        "profile": cfg.profile,
        "base_model": cfg.train.base_model,
        "max_seq_length": cfg.train.max_seq_length,
        **asdict(cfg.data),
        "contract_form": schemas.CONTRACT_FORM,
    }
    if not args.force and handoff.is_current(cfg.training_dir, stage=STAGE, settings=settings, inputs=inputs):
        print(f"[2/7] {cfg.training_dir} is already there")
        return 0

    out = handoff.begin(cfg.training_dir)
    sources = Sources()
    for name in cfg.data.datasets:
        READERS[name](cfg.datasets_dir / name, cfg.data, sources)
    from_generator(cfg.data, sources)
    for name in own_folders:
        labeled.add(cfg.own_datasets_dir / name, name, cfg.data, sources)
    twins = duplicates.remove(sources, cfg.data.seed)
    general.ask(sources.documents["train"], cfg.data.general, cfg.data.seed)
    own.ask(sources.documents["train"], cfg.data.own_fields, cfg.data.seed)
    with_injections(sources.documents["train"], cfg.data.inject, cfg.data.seed, sources)
    tokenizer = base_model.tokenizer(cfg.train.base_model, cfg.base_dir, cfg.cache_dir)
    splits = {}
    for split in SPLITS:
        rows = [row for document in sources.documents[split] for row in to_rows(document)]
        count_tokens(rows, tokenizer)
        splits[split] = fitting(rows, split, cfg.train.max_seq_length, sources)
        splits[split] = labeled.with_replay(splits[split], split, cfg.data, sources)
        if not splits[split]:
            raise files.StageError(f"no {split} rows are left; python config.py shows the data settings")
    random.Random(cfg.data.seed).shuffle(splits["train"])

    for split, rows in splits.items():
        files.write_jsonl(out / f"{split}.jsonl", rows)
    labeled.write_schemas(out, cfg.own_datasets_dir, own_folders)
    files.write_json(out / "stats.json", statistics.describe(splits, sources, twins))
    statistics.draw(splits, cfg.train.max_seq_length, out / "stats.png")
    handoff.seal(out, stage=STAGE, settings=settings, inputs=inputs)

    print(f"[2/7] {', '.join(f'{len(rows):,} {split}' for split, rows in splits.items())} rows in {cfg.training_dir}")
    print(
        f"      {sum(sources.left_out.values()):,} left out by reason, token lengths and labels: stats.json, stats.png"
    )
    for line in labeled.summary(splits):
        print(f"      {line}")
    print(f"Next: {cfg.command('train_moe')}")
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
