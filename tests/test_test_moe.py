import json
from dataclasses import replace

import pytest

import test_moe
from extraction import files, handoff
from extraction.models import backends, choice
from extraction.scoring import scores, tables
from extraction.tasks import prompts, schemas


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
            "prompt": prompts.messages(schemas.RECEIPT, f"Tea  {n}.00\nTOTAL  {n}.00"),
            "target": {"total": f"{n}.00"},
        }
        for n in range(5)
    ]
    return files.write_jsonl(tmp_path / "rows.jsonl", rows)


class Half:
    """A backend that reads every second receipt right and never the last one."""

    name = "half"

    def __init__(self):
        self.asked = 0

    def complete(self, requests, done=lambda: None):
        self.asked += len(requests)
        texts = [r.messages[1]["content"] for r in requests]
        return [backends.Completion('{"total":"0.00"}' if "4.00" not in t else "?", 9, 5, 0.5) for t in texts]


def run(monkeypatch, tmp_path, rows_file, backend, *more):
    monkeypatch.setattr(choice.Choice, "open", lambda *_: backend)
    options = [
        "--rows",
        str(rows_file),
        "--set",
        f"output.dir={tmp_path / 'out'}",
        "--set",
        "evaluate.rows_per_task=null",
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
    predictions = list(files.read_jsonl(folder / "predictions.jsonl"))
    assert scores.score(predictions, 1000) == metrics["tasks"]
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
    monkeypatch.setattr(choice.Choice, "fingerprint", "the same model")
    batch = ("--set", "evaluate.batch_size=2")
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path, rows_file, Stops(), *batch)
    backend = Half()
    folder = run(monkeypatch, tmp_path, rows_file, backend, *batch)
    assert backend.asked == 3
    assert len(list(files.read_jsonl(folder / "predictions.jsonl"))) == 5
    again = Half()
    run(monkeypatch, tmp_path, rows_file, again, *batch)
    assert again.asked == 0


def test_a_batch_of_the_settings_reaches_the_backend_whole(monkeypatch, tmp_path, rows_file):
    class Counts(Half):
        sizes = []

        def complete(self, requests, done=lambda: None):
            self.sizes.append(len(requests))
            return super().complete(requests, done)

    monkeypatch.setattr(test_moe, "CHUNK", 2)
    run(monkeypatch, tmp_path, rows_file, Counts(), "--set", "evaluate.batch_size=4")
    assert Counts.sizes == [4, 1]


def test_predictions_of_an_interrupted_run_that_were_damaged_are_made_again(tmp_path):
    partial = tmp_path / "partial.jsonl"
    entries = [{"id": f"r{n}", "record": {"total": "6.00"}, "completion": "é"} for n in range(3)]
    files.write_jsonl(partial, map(test_moe.checked, entries))
    assert test_moe.saved(partial) == {entry["id"]: entry for entry in entries}
    whole = partial.read_bytes()
    lengths = [len(line) + 1 for line in whole.splitlines()]
    for place in range(0, len(whole), 3):
        number = 0 if place < lengths[0] else 1 if place < sum(lengths[:2]) else 2
        partial.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        kept = test_moe.saved(partial)
        assert all(kept[name] == entries[int(name[1])] for name in kept)
        assert set(kept) >= {f"r{n}" for n in range(3) if n not in (number, number + 1)}
    partial.write_bytes(whole[: lengths[0] + 40])  # the line that a killed run was writing: the next one begins anew
    assert list(test_moe.saved(partial)) == ["r0"] and partial.read_bytes() == whole[: lengths[0]]


def evaluate(monkeypatch, tmp_path, rows_file, model, backend, *more):
    """Run the stage for a model whose identity stays the same, and give its folder."""
    monkeypatch.setattr(choice.Choice, "open", lambda *_: backend)
    monkeypatch.setattr(choice.Choice, "fingerprint", property(lambda self: self.name))
    out = ["--rows", str(rows_file), "--set", f"output.dir={tmp_path / 'out'}", "--model", model]
    out += ["--set", "evaluate.rows_per_task=null", *more]
    assert test_moe.main(out) == 0
    return tmp_path / "out" / "cpu" / "evaluation" / model


class Right(Half):
    name = "right"

    def complete(self, requests, done=lambda: None):
        self.asked += len(requests)
        totals = [r.messages[1]["content"].split()[-1] for r in requests]
        return [backends.Completion(json.dumps({"total": total}), 9, 5, 0.5) for total in totals]


