import copy
import random

import pytest

from extraction import cord
from extraction.scoring import differences, metrics
from extraction.scoring.metrics import Counts

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


def test_an_interval_contains_its_value():
    draw = random.Random(0)
    for _ in range(20):
        counts = [Counts(draw.randint(0, 5), draw.randint(0, 3), draw.randint(0, 3)) for _ in range(30)]
        found = metrics.estimate(metrics.f1, counts, samples=200)
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_the_difference_of_a_model_with_itself_is_0_and_of_another_has_a_sign():
    values = [random.Random(n).random() for n in range(40)]
    assert metrics.paired(metrics.mean, values, values) == {"value": 0.0, "low": 0.0, "high": 0.0}
    better = [v + 0.1 for v in values]
    assert metrics.paired(metrics.mean, better, values)["value"] == pytest.approx(0.1)
    assert metrics.paired(metrics.mean, values, better)["value"] == pytest.approx(-0.1)


def test_a_paired_interval_leaves_out_what_both_models_find_hard():
    values = [0.0, 1.0] * 20
    better = [v + 0.1 for v in values]
    paired = metrics.paired(metrics.mean, better, values)
    assert paired["high"] - paired["low"] < 1e-9  # each alone: about 0.3 wide
    assert metrics.estimate(metrics.mean, values)["high"] - metrics.estimate(metrics.mean, values)["low"] > 0.2
    with pytest.raises(ValueError):
        metrics.paired(metrics.mean, [1.0], [1.0, 2.0])


def test_percentiles_are_values_that_occurred():
    assert metrics.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert metrics.percentile([1.0] * 19 + [9.0], 0.95) == 9.0


# --- records -------------------------------------------------------------------------------------------------

TWO = {"line_items": [{**TEA, "quantity": "1"}, {**CAKE, "quantity": "2"}], "total": "9.00", "summary": "x"}
SWAPPED = {"line_items": [{**TEA, "quantity": "2"}, {**CAKE, "quantity": "1"}], "total": "9.00"}
TURNED = {"line_items": TWO["line_items"][::-1], "total": "9.00"}


def row_f1(target, prediction):
    return metrics.f1([metrics.row_counts(target, prediction)])


def test_swapped_quantities_are_seen_by_the_row_bound_score_and_not_by_donuts_f1():
    assert metrics.f1([metrics.field_counts(TWO, SWAPPED)]) == 1.0
    assert metrics.row_counts(TWO, SWAPPED) == Counts(tp=4, fp=2, fn=2)
    assert metrics.anls_star(TWO, SWAPPED) < 1
    assert metrics.nted_accuracy(TWO, SWAPPED) < 1


@pytest.mark.parametrize("score", [row_f1, metrics.anls_star, metrics.nted_accuracy])
def test_a_record_scores_1_against_itself_and_0_against_an_unreadable_answer(score):
    assert score(TWO, TWO) == 1.0
    assert score(TWO, None) == score(TWO, {}) == 0.0


def test_the_order_of_rows_matters_to_nted_alone():
    assert row_f1(TWO, TURNED) == metrics.anls_star(TWO, TURNED) == 1.0
    assert metrics.nted_accuracy(TWO, TURNED) < 1.0


def test_rows_are_assigned_so_that_the_most_fields_match():
    target = {"line_items": [{"description": "A", "quantity": "1"}, {"description": "A", "quantity": "2"}]}
    found = {"line_items": [{"description": "A", "quantity": "2"}, {"description": "A"}]}
    assert metrics.row_counts(target, found) == Counts(tp=3, fp=0, fn=1)
    alike, equal = {"description": "aaab", "quantity": "1112"}, {"description": "aaaa"}
    one = {"line_items": [{"description": "aaaa", "quantity": "1111"}]}
    assert metrics.row_counts(one, {"line_items": [alike, equal]}) == Counts(tp=1, fp=2, fn=1)
    nobody = {"line_items": [{"description": "Z"}]}
    assert metrics.row_counts(target, nobody) == Counts(tp=0, fp=1, fn=4)


