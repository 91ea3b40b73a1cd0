"""Variations of documents: the same form with other numbers and names, and records that stay exact."""

import json
import random

import pytest

import config
import download_datasets
import prepare_training_data as prepare
from extraction import cord, files
from extraction.preparing import duplicates
from extraction.synthetic import variations


@pytest.fixture(scope="module")
def truths():
    rows = files.read_jsonl(config.ROOT / "data" / "samples" / "cord.jsonl")
    return [json.loads(row["ground_truth"]) for row in rows if row["sample_split"] == "train"]


def test_numbers_keep_their_form_and_equal_ones_stay_equal():
    change = variations.numbers(random.Random(1))
    changed = change("TOTAL Rp 125,000.00 CASH 125,000.00 PPN 11,363")
    words = changed.split()
    assert words[2] == words[4] != "125,000.00"
    assert words[2].endswith(",000.00")
    assert len(words[2]) == len("125,000.00")
    assert words[6] != "11,363"
    assert words[:2] == ["TOTAL", "Rp"]


def test_counts_days_and_years_stay():
    text = "2 x item, 31 December 2019 and 1998"
    assert variations.numbers(random.Random(2))(text) == text


def test_different_numbers_stay_different():
    change = variations.numbers(random.Random(3))
    assert len({change(str(number)) for number in range(100, 1000)}) == 900


def test_names_keep_their_case_and_equal_words_stay_equal():
    change = variations.names(["soup", "Rice"], random.Random(4))
    for word, check in (("TEA", str.isupper), ("tea", str.islower), ("Tea", str.istitle)):
        assert check(change(word))
        assert change(word) == change(word)
    assert change("12 x") == "12 x"


def test_a_varied_receipt_has_the_same_layout_and_a_record_whose_values_are_all_printed(truths):
    pool = variations.item_words(truths)
    for number, truth in enumerate(truths):
        varied = variations.of_cord(truth, pool, random.Random(number))
        assert json.dumps(varied["gt_parse"]) != json.dumps(truth["gt_parse"])
        assert cord.to_cord(cord.from_cord(varied["gt_parse"])) == varied["gt_parse"]
        before, after = (
            [(w["quad"], w["is_key"]) for line in t["valid_line"] for w in line["words"]] for t in (truth, varied)
        )
        assert before == after
        labels = [[w["text"] for li in t["valid_line"] for w in li["words"] if w["is_key"]] for t in (truth, varied)]
        assert [variations.NUMBER.sub("", text) for text in labels[0]] == [
            variations.NUMBER.sub("", text) for text in labels[1]
        ]
        gold, found = (cord.gold_words(t)[1] for t in (truth, varied))
        assert found == gold  # each value stands on the same words as before


def test_only_training_documents_are_varied_and_their_rows_name_them(tmp_path):
    items = [f"data.datasets_dir={tmp_path / 'datasets'}", f"data.training_dir={tmp_path / 'rows'}"]
    items += ["data.variations.cord=2", "data.variations.tatqa=1", "data.datasets=cord,tatqa"]
    options = [argument for item in items for argument in ("--set", item)]
    assert download_datasets.main(options) == 0
    assert prepare.main(options) == 0
    rows = {split: list(files.read_jsonl(tmp_path / "rows" / f"{split}.jsonl")) for split in prepare.SPLITS}
    assert not [row for split in ("eval", "test") for row in rows[split] if "~" in row["document"]]
    receipts = {row["document"] for row in rows["train"] if (row["task"], row["source"]) == ("receipt", "cord")}
    whole = {name for name in receipts if "~" not in name}
    assert receipts == whole | {f"{name}~{number}" for name in whole for number in (1, 2)}
    pages = [row for row in rows["train"] if row["source"] == "tatqa" and "~" in row["document"]]
    assert pages
    for row in pages:
        assert prepare.printed(row["target"]["answers"][0], row["prompt"][1]["content"].replace("< |", "<|"))


def test_a_variation_leaves_with_the_document_that_it_varies():
    words = " ".join(f"word{n}" for n in range(60))
    sources = prepare.Sources()
    sources.add("test", {"id": "a", "source": "cord", "text": words})
    sources.add("train", {"id": "b", "source": "cord", "text": words})
    sources.add(
        "train", {"id": "b~1", "source": "cord", "text": " ".join(f"other{n}" for n in range(60)), "varies": "b"}
    )
    duplicates.remove(sources, 1)
    assert sources.documents["train"] == []
    assert sources.left_out["cord/train: variation of a document that was left out"] == 1
