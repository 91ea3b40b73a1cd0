import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

import config
import download_datasets
import prepare_training_data as prepare
from extraction import files, handoff
from extraction.preparing import duplicates
from extraction.reading import layout
from extraction.scoring import metrics
from extraction.tasks import completions, custom, prompts, records, schemas


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Stage 1 and 2 on the bundled samples: the folder of the rows, and the rows by split."""
    root = tmp_path_factory.mktemp("prepared")
    options = options_for(root)
    assert download_datasets.main(options) == 0
    assert prepare.main(options) == 0
    return root, {s: list(files.read_jsonl(root / "training" / f"{s}.jsonl")) for s in prepare.SPLITS}


def options_for(root, *more):
    items = [f"data.datasets_dir={root / 'datasets'}", f"data.training_dir={root / 'training'}"]
    items += [*more, "data.generate.receipt=6", "data.generate.invoice=4", "data.generate.letter=4"]
    return [argument for item in items for argument in ("--set", item)]


def test_every_row_has_the_documented_form_and_its_completion_reads_back_as_the_target(rows):
    for split in prepare.SPLITS:
        assert rows[1][split]
        for row in rows[1][split]:
            more = {"form"} if row["task"] == "contract" else {"words"} & set(row)
            assert set(row) == {"id", "document", "task", "source", "prompt", "completion", "target", "tokens"} | more
            task = schemas.TASKS[row["task"]]
            reading = completions.parse(task, row["completion"][0]["content"], prompts.numbered(task, row["prompt"]))
            assert reading.problem is None and not reading.dropped
            if row["task"] == "question":
                assert reading.record["answer"] in row["target"]["answers"]
            elif row["task"] == "contract":  # answered by its sentences, which are more or less what is wanted
                assert row["form"] == "sentences"
                assert set(reading.record.get("clauses", {})) == set(row["target"]["clauses"])
            else:
                assert reading.record == records.prune(row["target"])


def test_the_official_splits_stay_whole_and_no_document_is_on_both_sides(rows):
    documents_of = {split: {row["document"] for row in found} for split, found in rows[1].items()}
    assert not documents_of["train"] & documents_of["eval"]
    assert not documents_of["train"] & documents_of["test"]
    assert not documents_of["eval"] & documents_of["test"]
    receipts = [r for r in rows[1]["test"] if r["task"] == "receipt"]
    assert len(receipts) == 22
    contracts = files.read_json(rows[0] / "datasets" / "cuad" / "test.json")["data"]
    assert {f"cuad/test/{c['title']}" for c in contracts} <= documents_of["test"]


def test_a_contract_window_never_has_a_quote_that_its_text_does_not_contain(rows):
    quotes = 0
    for split in prepare.SPLITS:
        for row in rows[1][split]:
            if row["task"] == "contract":
                lines = row["prompt"][1]["content"].replace("< |", "<|").split("\n")
                text = " ".join(line.partition("] ")[2] for line in lines)
                for found in row["target"]["clauses"].values():
                    for quote in found:
                        quotes += 1
                        assert " ".join(quote.split()) in text
    assert quotes > 300


def test_the_answer_of_a_contract_points_at_sentences_of_the_window_and_at_little_else_than_the_target(rows):
    quotes, near = 0, 0
    for row in [row for split in prepare.SPLITS for row in rows[1][split] if row["task"] == "contract"]:
        shown, answer = row["prompt"][-1]["content"], row["completion"][0]["content"]
        reading = completions.parse(schemas.CONTRACT, answer, prompts.numbered(schemas.CONTRACT, row["prompt"]))
        found, target = reading.record.get("clauses", {}), row["target"]["clauses"]
        text = " ".join(line.partition("] ")[2] for line in shown.split("\n"))
        for name in target:
            assert all(" ".join(quote.split()) in text for quote in found[name])
            quotes += len(target[name])
            near += sum(max(metrics.jaccard(" ".join(q.split()), f) for f in found[name]) >= 0.5 for q in target[name])
    assert quotes > 300
    assert near / quotes > 0.96


def test_eval_and_test_contracts_keep_every_window_with_and_without_a_clause(rows):
    data = config.PROFILES["cpu"].data
    contracts = {
        f"cuad/{name}/{c['title']}": layout.prose(c["paragraphs"][0]["context"])
        for name in ("train", "test")
        for c in files.read_json(rows[0] / "datasets" / "cuad" / f"{name}.json")["data"]
    }
    too_long = files.read_json(rows[0] / "training" / "stats.json")["left_out"]
    for split in ("eval", "test"):
        found = [row for row in rows[1][split] if row["task"] == "contract"]
        windows = sum(
            len(layout.windows(contracts[name], data.window_chars, data.window_overlap))
            for name in {row["document"] for row in found}
        )
        assert len(found) + too_long.get(f"cuad/{split}: contract row longer than train.max_seq_length", 0) == windows


@pytest.mark.parametrize("ratio", [0.0, 0.35, 100.0])
def test_a_setting_says_how_many_training_windows_without_a_clause_stay(rows, ratio):
    def windows(ratio):
        sources = prepare.Sources()
        data = replace(config.PROFILES["cpu"].data, negative_ratio=ratio)
        prepare.from_cuad(rows[0] / "datasets" / "cuad", data, sources)
        counts = [Counter(bool(row["record"]["clauses"]) for row in d["rows"]) for d in sources.documents["train"]]
        dropped = sum(n for reason, n in sources.left_out.items() if "data.negative_ratio" in reason)
        assert all(reason.startswith("cuad/train") for reason in sources.left_out if "negative_ratio" in reason)
        return counts, dropped

    every, none = windows(1e9)
    kept, dropped = windows(ratio)
    assert none == 0 and [c[True] for c in kept] == [c[True] for c in every]
    for some, found in zip(kept, every, strict=True):
        assert some[False] == min(found[False], max(1, round(ratio * found[True])))
    assert dropped == sum(c[False] for c in every) - sum(c[False] for c in kept)


def test_spans_keep_their_printed_characters_when_the_layout_is_taken_out():
    context = "ARTICLE  1\n\n\n  This   Agreement is\n governed by  Ohio law.  End"
    answer = "governed by  Ohio law."
    paragraph = {
        "context": context,
        "qas": [{"id": "x__Governing Law", "answers": [{"text": answer, "answer_start": context.index(answer)}]}],
    }
    text, [(category, start, end)] = prepare.contract_spans(paragraph)
    assert (category, text[start:end]) == ("Governing Law", "governed by Ohio law.")


def test_training_answers_are_printed_in_the_text_that_is_shown(rows):
    for row in rows[1]["train"]:
        if row["task"] == "question":
            text = " ".join(row["prompt"][1]["content"].casefold().split())
            for part in row["target"]["answers"][0].casefold().split(", "):
                assert " ".join(part.split()) in text


def test_nothing_longer_than_the_model_is_trained_on_is_in_train(rows):
    limit = config.PROFILES["cpu"].train.max_seq_length
    assert max(sum(row["tokens"].values()) for row in rows[1]["train"]) <= limit


def test_generated_documents_are_never_test_rows(rows):
    assert any(row["source"] == "generated" for row in rows[1]["train"])
    assert not any(row["source"] == "generated" for row in rows[1]["test"])


def test_generated_letters_give_records_and_questions_with_printed_answers(rows):
    found = [r for split in ("train", "eval") for r in rows[1][split] if r["document"].startswith("generated/letter/")]
    assert {row["task"] for row in found} == {"document", "question"}
    for row in found:
        if row["task"] == "question":
            assert prepare.printed(row["target"]["answers"][0], row["prompt"][1]["content"])


def test_statistics_count_every_row_and_every_left_out_one_by_reason(rows):
    stats = files.read_json(rows[0] / "training" / "stats.json")
    for split, found in rows[1].items():
        assert stats["rows"][split]["all"] == len(found)
        assert sum(v for k, v in stats["rows"][split].items() if k != "all") == len(found)
    assert any("answer is not printed" in reason for reason in stats["left_out"])
    assert stats["labels"]["train"]["contract"]
    assert (rows[0] / "training" / "stats.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def injected_and_plain(rows):
    """Training rows with `data.inject` and those without it, by id, and the folder of the first."""
    found = []
    for share in ("0.5", "0"):
        out = rows[0] / "injected" / share
        items = [f"data.training_dir={out}", f"data.inject={share}", "data.max_documents=12"]
        assert prepare.main(options_for(rows[0], *items)) == 0
        found.append({row["id"]: row for row in files.read_jsonl(out / "train.jsonl")})
    return *found, rows[0] / "injected" / "0.5"


def test_rows_with_an_injected_instruction_keep_their_targets_and_are_counted(injected_and_plain):
    injected, plain, out = injected_and_plain
    stats = files.read_json(out / "stats.json")
    changed = [row for row in injected.values() if "injected" in row]
    assert 0.35 < len(changed) / len(injected) < 0.65
    assert {row["task"] for row in changed} == set(schemas.TASKS)
    for row in changed:
        was = plain[row["id"]]
        assert (row["completion"], row["target"]) == (was["completion"], was["target"])
        shown, before = row["prompt"][1]["content"], was["prompt"][1]["content"]
        assert set(before.split("\n")) <= set(shown.split("\n"))
        assert len(shown) > len(before)
    same = [row for row in injected.values() if "injected" not in row]
    assert same == [plain[row["id"]] for row in same]
    assert stats["injected"]["train"]["all"] == len(changed)
    assert sum(v for k, v in stats["injected"]["train"].items() if k != "all") == len(changed)
    assert stats["injected"]["eval"] == stats["injected"]["test"] == {"all": 0}
    for split in ("eval", "test"):
        assert not any("injected" in row for row in files.read_jsonl(out / f"{split}.jsonl"))


def test_an_injected_instruction_does_not_move_the_sentences_that_its_answer_points_at(injected_and_plain):
    injected, plain, out = injected_and_plain
    changed = [row for row in injected.values() if "injected" in row and row["task"] == "contract"]
    assert len(changed) > 10
    for row in changed:
        was = plain[row["id"]]
        readings = [
            completions.parse(
                schemas.CONTRACT, r["completion"][0]["content"], prompts.numbered(schemas.CONTRACT, r["prompt"])
            )
            for r in (row, was)
        ]
        assert readings[0] == readings[1] and not readings[0].dropped
    assert files.read_json(out / "stats.json")["injected"]["left as they were"] < len(changed) / 4


def test_the_same_seed_gives_the_same_bytes(rows, capsys):
    before = handoff.manifest_of(rows[0] / "training")
    assert prepare.main(options_for(rows[0])) == 0
    assert "already there" in capsys.readouterr().out
    assert prepare.main([*options_for(rows[0]), "--force"]) == 0
    after = handoff.manifest_of(rows[0] / "training")
    same = ("train.jsonl", "eval.jsonl", "test.jsonl", "stats.json")
    assert {n: before["files"][n] for n in same} == {n: after["files"][n] for n in same}


def test_a_near_copy_of_a_test_document_is_taken_out_of_training():
    sources = prepare.Sources()
    text = " ".join(f"word{n}" for n in range(200))
    for split, name, content in (
        ("train", "copy", text + " end"),
        ("train", "other", "unlike it " * 50),
        ("test", "t", text),
    ):
        sources.add(split, {"id": name, "source": "made", "text": content, "rows": []})
    found = duplicates.remove(sources, seed=1)
    assert [entry["document"] for entry in found] == ["copy"]
    assert [d["id"] for d in sources.documents["train"]] == ["other"]
    assert [d["id"] for d in sources.documents["test"]] == ["t"]
    assert sum(sources.left_out.values()) == 1


def test_a_document_is_taken_out_from_a_similarity_of_four_fifths_and_not_below():
    """Copies that share more or less with a test document; each five-word passage that differs counts."""
    sources = prepare.Sources()
    similar = {}
    for number in range(60):
        words = [f"word{number}x{n}" for n in range(200)]
        sources.add("test", {"id": f"test/{number}", "source": "made", "text": " ".join(words), "rows": []})
        changed = 10 + number // 2  # the last words: as many passages and a few more differ
        copy = [*words[:-changed], *(f"other{n}" for n in range(changed))]
        shared, all_passages = 196 - changed, 196 + changed
        similar[f"copy/{number}"] = shared / all_passages >= 0.8
        sources.add("train", {"id": f"copy/{number}", "source": "made", "text": " ".join(copy), "rows": []})
    duplicates.remove(sources, seed=1)
    kept = {document["id"] for document in sources.documents["train"]}
    assert kept == {name for name, same in similar.items() if not same}
    assert 10 < sum(similar.values()) < 50


@pytest.mark.parametrize(
    ("answer", "text", "printed"),
    [
        ("5", "15 items", False),
        ("5", "5.2 percent", False),
        ("5", "1,500 shares", False),
        ("5", "costs $5, or 5% more", True),
        ("15.2", "$15.2m", True),
        ("art", "a part of it", False),
        ("Art", "the art of it", True),
        ("0, 6,551", "6,551 and 100", False),
        ("2018, 2019", "in 2019 and 2018", True),
        ("(3)", "a loss of (3)", True),
    ],
)
def test_an_answer_inside_a_longer_number_or_word_is_not_printed(answer, text, printed):
    assert prepare.printed(answer, text) == printed


def test_docvqa_pages_become_question_rows_with_the_page_as_text(tmp_path):
    words = [
        ["Salaries", 0, 0, 80, 20],
        ["$117,047", 300, 0, 380, 20],
        ["Travel", 0, 40, 60, 60],
        ["29,928", 300, 40, 360, 60],
    ]
    pages = [{"document": f"d{n}_1", "width": 400, "height": 100, "words": words} for n in range(12)]
    question = {"question": "What are the salaries?", "answers": ["$117,047", "117,047"]}
    files.write_jsonl(tmp_path / "pages.jsonl", pages)
    files.write_jsonl(tmp_path / "train.jsonl", [{"id": f"q{n}", "document": f"d{n}_1", **question} for n in range(10)])
    unanswered = {"id": "x", "document": "d0_1", "question": "Who?", "answers": ["Nobody"]}
    files.write_jsonl(tmp_path / "train.jsonl", [*files.read_jsonl(tmp_path / "train.jsonl"), unanswered])
    files.write_jsonl(tmp_path / "validation.jsonl", [{"id": "q", "document": "d11_1", **question}])
    sources = prepare.Sources()
    prepare.from_docvqa(tmp_path, config.PROFILES["gpu"].data, sources)
    assert [len(sources.documents[s]) for s in prepare.SPLITS] == [9, 1, 1]
    [row] = sources.documents["test"][0]["rows"]
    assert [line.split() for line in row["text"].split("\n")] == [["Salaries", "$117,047"], ["Travel", "29,928"]]
    assert sum(sources.left_out.values()) == 1


def test_receipts_to_be_scored_keep_their_words_with_boxes_and_training_rows_do_not(rows):
    _, splits = rows
    for split, found in splits.items():
        cord = [row for row in found if row["source"] == "cord" and row["task"] == "receipt"]
        assert cord and all(("words" in row) == (split != "train") for row in cord)
        assert not any("words" in row for row in found if row["task"] != "receipt" or row["source"] != "cord")
    word = next(word for row in splits["test"] for word in row.get("words", ()) if word["field"] == "total")
    assert any(word["text"] in row["target"].get("total", "") for row in splits["test"] if "words" in row)
    assert len(word["box"]) == 4


def test_a_missing_dataset_names_the_command_to_run(tmp_path):
    with pytest.raises(files.StageError, match=r"Run: python download_datasets\.py"):
        prepare.main(options_for(tmp_path))


def test_a_limit_on_documents_is_counted(tmp_path, rows):
    sources = prepare.Sources()
    settings = config.override(config.PROFILES["cpu"], "data.max_documents=3").data
    prepare.from_cord(rows[0] / "datasets" / "cord", settings, sources)
    assert [len(sources.documents[s]) for s in prepare.SPLITS] == [3, 3, 3]
    assert sum(sources.left_out.values()) == 70 - 9


def test_labels_stand_in_the_same_order_in_every_process():
    """Sets of words have another order in each process, and the fingerprint of the rows must not depend on it."""
    code = (
        "from extraction.preparing import statistics as p; from collections import Counter\n"
        "row = {'task': 'receipt', 'target': {'total': '1', 'tax': '2', 'merchant': {'name': 'A', 'phone': '3'}}}\n"
        "print(*Counter(p.labels_of(row)))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert printed == {"merchant.name merchant.phone tax total\n"}


def test_the_general_instruction_and_fields_of_ones_own_are_rows_of_training_alone(rows, tmp_path):
    shares = ("data.general=1", "data.own_fields=1", "data.more_questions=1", "data.max_documents=4")
    options = options_for(rows[0], f"data.training_dir={tmp_path / 'training'}", *shares)
    assert prepare.main(options) == 0
    made = {split: list(files.read_jsonl(tmp_path / "training" / f"{split}.jsonl")) for split in prepare.SPLITS}
    assert not {"general", "custom"} & {row["task"] for split in ("eval", "test") for row in made[split]}
    general = [row["completion"][0]["content"] for row in made["train"] if row["task"] == "general"]
    kinds = {answer.partition(",")[0].rstrip("}") for answer in general}
    assert {f'{{"document_type":"{kind}"' for kind in ("receipt", "contract", "document")} <= kinds
    for row in made["train"]:
        if row["task"] == "custom":
            task = custom.parse(row["template"], "template")
            assert row["prompt"][0]["content"] == task.instructions
            assert completions.parse(task, row["completion"][0]["content"]).record is not None
    asked = [row for row in made["train"] if row["task"] == "question"]
    assert {"cord", "cuad", "tatqa", "generated"} <= {row["source"] for row in asked}
    assert any(row["completion"][0]["content"] == "{}" for row in asked)
    assert not any(
        row["source"] == "cuad" for split in ("eval", "test") for row in made[split] if row["task"] == "question"
    )