def test_sub_items_and_labeled_values_are_bound_to_their_rows_too():
    def with_subs(first, second):
        return {"line_items": [{**TEA, "sub_items": [first]}, {**CAKE, "sub_items": [second]}]}

    milk, sugar = {"description": "Milk"}, {"description": "Sugar"}
    assert row_f1(with_subs(milk, sugar), with_subs(sugar, milk)) == pytest.approx(4 / 6)
    pairs = {"key_values": [{"key": "From", "value": "A"}, {"key": "To", "value": "B"}]}
    turned = {"key_values": [{"key": "From", "value": "B"}, {"key": "To", "value": "A"}]}
    assert row_f1(pairs, turned) == 0.5


def test_nted_has_the_value_counted_by_hand():
    target = {"total": "12"}  # below the root: total, <subtree>, total_price and a leaf of 2 characters
    assert metrics.nted_accuracy(target, {"total": "13"}) == pytest.approx(1 - 1 / 5)
    assert metrics.nted_accuracy(target, {"total": "12", "cash": "5"}) == pytest.approx(1 - 2 / 5)
    assert metrics.nted_accuracy({"title": "abc"}, {"title": "abd"}) == pytest.approx(1 - 1 / 4)  # not in CORD's tree
    assert metrics.nted_accuracy(target, {"total": "12", "line_items": TWO["line_items"]}) == 0.0
    assert metrics.nted_accuracy({}, {}) == 1.0 and metrics.nted_accuracy({}, target) == 0.0


def test_a_distance_too_great_for_any_score_is_not_worked_out(monkeypatch):
    import zss

    monkeypatch.setattr(zss, "distance", lambda *_: pytest.fail("worked out"))
    assert metrics.nted_accuracy({"total": "1"}, {"line_items": [TEA] * 100}) == 0.0


def test_the_lines_of_a_value_count_one_by_one_as_in_cords_tree():
    record = cord.from_cord({"menu": {"nm": ["Tea", "hot"], "price": "1"}})
    assert metrics.field_counts(record, record) == Counts(tp=3)
    half = {"line_items": [{"description": "Tea", "amount": "1"}]}
    assert metrics.field_counts(record, half) == Counts(tp=2, fn=1)


def test_anls_star_has_the_value_counted_by_hand():
    assert metrics.anls_star({"total": "1234", "cash": "9"}, {"total": "1235", "cash": "9"}) == pytest.approx(1.75 / 2)
    assert metrics.anls_star({"total": "1234"}, {"total": "1999"}) == 0.0  # similarity below 0.5


def test_counts_by_field_add_up_to_those_of_the_record():
    found = metrics.by_field(TWO, {"line_items": [{**TEA, "quantity": "3"}], "tax": "1"})
    assert found["line_items.quantity"] == Counts(fp=1, fn=2)
    assert found["tax"] == Counts(fp=1) and "summary" not in found
    assert metrics.total(found.values()) == Counts(tp=2, fp=2, fn=5)


def test_scoring_leaves_the_records_as_they_are():
    target, found = copy.deepcopy(TWO), copy.deepcopy(SWAPPED)
    for score in (metrics.row_counts, metrics.nted_accuracy, metrics.anls_star, metrics.field_counts):
        score(target, found)
    differences.differences("receipt", target, found)
    assert (target, found) == (TWO, SWAPPED)


# --- clauses and confidences ---------------------------------------------------------------------------------


def test_words_of_a_quote_are_those_of_cuads_evaluator():
    assert metrics.jaccard("Licensor; and/or Licensee.", "licensor\nAND  or licensee") == 1.0
    assert metrics.jaccard("a b", "c d") == 0.0


def test_quotes_are_assigned_so_that_the_most_match():
    target = {"clauses": {"Insurance": ["a b c", "a b d e"]}}
    found = {"clauses": {"Insurance": ["a b c d", "a b c"]}}  # the first fits both targets, the second one of them
    for prediction in (found, {"clauses": {"Insurance": found["clauses"]["Insurance"][::-1]}}):
        assert metrics.span_counts(target, prediction) == Counts(tp=2)


