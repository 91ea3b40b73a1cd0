import pytest

from extraction import metrics
from extraction.metrics import Counts

TEA, CAKE = {"description": "Tea", "amount": "2.00"}, {"description": "Cake", "amount": "3.50"}


def test_a_record_scores_1_against_itself_and_0_against_nothing():
    record = {"line_items": [TEA, CAKE], "total": "5.50"}
    assert metrics.f1([metrics.field_counts(record, record)]) == 1.0
    assert metrics.f1([metrics.field_counts(record, {})]) == 0.0
    assert metrics.f1([metrics.field_counts(record, None)]) == 0.0


def test_field_f1_does_not_depend_on_the_order_of_line_items():
    assert metrics.f1([metrics.field_counts({"line_items": [TEA, CAKE]}, {"line_items": [CAKE, TEA]})]) == 1.0


def test_field_f1_has_the_known_values_of_donuts_evaluator():
    target = {
        "line_items": [{"description": "A", "quantity": "1"}, {"description": "B", "quantity": "2"}],
        "total": "9",
    }
    one_wrong = {
        "line_items": [{"description": "A", "quantity": "1"}, {"description": "B", "quantity": "3"}],
        "total": "9",
    }
    assert metrics.f1([metrics.field_counts(target, one_wrong)]) == pytest.approx(0.8)
    dropped = {"line_items": [{"description": "A", "quantity": "1"}], "total": "9"}
    assert metrics.f1([metrics.field_counts(target, dropped)]) == pytest.approx(0.75)
    twice = {"line_items": [{"description": "A"}, {"description": "A"}]}
    assert metrics.field_counts({"line_items": [{"description": "A"}]}, twice) == Counts(tp=1, fp=1, fn=0)


def test_the_summary_is_not_a_field():
    assert metrics.field_counts({"total": "1", "summary": "x"}, {"total": "1", "summary": "y"}) == Counts(tp=1)


def test_micro_f1_pools_documents_rather_than_averaging_them():
    assert metrics.f1([Counts(tp=9, fp=1), Counts(tp=0, fn=1)]) == pytest.approx(9 / 10)


def test_clause_identification_counts_all_41_categories():
    target = {"clauses": {"Parties": ["A"], "Governing Law": ["x"]}}
    found = {"clauses": {"Parties": ["anything"], "Insurance": ["y"]}}
    assert metrics.clause_counts(target, found) == Counts(tp=1, fp=1, fn=1, tn=38)
    assert metrics.accuracy([metrics.clause_counts(target, found)]) == pytest.approx(39 / 41)
    assert metrics.clause_counts({"clauses": {}}, None) == Counts(tn=41)


def test_a_span_matches_from_half_of_its_words_on_and_only_once():
    target = {"clauses": {"Insurance": ["a b c d"]}}
    assert metrics.span_counts(target, {"clauses": {"Insurance": ["A  b\nc x"]}}) == Counts(tp=1)  # 3 of 5 words
    assert metrics.span_counts(target, {"clauses": {"Insurance": ["a b x y"]}}) == Counts(fp=1, fn=1)  # 2 of 6
    assert metrics.span_counts(target, {"clauses": {"Insurance": ["a b c d", "a b c d"]}}) == Counts(tp=1, fp=1)
    assert metrics.span_counts(target, {"clauses": {"Parties": ["a b c d"]}}) == Counts(fp=1, fn=1)


def test_anls_is_the_best_answer_and_nothing_below_one_half():
    assert metrics.anls(["$123,110"], "$123,110") == 1.0
    assert metrics.anls(["abcd", "abcx"], "ABCX ") == 1.0
    assert metrics.anls(["abcd"], "abcx") == pytest.approx(0.75)
    assert metrics.anls(["abcd"], "axxx") == 0.0
    assert metrics.anls(["abcd"], None) == 0.0
    assert metrics.exact_match(["A  b"], "a b") == 1.0


def test_an_interval_encloses_the_value_and_narrows_with_more_documents():
    few = metrics.estimate(metrics.mean, [0.0, 1.0] * 5)
    many = metrics.estimate(metrics.mean, [0.0, 1.0] * 200)
    assert few["low"] < few["value"] == 0.5 < few["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert metrics.estimate(metrics.mean, [0.25]) == {"value": 0.25, "low": 0.25, "high": 0.25}
    with pytest.raises(ValueError, match="at least one"):
        metrics.estimate(metrics.mean, [])


def test_percentiles_are_values_that_occurred():
    assert metrics.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert metrics.percentile([1.0] * 19 + [9.0], 0.95) == 9.0
