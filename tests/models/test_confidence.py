import json
import math
import random

import pytest

from extraction import files
from extraction.models import confidence
from extraction.scoring import metrics
from extraction.tasks import completions


def pieces_of(text, *cuts):
    """The bytes of a text, cut at these bytes."""
    data, ends = text.encode(), [*cuts, len(text.encode())]
    return [data[a:b] for a, b in zip([0, *cuts], ends, strict=True)]


# --- tokens -> values ----------------------------------------------------------------------------------------


def test_a_token_covers_the_characters_that_it_has_a_byte_of():
    assert confidence.token_spans([b"ab", b"", b"c"]) == [(0, 2), (0, 0), (2, 3)]
    euro = "a€b".encode()  # the sign has three bytes
    assert confidence.token_spans([euro[:2], euro[2:4], euro[4:]]) == [(0, 2), (1, 2), (2, 3)]


def test_the_place_of_a_value_is_its_text_and_its_closing_quote():
    text = '{"merchant":{"name":"A \\"B\\" {:"},"line_items":[{"description":"Tea","amount":"2.00"}],"total":"2.00"}'
    spans = completions.value_spans(text)
    assert {path: text[a:b] for path, (a, b) in spans.items()} == {
        "merchant.name": 'A \\"B\\" {:"',
        "line_items[0].description": 'Tea"',
        "line_items[0].amount": '2.00"',
        "total": '2.00"',
    }


def test_an_answer_that_cannot_be_read_has_no_values():
    assert completions.value_spans("I cannot help") == {}


def test_a_value_split_over_tokens_has_the_product_of_their_probabilities():
    text = '{"total":"45,500"}'
    pieces = [b'{"', b"total", b'":"', b"45", b",", b"500", b'"}']
    choices = [math.log(p) for p in (0.1, 0.2, 0.3, 0.9, 0.5, 0.8, 0.7)]
    assert confidence.of_values(text, pieces, choices) == {"total": pytest.approx(0.9 * 0.5 * 0.8 * 0.7)}
    assert confidence.of_values(text, [text.encode()], [math.log(0.4)]) == {"total": pytest.approx(0.4)}


def test_a_confidence_does_not_change_with_what_the_grammar_forces():
    text, pieces = '{"total":"45"}', [b'{"total":"', b"4", b"5", b'"', b"}"]
    free = confidence.of_values(text, pieces, [-3.0, -0.5, -0.25, -0.1, -4.0])
    forced = confidence.of_values(text, pieces, [None, -0.5, -0.25, -0.1, None])
    assert free == forced
    assert confidence.of_values(text, pieces, [None, None, None, None, None]) == {"total": 1.0}


def test_a_confidence_lies_between_0_and_1_and_falls_with_every_choice():
    draw = random.Random(1)
    for _ in range(200):
        choices = [-draw.expovariate(1) for _ in range(draw.randint(1, 30))]
        found = confidence.combined(choices)
        assert 0 <= found <= math.exp(max(choices)) <= 1
        worse = [choices[0] - 1, *choices[1:]]
        assert confidence.combined(worse) <= found


def test_tokens_that_do_not_make_the_text_give_no_confidence():
    assert confidence.of_values('{"total":"1"}', [b'{"total":"2"}'], [-1.0]) is None
    assert confidence.of_values('{"total":"1"}', [b'{"total":"1"}'], []) is None


# --- calibration ---------------------------------------------------------------------------------------------


def test_pools_of_adjacent_violators_on_a_known_case():
    judged = [(0.1, False), (0.2, True), (0.3, False), (0.4, True), (0.5, True)]
    assert confidence.isotonic(judged) == [[0.1, 0.0], [pytest.approx(0.25), 0.5], [pytest.approx(0.45), 1.0]]
    falling = [(0.2, True), (0.8, False)]
    assert confidence.isotonic(falling) == [[0.5, 0.5]]
    with pytest.raises(ValueError):
        confidence.isotonic([])


def test_a_curve_rises_and_is_level_beyond_its_ends():
    curve = [[0.2, 0.1], [0.6, 0.5]]
    assert [confidence.at(curve, x) for x in (0, 0.2, 0.4, 0.6, 1)] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])
    draw = random.Random(2)
    judged = [(draw.random(), draw.random() < 0.5) for _ in range(300)]
    shares = [confidence.at(confidence.isotonic(judged), n / 50) for n in range(51)]
    assert shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 1


def test_platts_curve_finds_the_line_that_the_outcomes_were_drawn_from():
    judged = calibrated(5000, 9, lambda c: 1 / (1 + ((1 - c) / c) ** 0.5 / math.e))  # slope 0.5, offset 1
    curve = confidence.platt(judged)
    for c in (0.1, 0.5, 0.9):
        assert confidence.at(curve, c) == pytest.approx(1 / (1 + ((1 - c) / c) ** 0.5 / math.e), abs=0.03)


