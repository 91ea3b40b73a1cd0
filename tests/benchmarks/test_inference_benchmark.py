"""benchmarks/inference.py: arithmetic of rates, and a run of every document with the tiny model."""

from dataclasses import replace

import pytest

from benchmarks import inference as benchmark
from extraction import files
from extraction.models import choice


def row(task, document, number, prompt, answer):
    tokens = {"prompt": prompt, "completion": answer}
    return {"task": task, "document": document, "id": f"{document}#{number}", "tokens": tokens}


def test_seconds_of_rows_add_up_the_windows_of_a_contract_and_keep_questions_apart():
    rows = [row("contract", "a", 0, 500, 20), row("contract", "a", 1, 300, 30), row("contract", "b", 0, 100, 0)]
    rows += [row("question", "r", 0, 200, 5), row("question", "r", 1, 200, 10), row("receipt", "r", 2, 400, 100)]
    found = benchmark.seconds_of_rows(rows, {"prompt": 100.0, "generation": 10.0})
    assert found["contract"] == {"prompt": [800, 100], "answer": [50, 0], "seconds": [13.0, 1.0]}
    assert found["question"]["seconds"] == [2.5, 3.0]
    assert found["receipt"]["seconds"] == [14.0]
    assert "| contract | 2 | 450 | 25 |" in benchmark.table_of_rates(found)


class Bytes:
    """A tokenizer of one token a byte."""

    def tokenize_str(self, text):
        return list(text.encode())


def test_the_writings_of_an_answer_are_counted_and_one_that_was_cut_off_is_left_out():
    found = benchmark.writings(Bytes(), ['{"a":"b","c":[1]}', '{"a":"b","c":[2', '{"total":'])
    compact, blanks, indented = found.values()
    assert compact == len('{"a":"b","c":[1]}')
    assert blanks == compact + 3  # after two colons and a comma
    assert indented == len('{\n  "a": "b",\n  "c": [\n    1\n  ]\n}')


def test_rates_are_two_positive_numbers():
    assert benchmark.rates_of("prompt=1200,generation=60.5") == {"prompt": 1200.0, "generation": 60.5}


@pytest.mark.parametrize("text", ["", "prompt=1", "prompt=1,generation=0", "prompt=1,generation=x", "a=1,b=2"])
def test_other_rates_are_refused_in_a_sentence_that_says_how_they_are_written(text):
    with pytest.raises(files.StageError, match="write --rates prompt="):
        benchmark.rates_of(text)


def test_rates_need_no_model(tmp_path, capsys):
    files.write_jsonl(tmp_path / "rows.jsonl", [row("receipt", "r", 0, 400, 100)])
    rates = ["--rates", "prompt=100,generation=10"]
    assert benchmark.main([*rates, "--rows", str(tmp_path / "rows.jsonl")]) == 0
    assert "| receipt | 1 | 400 | 100 | 14.00 | 14.00 |" in capsys.readouterr().out


def test_every_document_is_measured_and_the_cache_changes_no_answer(tiny_gguf):
    cfg = replace(tiny_gguf, inference=replace(tiny_gguf.inference, context_tokens=4096))
    backend = choice.choose(cfg, "base-gguf").open()
    documents = benchmark.chosen(cfg)
    found = benchmark.measure(backend, cfg, 1, documents)
    assert len(found) == 5
    several = [entry for entry in found if len(entry["texts"]) > 1]
    for shared, alone in zip(several, benchmark.measure(backend, cfg, 1, documents[3:], cached=False), strict=True):
        (run,), (other,) = shared["runs"], alone["runs"]
        assert shared["texts"] == alone["texts"]
        assert run["prompt_tokens"] == other["prompt_tokens"] and other["cached_tokens"] == 0
    for entry in found:
        (run,) = entry["runs"]
        assert len(entry["texts"]) == len(entry["schemas"])
        assert (run["cached_tokens"] > 0) == (len(entry["texts"]) > 1)
        assert 0 < run["prompt"] < run["model"] < run["all"] and run["cpu"] > 0
    assert len(found[3]["texts"]) > 2 and len(found[4]["texts"]) == 1 + len(benchmark.QUESTIONS)
    assert benchmark.table_of_documents(found).count("\n") == 2 + len(found)
    pairs = [pair for entry in found for pair in zip(entry["texts"], entry["schemas"], strict=True)]
    costs = benchmark.choosing(backend, pairs)
    assert len(costs) == 5 and all(0 < cost < 100 for cost in costs.values())


def test_a_document_that_does_not_fit_is_an_error_and_not_a_fast_one(tiny_gguf):
    cfg = replace(tiny_gguf, inference=replace(tiny_gguf.inference, context_tokens=1024))
    with pytest.raises(files.StageError, match=r"tokens.*inference\.context_tokens"):
        benchmark.measure(choice.choose(cfg, "base-gguf").open(), cfg, 1, benchmark.chosen(cfg)[3:4])