def test_more_matching_quotes_beat_better_ones():
    target = {"clauses": {"Insurance": ["a b c", "b c d", "c d e"]}}
    found = {"clauses": {"Insurance": ["a b c", "b c d", "a b c x y"]}}
    assert metrics.span_counts(target, found) == Counts(tp=3)


def test_counts_by_category_name_the_category():
    found = metrics.by_category({"clauses": {"Parties": ["A"]}}, {"clauses": {"Insurance": ["y"]}})
    assert found["Parties"] == Counts(fn=1) and found["Insurance"] == Counts(fp=1)
    assert found["Audit Rights"] == Counts(tn=1) and len(found) == 41


def test_quotes_with_confidences_are_judged_as_by_cuads_evaluator():
    target = {"clauses": {"Insurance": ["a b c d", "x y"], "Parties": ["Acme"]}}
    found = [
        ("Insurance", "a b c d", 0.6),
        ("Insurance", "a b c", 0.9),  # matches the same target: found at the higher confidence, and no false positive
        ("Insurance", "q", 0.2),
        ("Parties", "the firm Acme and many others", 0.5),  # contains the target, which is enough for this category
        ("Audit Rights", "z", 0.3),
        ("Audit Rights", "", 0.9),  # nothing is no prediction
    ]
    judged, wanted = metrics.cuad_scored(target, found)
    assert sorted(judged) == [(0.2, False), (0.3, False), (0.5, True), (0.9, True)]
    assert wanted == 3