@pytest.mark.parametrize("right", [True, False])
def test_platts_curve_of_a_few_values_is_not_sure_of_everything(right):
    curve = confidence.platt([(0.9, right)] * 3 + [(0.2, right)])
    assert all(0 <= confidence.at(curve, n / 10) <= 1 for n in range(11))
    assert 0.05 < confidence.at(curve, 0.9) < 0.95
    apart = confidence.platt([(0.9, True)] * 5 + [(0.1, False)] * 5)
    assert 0 < confidence.at(apart, 0.1) < 0.2 and 0.8 < confidence.at(apart, 0.9) < 1


def test_platts_curve_is_level_where_the_surer_values_are_wrong():
    judged = [(0.9, False), (0.8, False), (0.2, True), (0.1, True)]
    assert confidence.platt(judged) == [[0.5, 0.5]]


def calibrated(count, seed, meaning=lambda c: c):
    draw = random.Random(seed)
    sure = [draw.random() for _ in range(count)]
    return [(c, draw.random() < meaning(c)) for c in sure]


@pytest.mark.parametrize(("fitted", "count"), [(confidence.isotonic, 20_000), (confidence.platt, 5000)])
def test_calibrating_what_is_calibrated_changes_little(fitted, count):
    found = confidence.Calibration({"all": fitted(calibrated(count, 3))})
    moved = [abs(found("receipt", {"x": n / 100})["x"] - n / 100) for n in range(101)]
    assert max(moved) < 0.06 and sum(moved) / len(moved) < 0.02


def test_calibration_takes_most_of_the_error_away_on_other_values():
    overconfident = {"receipt": calibrated(5000, 4, lambda c: c**3)}
    found = confidence.fit(overconfident)
    others = calibrated(5000, 5, lambda c: c**3)
    after = [(found("receipt", {"x": c})["x"], right) for c, right in others]
    assert metrics.expected_calibration_error(others) > 0.2
    assert metrics.expected_calibration_error(after) < 0.03


def test_a_task_with_few_values_takes_the_curve_of_all():
    many = calibrated(10 * confidence.FEWEST, 6)
    few = [(0.9, True)] * 1000 + [(0.1, False)] * (confidence.FEWEST - 1)  # too few that are wrong
    found = confidence.fit({"receipt": many, "question": few})
    assert set(found.curves) == {"all", "receipt"}
    assert found("question", {"answer": 0.4}) == {"answer": confidence.at(found.curves["all"], 0.4)}
    assert found("question", None) is None


def test_a_calibration_is_read_back_for_its_own_model_only(tmp_path):
    judged = {"receipt": calibrated(200, 8)}
    path = confidence.save(tmp_path / "confidence.json", confidence.fit(judged), "weights", judged, "rows")
    assert confidence.load(path, "weights") == confidence.fit(judged)
    assert confidence.load(path, "other weights") is None
    assert confidence.load(tmp_path / "absent.json", "weights") is None
    path.write_text(json.dumps({**json.loads(path.read_text()), "curves": {"all": [[0.5, 7]]}}))
    with pytest.raises(files.StageError, match="is not a calibration"):
        confidence.load(path, "weights")


# --- what needs no review ------------------------------------------------------------------------------------


def test_of_the_values_that_need_no_review_no_more_than_promised_are_wrong_on_values_that_did_not_fit():
    def drawn(count, seed):
        draw = random.Random(seed)
        return [(sure, draw.random() < sure) for sure in (draw.random() ** 0.2 for _ in range(count))]

    for promise in (0.02, 0.05, 0.1):
        shares = []
        for seed in range(40):
            lowest = confidence.threshold(drawn(400, seed), promise)
            kept = [right for sure, right in drawn(4000, seed + 1000) if lowest is not None and sure >= lowest]
            shares.append(kept.count(False) / len(kept) if kept else 0)
        assert sum(shares) / len(shares) <= promise


def test_a_few_values_are_too_few_to_promise_anything():
    assert confidence.threshold([(0.99, True)] * 18, 0.05) is None
    assert confidence.threshold([(0.99, True)] * 19, 0.05) == 0.99
    assert confidence.threshold([(0.9, True)] * 40 + [(0.9, False)] * 10, 0.05) is None


def test_values_that_are_as_sure_are_accepted_together():
    judged = [(0.9, True)] * 60 + [(0.5, True)] * 20 + [(0.5, False)] * 20
    assert confidence.threshold(judged, 0.05) == 0.9


def test_a_task_with_too_few_values_takes_the_threshold_of_all():
    accept = confidence.thresholds({"receipt": [(0.9, True)] * 100, "question": [(0.7, True)] * 5}, 0.05)
    found = confidence.Calibration({"all": [[0.0, 0.0]]}, 0.05, accept)
    assert accept == {"receipt": 0.9, "all": 0.7}
    assert found.accepted_from("question") == 0.7
    assert (
        confidence.Calibration({"all": [[0.0, 0.0]]}, 0.05, {"all": None}).accepted_from("receipt") == confidence.NEVER
    )
    assert confidence.Calibration({"all": [[0.0, 0.0]]}).accepted_from("receipt") is None
