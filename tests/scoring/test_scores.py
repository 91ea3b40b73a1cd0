"""extraction/scoring/scores.py and score_tables.py: what follows from predictions."""

import pytest

from extraction.models import confidence
from extraction.scoring import scores, tables


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
    for scored in scores.score(perfect, 100).values():
        assert all(found["value"] == 1.0 for found in scored["metrics"].values())
        assert scored["unreadable"] == 0
    missing = [{**e, "record": None} for e in perfect]
    scored = scores.score(missing, 100)
    assert scored["receipt"]["metrics"]["field_f1"]["value"] == 0.0
    assert scored["contract"]["metrics"]["clause_f1"]["value"] == 0.0
    assert scored["question"]["metrics"]["anls"]["value"] == 0.0
    assert all(s["unreadable"] == 1 for s in scored.values())


def test_a_contract_is_scored_over_the_union_of_its_windows():
    windows = [
        entry("contract", {"clauses": {"Parties": ["Acme"]}}, {"clauses": {}}, "c"),
        entry("contract", {"clauses": {}}, {"clauses": {"Parties": ["Acme"]}}, "c"),
    ]
    scored = scores.score(windows, 100)["contract"]
    assert (scored["n"], scored["documents"]) == (2, 1)
    assert scored["metrics"]["clause_f1"]["value"] == 1.0


def test_the_report_shows_models_side_by_side_with_an_empty_cell_for_what_was_not_measured():
    receipts = scores.summarize("base", "m", [entry("receipt", {"total": "1"}, {})], 100)
    both = scores.summarize(
        "gguf",
        "m",
        [entry("receipt", {"total": "1"}, {"total": "1"}), entry("question", {"answers": ["x"]}, {"answer": "x"})],
        100,
    )
    report = tables.render_report([receipts, both], {"profile": "cpu"})
    assert "| task | metric | base | gguf |" in report
    assert "| receipt | field F1 | 0.0 (0.0 - 0.0) | 100.0 (100.0 - 100.0) |" in report
    assert "| question | ANLS |  | 100.0 (100.0 - 100.0) |" in report


def test_own_ocr_has_a_column_of_its_own():
    rows = [
        entry("receipt", {"total": "1"}, {"total": "1"}, "a"),
        entry("receipt", {"total": "1"}, {"total": "2"}, "a-photo", ocr="own"),
    ]
    report = tables.render_report([scores.summarize("gguf", "m", rows, 100)], {})
    assert "| task | metric | gguf | gguf, own OCR |" in report
    assert "| receipt | field F1 | 100.0 (100.0 - 100.0) | 0.0 (0.0 - 0.0) |" in report
    assert "| receipt | rows | 1 | 1 |" in report


def test_rows_out_of_domain_have_columns_of_their_own_that_say_so():
    rows = [
        entry("question", {"answers": ["x"]}, {"answer": "x"}, "a"),
        entry("question", {"answers": ["x"]}, {"answer": "y"}, "b", domain="DocVQA"),
        entry("question", {"answers": ["x"]}, {"answer": "x"}, "c", domain="DocVQA", ocr="own"),
    ]
    report = tables.render_report([scores.summarize("gguf", "m", rows, 100)], {})
    assert "| task | metric | gguf | gguf, out of domain: DocVQA | gguf, out of domain: DocVQA, own OCR |" in report
    assert "| question | ANLS | 100.0 (100.0 - 100.0) | 0.0 (0.0 - 0.0) | 100.0 (100.0 - 100.0) |" in report


def test_row_f1_is_measured_where_the_targets_have_rows_whatever_a_model_invents():
    plain = [entry("receipt", {"total": "1"}, {"total": "1"})]
    invented = [entry("receipt", {"total": "1"}, {"line_items": [{"description": "Tea"}]})]
    assert "row_f1" not in scores.compare(plain, invented, 100)["receipt"]
    assert "row_f1" not in scores.compare(invented, plain, 100)["receipt"]
    missed = [entry("receipt", {"line_items": [{"description": "Tea"}]}, None)]
    assert scores.score(missed, 100)["receipt"]["metrics"]["row_f1"]["value"] == 0.0


def test_counts_by_field_and_by_category_and_reasons_are_in_the_report():
    rows = [
        entry("receipt", {"total": "1", "tax": "2"}, {"total": "1", "cash": "3"}, "a"),
        entry("contract", {"clauses": {"Parties": ["Acme"]}}, {"clauses": {"Insurance": ["y"]}}, "b"),
    ]
    result = scores.summarize("gguf", "m", rows, 100)
    report = tables.render_report([result], {}, result)
    assert "| total | 1 | 1 | 1 | 0 | 0 | 100.0 (100.0 - 100.0) |" in report
    assert "| tax | 1 | 1 | 0 | 1 | 0 | 0.0 (0.0 - 0.0) |" in report
    assert "| Insurance | 1 | 0 | 0 | 0 | 1 | 0.0 (0.0 - 0.0) |" in report
    assert "Audit Rights" not in report  # neither there nor found
    assert "| receipt | not found | 1 |" in report and "| contract | invented | 1 |" in report
    assert "| contract | AUPR |  |" in report  # no confidences: not measured


