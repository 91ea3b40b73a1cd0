"""What the variants of training are compared by: the loss of right answers, and rows that are right as a whole."""

import math
from types import SimpleNamespace

import pytest
import torch

import config
import train_moe
from benchmarks import ablations
from extraction.models import base_model
from extraction.models.rows import encode_row

SURE = 3.0


class Alphabet:
    """A model that expects the next letter of the alphabet, and its tokenizer: a letter is a token."""

    eos_token, pad_token_id = "z", 0

    def apply_chat_template(self, messages, **_):
        return messages[0]["content"]

    def __call__(self, text, **_):
        return {"input_ids": [ord(letter) - ord("a") for letter in text]}

    def get_base_model(self):
        return self

    def model(self, input_ids, **_):
        return SimpleNamespace(last_hidden_state=torch.nn.functional.one_hot((input_ids + 1) % 26, 26).float())

    def lm_head(self, states):
        return SURE * states


def row(prompt, answer, kind="k", document="d"):
    messages = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": answer}]
    name = f"{document}/{prompt}"
    return {"id": name, "kind": kind, "document": document, "prompt": messages[0], "completion": messages[1]}


def test_a_row_is_right_only_if_each_token_of_its_answer_is_the_likeliest():
    model = Alphabet()
    rows = [row("w", "xy"), row("abcdefw", "xx"), row("t", "uvwxy")]
    found = ablations.forced(model, model, rows, "cpu")
    assert [(one["right"], one["tokens"]) for one in found] == [(True, 3), (False, 3), (True, 6)]
    likely, rest = (math.log(math.exp(SURE) + 25) - score for score in (SURE, 0.0))
    assert [one["loss"] for one in found] == pytest.approx([3 * likely, likely + 2 * rest, 6 * likely], abs=1e-4)


def test_the_loss_of_a_row_of_a_batch_is_that_of_the_row_alone(tiny_moe):
    items = [f"train.base_model={tiny_moe}", "train.init_adapter=null"]
    cfg = config.read(config.parser(""), [part for item in items for part in ("--set", item)])[1]
    model, tokenizer = train_moe.load_model(cfg).eval(), base_model.tokenizer(str(tiny_moe), cfg.base_dir)
    rows = [row("TEA 2.00", '{"total":"2.00"}'), row("COFFEE LATTE 12.50\nTOTAL 12.50", '{"total":"12.50"}')]
    for one, found in zip(rows, ablations.forced(model, tokenizer, rows, "cpu"), strict=True):
        prompt, answer = encode_row(tokenizer, one)
        ids = torch.tensor([prompt + answer])
        with torch.inference_mode():
            wanted = model(input_ids=ids, labels=torch.tensor([[-100] * len(prompt) + answer])).loss.item()
        assert found["tokens"] == len(answer) and found["loss"] / len(answer) == pytest.approx(wanted, rel=1e-3)


def test_differences_are_paired_over_documents_and_a_model_against_itself_has_none():
    def rows(right):
        made = [("receipts", "a", 0), ("receipts", "a", 1), ("receipts", "b", 2), ("questions", "c", 3)]
        parts = {"tokens": 2, "loss": 1.0}
        return [{"kind": kind, "document": name, **parts, "right": n in right} for kind, name, n in made]

    def result(right, **made_of):
        made_of = {"common": ["x"], "asked": "y", **made_of}
        return {"made_of": made_of, "training": {"tokens": 1_500_000}, "rows": rows(right)}

    results = {"reference": result({0, 1, 2}), "no-general": result({0, 3}), "rank-16": result({0}, common=["other"])}
    lines = ablations.lines_of(results, 200)
    assert [line["variant"] for line in lines] == ["reference", "no-general"]  # the third one shares no settings
    itself, other = (line["kinds"]["receipts"] for line in lines)
    assert itself["right"] == {"this": 100.0, "other": 100.0, "difference": {"value": 0, "low": 0, "high": 0}}
    assert itself["loss"]["this"] == 0.5 and (itself["rows"], itself["documents"]) == (3, 2)
    assert other["right"]["difference"]["value"] == pytest.approx(-200 / 3)
    assert other["right"]["difference"]["low"] == -100 and other["right"]["difference"]["high"] == -50
    assert "| no-general | data.general=0 | 1.50 M | reference | -66.7 (-100.0 to -50.0) |" in ablations.table(lines)