def test_aupr_and_precision_at_recall_have_the_values_counted_by_hand():
    judged = [(0.9, True), (0.8, False), (0.7, True), (0.1, False)]
    curve = metrics.precision_recall(judged, targets=2)
    assert curve[0] == (0.0, 1.0) and curve[-1] == (1.0, 0.5)
    assert metrics.precision_at_recall(curve, 0.5) == 1.0
    assert metrics.precision_at_recall(curve, 0.8) == pytest.approx(2 / 3)
    assert metrics.aupr(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert [p for _, p in curve] == sorted((p for _, p in curve), reverse=True)


def test_a_curve_begins_with_precision_1_at_recall_0_and_its_area_is_made_of_trapezoids():
    curve = metrics.precision_recall([(0.995, True), (0.995, False)], targets=1)
    assert curve[:2] == [(0.0, 1.0), (1.0, 0.5)]
    assert metrics.aupr(curve) == pytest.approx(0.75)


def test_recall_that_is_never_reached_gives_precision_0():
    curve = metrics.precision_recall([(0.9, True)], targets=2)
    assert metrics.precision_at_recall(curve, 0.8) == 0.0
    assert metrics.aupr(curve) == pytest.approx(0.5)
    assert metrics.aupr(metrics.precision_recall([], targets=2)) == 0.0
    assert metrics.aupr(metrics.precision_recall([(0.0, True)], targets=1)) == 0.0  # must exceed the lowest threshold
    with pytest.raises(ValueError, match="at least one clause"):
        metrics.precision_recall([], targets=0)


def test_expected_calibration_error_is_the_gap_weighted_by_bin():
    assert metrics.expected_calibration_error([(1.0, True), (0.0, False)]) == 0.0
    assert metrics.expected_calibration_error([(0.9, True), (0.9, False)]) == pytest.approx(0.4)
    assert metrics.expected_calibration_error([(0.9, True)] + [(0.5, False)] * 3) == pytest.approx((0.1 + 3 * 0.5) / 4)
    with pytest.raises(ValueError, match="at least one confidence"):
        metrics.expected_calibration_error([])


def test_risk_falls_where_the_sure_answers_are_right():
    curve = metrics.risk_coverage([(0.9, True), (0.2, False), (0.8, True), (0.8, False)])
    assert curve == [(0.25, 0.0), (0.75, pytest.approx(1 / 3)), (1.0, 0.5)]
    assert metrics.area_under_risk_coverage(curve) == pytest.approx(0.5 / 3 + 0.25 * 0.5)


def test_anls_takes_lengths_after_white_space_is_normalized():
    assert metrics.anls(["abcd"], "  ab        cd  ") == pytest.approx(1 - 1 / 5)
    assert metrics.anls(["ab cd"], "AB \n CD") == 1.0
    assert metrics.anls(["abcd"], "abxx") == 0.5  # the boundary counts


# --- reasons -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "target", "prediction", "expected"),
    [
        ("receipt", {"total": "9.00"}, {"total": "9.90"}, [("total", "9.00", "9.90", "misread")]),
        ("receipt", {"total": "9.00"}, {}, [("total", "9.00", None, "not found")]),
        ("receipt", {"total": "9.00"}, None, [("total", "9.00", None, "not found")]),
        ("receipt", {}, {"merchant": {"name": "X"}}, [("merchant.name", None, "X", "invented")]),
        ("receipt", {"total": "Rp 45,500"}, {"total": "45500"}, [("total", "Rp 45,500", "45500", "wrong format")]),
        ("receipt", {"total": "1.50"}, {"total": "150"}, [("total", "1.50", "150", "misread")]),
        ("receipt", {"total": "-5"}, {"total": "5"}, [("total", "-5", "5", "misread")]),
        (
            "receipt",
            {"date": "12 Mar 2026"},
            {"date": "2026-03-12"},
            [("date", "12 Mar 2026", "2026-03-12", "wrong format")],
        ),
        ("receipt", {"time": "10:30 AM"}, {"time": "10.30am"}, [("time", "10:30 AM", "10.30am", "wrong format")]),
        (
            "receipt",
            TWO,
            SWAPPED,
            [("line_items[0].quantity", "1", "2", "wrong row"), ("line_items[1].quantity", "2", "1", "wrong row")],
        ),
        ("receipt", TWO, TURNED, []),
        (
            "receipt",
            {"line_items": [{**TEA, "discount": "1"}, CAKE]},
            {"line_items": [TEA, {**CAKE, "discount": "1"}]},
            [("line_items[0].discount", "1", None, "wrong row"), ("line_items[1].discount", None, "1", "wrong row")],
        ),
        (
            "receipt",
            {"line_items": [TEA]},
            {"line_items": [{"description": "Zebra"}, TEA]},
            [("line_items[0].description", None, "Zebra", "invented")],
        ),
        (
            "receipt",
            {"line_items": [TEA, {"description": "Cappuccino"}]},
            {"line_items": [{"description": "Cappucino"}, TEA]},
            [("line_items[1].description", "Cappuccino", "Cappucino", "misread")],
        ),
        ("document", {"title": "A b"}, {"title": "A-B"}, [("title", "A b", "A-B", "wrong format")]),
        ("contract", {"clauses": {"Insurance": ["a b c"]}}, {"clauses": {"Insurance": ["A b."]}}, []),
        (
            "contract",
            {"clauses": {"Insurance": ["a b c"], "Parties": ["Acme"]}},
            {"clauses": {"Insurance": ["x y"], "Audit Rights": ["Acme"], "Non-Compete": ["n"]}},
            [
                ("clauses.Parties", "Acme", None, "wrong row"),
                ("clauses.Non-Compete", None, "n", "invented"),
                ("clauses.Audit Rights", None, "Acme", "wrong row"),
                ("clauses.Insurance", "a b c", "x y", "misread"),
            ],
        ),
        ("contract", {"clauses": {"Insurance": ["a"]}}, None, [("clauses.Insurance", "a", None, "not found")]),
        ("question", {"answers": ["9.00", "nine"]}, {"answer": "Nine"}, []),
        ("question", {"answers": ["nine", "9.00"]}, {"answer": "$9"}, [("answer", "9.00", "$9", "wrong format")]),
        ("question", {"answers": ["x"]}, {"answer": "y"}, [("answer", "x", "y", "misread")]),
        ("question", {"answers": ["x"]}, {}, [("answer", "x", None, "not found")]),
        ("question", {"answers": []}, {"answer": "y"}, [("answer", None, "y", "invented")]),
    ],
)
def test_each_difference_has_its_reason(task, target, prediction, expected):
    found = differences.differences(task, target, prediction)
    assert [(d.path, d.target, d.prediction, d.reason) for d in found] == expected
    assert {d.reason for d in found} <= set(differences.REASONS)