def test_seconds_of_a_document_are_those_of_all_its_windows():
    windows = [entry("contract", {"clauses": {}}, {"clauses": {}}, "c")] * 3
    result = scores.summarize("gguf", "m", windows, 100)
    assert result["seconds_per_document"] == {"median": 3.0, "p95": 3.0}
    assert result["tasks"]["contract"]["seconds_per_document"] == {"median": 3.0, "p95": 3.0}
    assert result["seconds_per_row"] == {"median": 1.0, "p95": 1.0}


def test_places_of_values_are_scored_where_rows_tell_their_words_with_another_receipt_as_control():
    def receipt(name, total, tax):
        return {
            "target": {"total": total, "tax": tax},
            "document": name,
            "words": [
                {"text": text, "box": [x, y, x + 9 * len(text), y + 10], "field": field}
                for text, x, y, field in (
                    ("Tax", 0, 0, None),
                    (tax, 90, 0, "tax"),
                    ("Total", 0, 20, None),
                    (total, 90, 20, "total"),
                )
            ],
        }

    first, second = receipt("a", "11.00", "1.20"), receipt("b", "37.00", "4.60")
    right = entry("receipt", first["target"], first["target"], "a", words=first["words"])
    half = entry("receipt", second["target"], {"total": "37.00"}, "b", words=second["words"])
    found = scores.score([right, half], 100)["receipt"]["metrics"]
    value = {name: found[name]["value"] for name in tables.PLACES}
    assert (value["grounding_precision"], value["grounding_recall"]) == (1.0, 0.75)
    assert value["grounding_f1"] == pytest.approx(6 / 7)
    assert value["foreign_found"] == 0.0
    assert "| receipt | grounding F1, words |" in tables.render_report(
        [scores.summarize("m", "m", [right, half], 100)], {}
    )
    without = scores.score([right, {**half, "words": None}], 100)["receipt"]["metrics"]
    assert not set(tables.PLACES) & set(without)


def sure(task, target, record, confidences, document="d", **more):
    return entry(task, target, record, document, token_confidences=confidences, **more)


def test_calibration_error_risk_coverage_and_aupr_follow_from_the_confidences_of_the_predictions():
    rows = [
        sure("receipt", {"total": "1", "tax": "2"}, {"total": "1", "tax": "9"}, {"total": 0.9, "tax": 0.3}, "a"),
        sure("contract", {"clauses": {"Parties": ["Acme"]}}, {"clauses": {"Parties": ["Acme"]}}, {}, "b"),
        sure("contract", {"clauses": {"Insurance": ["y"]}}, {"clauses": {"Audit Rights": ["z"]}}, {}, "c"),
        sure("question", {"answers": ["x"]}, {"answer": "x"}, {"answer": 0.75}, "e"),
    ]
    rows[1]["token_confidences"] = {"clauses.Parties[0]": 0.8}
    rows[2]["token_confidences"] = {"clauses.Audit Rights[0]": 0.4}
    scored = scores.score(scores.with_confidences(rows, None), 100)
    value = {task: {name: found["value"] for name, found in s["metrics"].items()} for task, s in scored.items()}
    assert value["receipt"]["ece"] == pytest.approx((0.1 + 0.3) / 2)
    assert value["receipt"]["aurc"] == pytest.approx(0.5 * 0 + 0.5 * 0.5)
    assert value["question"]["ece"] == pytest.approx(0.25)
    assert value["contract"]["aupr"] == pytest.approx(0.5)  # precision 1 up to recall 0.5, the highest there is
    assert value["contract"]["precision_at_80_recall"] == 0.0
    assert "ece_before" not in value["receipt"]
    assert scored["receipt"]["reliability"] == [
        {"from": 0.3, "to": 0.4, "n": 1, "confidence": 0.3, "right": 0.0},
        {"from": 0.9, "to": 1.0, "n": 1, "confidence": 0.9, "right": 1.0},
    ]
    result = scores.summarize("gguf", "m", scores.with_confidences(rows, None), 100)
    report = tables.render_report([result], {}, result)
    assert "| receipt | 90.0 - 100.0 | 1 | 90.0 | 100.0 |" in report
    assert "| receipt | expected calibration error | 20.0 (" in report


def test_calibrated_confidences_are_reported_with_the_error_before():
    rows = [sure("question", {"answers": ["x"]}, {"answer": "x"}, {"answer": 0.5})]
    calibration = confidence.Calibration({"all": [[0.5, 0.9]]})
    scored = scores.score(scores.with_confidences(rows, calibration), 100)["question"]["metrics"]
    assert (scored["ece"]["value"], scored["ece_before"]["value"]) == pytest.approx((0.1, 0.5))


def test_the_share_of_values_that_need_no_review_and_of_wrong_ones_among_them_is_reported():
    target = {"total": "1", "tax": "2", "cash": "3", "change": "4"}
    record, sureness = target | {"tax": "9", "cash": "8"}, {"total": 0.9, "tax": 0.95, "cash": 0.2, "change": 0.1}
    rows = [sure("receipt", target, record, sureness)]
    same = [[0.0, 0.0], [1.0, 1.0]]
    found = {}
    for lowest in (0.8, None):
        calibration = confidence.Calibration({"all": same}, 0.05, {"all": lowest})
        found[lowest] = scores.score(scores.with_confidences(rows, calibration), 100)["receipt"]["metrics"]
    assert (found[0.8]["accepted"]["value"], found[0.8]["accepted_wrong"]["value"]) == (0.5, 0.5)
    assert (found[None]["accepted"]["value"], found[None]["accepted_wrong"]["value"]) == (0.0, 0.0)
