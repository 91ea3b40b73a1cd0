"""The learning curve: scores by documents learned from, and the sentence that follows from their intervals."""

import shutil

import config
from benchmarks import learning_curve as stage
from extraction.models import choice


def measured(documents, right, of=20):
    """Predictions of `of` test documents with two fields each, of which the first `right` documents have both right."""
    entries = []
    for n in range(of):
        target = {"number": f"A{n}", "day": f"{n}.1."}
        record = target if n < right else {"number": "wrong"}
        entry = {"id": f"own/slip/{n}", "document": str(n), "task": "slip", "target": target, "record": record}
        entries.append({**entry, "problem": None, "seconds": 1.0, "completion_tokens": 9, "confidences": None})
    return {"documents": documents, "predictions": entries}


def sentence_of(*sizes):
    found = stage.curve([measured(*size) for size in sizes], 200)
    return stage.sentence("slip", found["slip"]), found["slip"]


def test_the_sentence_names_from_where_on_more_documents_gain_nothing_that_the_test_can_show():
    said, points = sentence_of((0, 2), (5, 12), (20, 19), (50, 20))
    assert said.startswith("slip: field F1 rises from ") and said.endswith(
        "to 100.0 (50); beyond 20 documents, 20 test documents show no further gain."
    )
    assert points[0]["gain"]["value"] == 0 and points[2]["gain"]["low"] > 0 and points[2]["n"] == 20
    assert points[1]["to_the_most"]["high"] < 0 <= points[2]["to_the_most"]["high"]


def test_the_sentence_says_to_label_more_where_the_curve_still_rises_and_where_nothing_is_shown():
    assert sentence_of((0, 1), (5, 4), (20, 15))[0].endswith("between 5 and 20 documents: label more.")
    assert sentence_of((0, 10), (5, 10))[0].endswith("no difference that 20 test documents can show.")


def test_table_and_picture_hold_scores_and_nothing_of_the_documents(tmp_path):
    _, points = sentence_of((0, 2), (5, 12))
    assert "| slip | field F1 | 5 | 20 |" in stage.table({"slip": points})
    stage.draw({"slip": points, "receipt": points}, ["slip"], tmp_path / "curve.svg")
    assert "<svg" in (tmp_path / "curve.svg").read_text()


def test_the_start_of_a_curve_is_scored_in_the_place_of_what_was_trained(tmp_path):
    start = tmp_path / "start"
    shutil.copytree("data/embedded/adapter", start)
    items = [f"output.dir={tmp_path / 'output'}", f"train.init_adapter={start}"]
    cfg = config.read(config.parser(""), [part for item in items for part in ("--set", item)])[1]
    (cfg.adapter_dir / "of_another_size").mkdir(parents=True)
    stage.put_start(cfg)
    found = choice.choose(cfg, "adapter")
    assert found.fingerprint == stage.handoff.require(start, made_by="")["fingerprint"]
    assert not stage.handoff.damage(cfg.adapter_dir, found.manifest)
    assert not (cfg.adapter_dir / "of_another_size").exists()