def test_two_models_are_compared_on_the_same_rows_without_predicting_again(monkeypatch, tmp_path, rows_file):
    evaluate(monkeypatch, tmp_path, rows_file, "base", Half())
    folder = evaluate(monkeypatch, tmp_path, rows_file, "adapter", Right())
    assert "comparison" not in json.loads((folder / "metrics.json").read_text())
    again = Right()
    evaluate(monkeypatch, tmp_path, rows_file, "adapter", again, "--compare", "base")
    assert again.asked == 0
    compared = json.loads((folder / "metrics.json").read_text())["comparison"]
    field_f1 = compared["tasks"]["receipt"]["field_f1"]
    assert compared["with"] == "base" and field_f1["this"] == 1.0
    assert field_f1["difference"]["value"] == pytest.approx(1 - field_f1["other"])
    assert field_f1["difference"]["low"] <= field_f1["difference"]["value"] <= field_f1["difference"]["high"]
    report = (folder / "report.md").read_text()
    assert "| task | metric | adapter | base | difference (95 % interval, paired) |" in report
    assert "| receipt | field F1 | 100.0 | 22.2 | +77.8 (" in report
    made = (folder / "manifest.json").stat().st_mtime_ns
    evaluate(monkeypatch, tmp_path, rows_file, "adapter", again, "--compare", "base")
    assert (folder / "manifest.json").stat().st_mtime_ns == made


