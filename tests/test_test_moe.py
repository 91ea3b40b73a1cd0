import json

import pytest

import inference
import test_moe
from extraction import handoff, tasks


def entry(task, target, record, document="d", **more):
    base = {"id": document, "document": document, "task": task, "target": target, "record": record, "problem": None}
    return {**base, "seconds": 1.0, "completion_tokens": 10, "completion": "", **more}


def test_perfect_predictions_score_1_and_unreadable_ones_0():
    clauses = {"clauses": {"Parties": ["Acme"]}}
    perfect = [
        entry("receipt", {"total": "1"}, {"total": "1"}, "a"),
        entry("contract", clauses, clauses, "b"),
        entry("question", {"answers": ["x"]}, {"answer": "x"}, "c"),
    ]
    for scored in test_moe.score(perfect, 100).values():
        assert all(found["value"] == 1.0 for found in scored["metrics"].values())
        assert scored["unreadable"] == 0
    missing = [{**e, "record": None} for e in perfect]
    scored = test_moe.score(missing, 100)
    assert scored["receipt"]["metrics"]["field_f1"]["value"] == 0.0
    assert scored["contract"]["metrics"]["clause_f1"]["value"] == 0.0
    assert scored["question"]["metrics"]["anls"]["value"] == 0.0
    assert all(s["unreadable"] == 1 for s in scored.values())


def test_a_contract_is_scored_over_the_union_of_its_windows():
    windows = [
        entry("contract", {"clauses": {"Parties": ["Acme"]}}, {"clauses": {}}, "c"),
        entry("contract", {"clauses": {}}, {"clauses": {"Parties": ["Acme"]}}, "c"),
    ]
    scored = test_moe.score(windows, 100)["contract"]
    assert (scored["n"], scored["documents"]) == (2, 1)
    assert scored["metrics"]["clause_f1"]["value"] == 1.0


def test_rows_are_chosen_evenly_and_always_the_same():
    rows = [{"task": "receipt", "id": n} for n in range(100)] + [{"task": "question", "id": n} for n in range(3)]
    chosen = test_moe.select(rows, 10)
    assert [r["id"] for r in chosen if r["task"] == "receipt"] == list(range(0, 100, 10))
    assert [r["id"] for r in chosen if r["task"] == "question"] == [0, 1, 2]
    assert test_moe.select(rows, None) == rows


@pytest.fixture
def rows_file(tmp_path):
    rows = [
        {
            "id": f"r{n}",
            "task": "receipt",
            "prompt": tasks.messages(tasks.RECEIPT, f"Tea  {n}.00\nTOTAL  {n}.00"),
            "target": {"total": f"{n}.00"},
        }
        for n in range(5)
    ]
    return handoff.write_jsonl(tmp_path / "rows.jsonl", rows)


class Half:
    """A backend that reads every second receipt right and never the last one."""

    name = "half"

    def __init__(self):
        self.asked = 0

    def complete(self, requests, done=lambda: None):
        self.asked += len(requests)
        texts = [r.messages[1]["content"] for r in requests]
        return [inference.Completion('{"total":"0.00"}' if "4.00" not in t else "?", 9, 5, 0.5) for t in texts]


def run(monkeypatch, tmp_path, rows_file, backend, *more):
    monkeypatch.setattr(inference, "open_backend", lambda cfg, model: backend)
    options = [
        "--rows",
        str(rows_file),
        "--set",
        f"output.dir={tmp_path / 'out'}",
        "--model",
        "http://127.0.0.1/v1",
        *more,
    ]
    assert test_moe.main(options) == 0
    return next((tmp_path / "out" / "cpu" / "evaluation").glob("*/metrics.json")).parent


def test_a_rows_file_is_scored_and_the_metrics_follow_from_the_predictions(monkeypatch, tmp_path, rows_file):
    folder = run(monkeypatch, tmp_path, rows_file, Half())
    metrics = json.loads((folder / "metrics.json").read_text())
    task = metrics["tasks"]["receipt"]
    assert (task["n"], task["unreadable"]) == (5, 1)
    assert task["metrics"]["field_f1"]["value"] == pytest.approx(1 / (1 + (3 + 4) / 2))
    assert set(task["metrics"]["field_f1"]) == {"value", "low", "high"}
    assert set(metrics["seconds_per_document"]) == {"median", "p95"}
    predictions = list(handoff.read_jsonl(folder / "predictions.jsonl"))
    assert test_moe.score(predictions, 1000) == metrics["tasks"]
    assert predictions[4]["record"] is None and predictions[4]["problem"].startswith("not JSON")
    report = (folder / "report.md").read_text()
    assert "| receipt | field F1 |" in report and "| receipt | unreadable answers | 1 |" in report


def test_an_interrupted_evaluation_goes_on_where_it_stopped(monkeypatch, tmp_path, rows_file):
    class Stops(Half):
        def complete(self, requests, done=lambda: None):
            if self.asked >= 2:
                raise KeyboardInterrupt
            return super().complete(requests, done)

    monkeypatch.setattr(test_moe, "CHUNK", 2)
    monkeypatch.setattr(inference, "identity", lambda cfg, model: "the same model")
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path, rows_file, Stops())
    backend = Half()
    folder = run(monkeypatch, tmp_path, rows_file, backend)
    assert backend.asked == 3
    assert len(list(handoff.read_jsonl(folder / "predictions.jsonl"))) == 5
    again = Half()
    run(monkeypatch, tmp_path, rows_file, again)
    assert again.asked == 0


def test_the_report_shows_models_side_by_side_with_an_empty_cell_for_what_was_not_measured():
    receipts = test_moe.summarize("base", "m", [entry("receipt", {"total": "1"}, {})], 100)
    both = test_moe.summarize(
        "gguf",
        "m",
        [entry("receipt", {"total": "1"}, {"total": "1"}), entry("question", {"answers": ["x"]}, {"answer": "x"})],
        100,
    )
    report = test_moe.render_report([receipts, both], {"profile": "cpu"})
    assert "| task | metric | base | gguf |" in report
    assert "| receipt | field F1 | 0.0 (0.0 - 0.0) | 100.0 (100.0 - 100.0) |" in report
    assert "| question | ANLS |  | 100.0 (100.0 - 100.0) |" in report


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"id": "x"}', "is missing"),
        ('{"id": "x", "task": "poem", "prompt": [], "target": {}}', "no task called 'poem'"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(tmp_path, line, sentence):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(handoff.StageError, match=sentence):
        test_moe.main(["--rows", str(tmp_path / "rows.jsonl")])


def test_a_missing_model_or_missing_rows_name_the_command_to_run(tmp_path, rows_file):
    with pytest.raises(handoff.StageError, match=r"Run: python prepare_training_data\.py"):
        test_moe.main(["--set", f"data.training_dir={tmp_path / 'absent'}"])
    with pytest.raises(handoff.StageError, match=r"Run: python export_gguf\.py") as error:
        test_moe.main(["--rows", str(rows_file), "--set", f"output.dir={tmp_path}"])
    assert error.value.status == 3