def test_a_model_compared_with_itself_differs_by_0(monkeypatch, tmp_path, rows_file):
    evaluate(monkeypatch, tmp_path, rows_file, "base", Half())
    folder = evaluate(monkeypatch, tmp_path, rows_file, "base", Half(), "--compare", "base")
    for compared in json.loads((folder / "metrics.json").read_text())["comparison"]["tasks"]["receipt"].values():
        assert compared["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_comparison_with_other_rows_or_none_is_refused_before_anything_is_predicted(monkeypatch, tmp_path, rows_file):
    backend = Right()
    with pytest.raises(files.StageError, match=r"is not there yet. Run: python test_moe\.py --model base --rows"):
        evaluate(monkeypatch, tmp_path, rows_file, "adapter", backend, "--compare", "base")
    evaluate(monkeypatch, tmp_path, rows_file, "base", Half(), "--limit", "3")
    with pytest.raises(files.StageError, match="scored on other rows. Run: python") as error:
        evaluate(monkeypatch, tmp_path, rows_file, "adapter", backend, "--compare", "base")
    assert backend.asked == 0 and "\n" not in str(error.value)


def test_predictions_are_made_again_for_other_rows_or_by_force(monkeypatch, tmp_path, rows_file):
    backend = Right()
    evaluate(monkeypatch, tmp_path, rows_file, "base", backend)
    evaluate(monkeypatch, tmp_path, rows_file, "base", backend, "--set", "evaluate.bootstrap_samples=200")
    assert backend.asked == 5
    evaluate(monkeypatch, tmp_path, rows_file, "base", backend, "--limit", "2")
    assert backend.asked == 7
    evaluate(monkeypatch, tmp_path, rows_file, "base", backend, "--limit", "2", "--force")
    assert backend.asked == 9


PROMPT = [{"role": "user", "content": "Tea"}]
BROKEN = {
    "not JSON": b"{",
    "not UTF-8 text": b'{"id": "\xff"}',
    "not a JSON object": b"[]",
    "'target' is missing": json.dumps({"id": "a", "task": "receipt", "prompt": PROMPT}).encode(),
    "'id' is not text": json.dumps({"id": 7, "task": "receipt", "prompt": PROMPT, "target": {"total": "1"}}).encode(),
    **{
        reason: json.dumps(
            {"id": reason, "task": "receipt", "prompt": PROMPT, "target": {"total": "1"}} | part
        ).encode()
        for reason, part in {
            "no task called 'poem'": {"task": "poem"},
            "'task' is not text": {"task": {}},
            "'document' is not text": {"document": []},
            "the prompt is not a list of messages": {"prompt": "Tea"},
            "the target is not an object": {"target": "1"},
            "empty target": {"target": {"summary": "nothing", "total": ""}},
            "not a receipt record: line_items is not a list": {"target": {"line_items": "Tea"}},
            "not a receipt record: no field called 'poem'": {"target": {"poem": "x"}},
            "not a receipt record: an entry of line_items is not an object": {
                "target": {"line_items": [{}] * 200 + ["x"]}
            },
            "not a receipt record: total is not text": {"target": {"total": 1}},
            "the target has no list of answers": {"task": "question", "target": {"answer": "x"}},
            "the id of an earlier row": {"id": "r0"},
        }.items()
    },
    "not UTF-8 text ": json.dumps(
        {"id": "\ud800", "task": "receipt", "prompt": PROMPT, "target": {"total": "1"}}
    ).encode(),
}


def test_lines_that_cannot_be_scored_are_counted_and_named(monkeypatch, tmp_path, rows_file, capsys):
    good = rows_file.read_bytes()
    rows_file.write_bytes(good + b"\n".join(BROKEN.values()) + b"\n\n" + b"[" * 100_000 + b"\n")
    folder = evaluate(monkeypatch, tmp_path, rows_file, "base", Right())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["tasks"]["receipt"]["n"] == 5
    assert set(metrics["left_out"]) == {reason.strip() for reason in BROKEN}
    assert sum(map(len, metrics["left_out"].values())) == len(BROKEN) + 1
    assert metrics["left_out"]["not a JSON object"] == [8]
    report = (folder / "report.md").read_text()
    assert "| not JSON | 2 | 6, 25 |" in report and "| no task called 'poem' | 1 | 11 |" in report
    assert "1 lines of" in capsys.readouterr().err
    assert "empty target" in (folder / "report.html").read_text()


def test_a_category_without_a_quote_is_not_in_the_contract(tmp_path):
    target = {"clauses": {"Parties": None, "Insurance": [""], "Audit Rights": ["x"]}}
    row = {"id": "a", "task": "contract", "form": "sentences", "prompt": PROMPT, "target": target}
    rows, left_out = test_moe.read_rows(files.write_jsonl(tmp_path / "rows.jsonl", [row]))
    assert rows[0]["target"] == {"clauses": {"Audit Rights": ["x"]}} and left_out == {}


def test_a_window_without_clauses_and_a_target_longer_than_an_answer_may_be_are_scored():
    assert test_moe.problem_of_target(schemas.CONTRACT, {"clauses": {}}) is None
    assert test_moe.problem_of_target(schemas.CONTRACT, {"clauses": {"Parties": ["word " * 500] * 20}}) is None
    assert test_moe.problem_of_target(schemas.CONTRACT, {}) == "empty target"
    assert test_moe.problem_of_target(schemas.QUESTION, {"answers": [""]}) == "empty target"
    assert test_moe.problem_of_target(schemas.CONTRACT, {"clauses": {"Poem": ["x"]}}).startswith(
        "not a contract record"
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "has no row that can be scored$"),
        ('{"id": "x"}', "is missing"),
        ('{"id": "x", "task": "poem", "prompt": [], "target": {}}', "no task called 'poem'"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(tmp_path, line, sentence):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(files.StageError, match=sentence):
        test_moe.main(["--rows", str(tmp_path / "rows.jsonl")])


def test_a_missing_model_or_missing_rows_name_the_command_to_run(tmp_path, rows_file):
    with pytest.raises(files.StageError, match=r"Run: python prepare_training_data\.py"):
        test_moe.main(["--set", f"data.training_dir={tmp_path / 'absent'}"])
    with pytest.raises(files.StageError, match=r"Run: python export_gguf\.py") as error:
        test_moe.main(["--rows", str(rows_file), "--set", f"output.dir={tmp_path}"])
    assert error.value.status == 3


def contract_row():
    prompt = prompts.messages(schemas.CONTRACT, "Acme Inc. agrees. Ohio law governs.")
    target = {"clauses": {"Governing Law": ["Ohio law governs."]}}
    return {"id": "c", "task": "contract", "form": "sentences", "prompt": prompt, "target": target}


def test_numbers_of_sentences_are_scored_as_the_quotes_they_stand_for_and_wrong_ones_are_counted():
    answer = backends.Completion('{"clauses":{"Governing Law":["2"],"Insurance":["3"]}}', 9, 5, 0.5)
    found = test_moe.prediction(contract_row(), answer)
    assert found["record"] == {"clauses": {"Governing Law": ["Ohio law governs."]}}
    assert (found["problem"], found["dropped"]) == (None, 1)
    scored = scores.score([found], 100)["contract"]
    assert scored["metrics"]["span_f1"]["value"] == 1.0
    assert (scored["dropped_numbers"], scored["cut_off"], scored["unreadable"]) == (1, 0, 0)
    report = tables.render_report([scores.summarize("m", "m", [found], 100)], {})
    assert "| contract | numbers of no sentence, dropped | 1 |" in report


def test_the_confidence_of_a_number_is_that_of_its_quote_when_others_are_dropped():
    sure = {"clauses.Governing Law[0]": 0.1, "clauses.Governing Law[1]": 0.2, "clauses.Governing Law[2]": 0.3}
    answer = backends.Completion('{"clauses":{"Governing Law":["7","2","1"]}}', 9, 5, 0.5, confidences=sure)
    found = test_moe.prediction(contract_row(), answer)
    assert found["record"]["clauses"]["Governing Law"] == ["Ohio law governs.", "Acme Inc. agrees."]
    assert found["token_confidences"] == {"clauses.Governing Law[0]": 0.2, "clauses.Governing Law[1]": 0.3}


@pytest.mark.parametrize("form", ["quotes", None])
def test_contracts_of_the_time_when_clauses_were_quoted_are_not_scored(tmp_path, form):
    (tmp_path / "rows.jsonl").write_text(json.dumps(contract_row() | {"form": form}))
    with pytest.raises(files.StageError, match=r"earlier version; python prepare_training_data\.py makes new rows"):
        test_moe.main(["--rows", str(tmp_path / "rows.jsonl")])


def test_the_experts_have_no_model_to_choose(capsys):
    with pytest.raises(SystemExit) as stopped:
        test_moe.main(["--experts", "--model", "base"])
    assert stopped.value.code == 2
    assert "leave out --model" in capsys.readouterr().err


# --- confidences ---------------------------------------------------------------------------------------------


class Unsure(Right):
    """Reads every total right but that of 3.00, and is surer than it should be."""

    def __init__(self, name="unsure"):
        super().__init__()
        self.name = name

    def complete(self, requests, done=lambda: None):
        answers = super().complete(requests, done)
        wrong = [a.text.replace("3.00", "8.00") for a in answers]
        return [replace(a, text=text, confidences={"total": 0.99}) for a, text in zip(answers, wrong, strict=True)]


def test_a_calibration_is_fitted_on_the_eval_rows_kept_beside_the_model_and_used(
    monkeypatch, tmp_path, rows_file, capsys
):
    training = handoff.begin(tmp_path / "training")
    (training / "eval.jsonl").write_bytes(rows_file.read_bytes())
    handoff.seal(training, stage="prepare_training_data", settings={"contract_form": "sentences"})
    adapter = tmp_path / "out" / "cpu" / "lora_adapters"
    adapter.parent.mkdir(parents=True)
    handoff.seal(handoff.begin(adapter), stage="train_moe", settings={"contract_form": "sentences"})
    options = ["--calibrate", "--set", f"data.training_dir={tmp_path / 'training'}"]

    folder = evaluate(monkeypatch, tmp_path, rows_file, "adapter", Unsure())
    before = json.loads((folder / "metrics.json").read_text())["tasks"]["receipt"]["metrics"]
    monkeypatch.setattr(choice.Choice, "open", lambda *_: Unsure())
    out = ["--set", f"output.dir={tmp_path / 'out'}", "--model", "adapter"]
    assert test_moe.main([*options, *out]) == 0
    assert "receipt: 5 values; calibration error 0.190" in capsys.readouterr().out
    stored = json.loads((adapter / "confidence.json").read_text())
    assert stored["values"] == {"receipt": 5}
    as_read = [{**row, "id": f"{row['id']}/photo", "reading": "photo"} for row in files.read_jsonl(rows_file)]
    more = ["--rows", str(files.write_jsonl(tmp_path / "as_read.jsonl", as_read))]
    assert test_moe.main([*options, *out, *more]) == 0  # those of another kind of reading stand apart
    assert json.loads((adapter / "confidence.json").read_text())["values"] == {"receipt": 5, "receipt, photo": 5}
    assert test_moe.main([*options, *out]) == 0

    again = Unsure()
    evaluate(monkeypatch, tmp_path, rows_file, "adapter", again)
    after = json.loads((folder / "metrics.json").read_text())["tasks"]["receipt"]["metrics"]
    assert again.asked == 0  # what is stored of a token's confidence is calibrated anew
    assert after["ece_before"]["value"] == pytest.approx(before["ece"]["value"]) == pytest.approx(0.19)
    assert after["ece"]["value"] < 0.1
    prediction = next(files.read_jsonl(folder / "predictions.jsonl"))
    assert prediction["token_confidences"] == {"total": 0.99} and prediction["confidences"]["total"] < 0.9

    handoff.seal(handoff.begin(adapter), stage="train_moe", settings={"another": "training"})
    assert not (adapter / "confidence.json").exists()  # made anew, the adapter has no calibration of an older one


def test_calibrating_needs_confidences_and_a_place_for_them(monkeypatch, tmp_path, rows_file):
    training = handoff.begin(tmp_path / "training")
    (training / "eval.jsonl").write_bytes(rows_file.read_bytes())
    handoff.seal(training, stage="prepare_training_data", settings={"contract_form": "sentences"})
    monkeypatch.setattr(choice.Choice, "open", lambda *_: Right())
    items = ["--set", f"output.dir={tmp_path / 'out'}", "--set", f"data.training_dir={tmp_path / 'training'}"]
    with pytest.raises(files.StageError, match="no folder beside which"):
        test_moe.main(["--calibrate", "--model", "http://127.0.0.1/v1", *items])
    model = tmp_path / "m.gguf"
    model.write_bytes(b"weights")
    with pytest.raises(files.StageError, match="gave no value with a confidence"):
        test_moe.main(["--calibrate", "--model", str(model), *items])
    with pytest.raises(SystemExit) as left:
        test_moe.main(["--calibrate", "--compare", "base", *items])
    assert left.value.code == 2
