"""extraction/tasks/first_look.py: which sentences of a contract are read."""

import json
from pathlib import Path

from extraction.reading import layout
from extraction.tasks import first_look, sentences

RECITAL = "This Agreement is made between Acme Inc. and Bolt Ltd. on May 1, 2020. "
PLAIN = "Notices shall be in writing and shall be sent to the address set forth above. "
LAW = "This Agreement shall be governed by the laws of the State of Ohio. "


def test_sentences_that_may_hold_a_clause_are_read_and_so_are_the_beginning_and_text_of_unknown_words():
    text = RECITAL * 10 + PLAIN * 12 + LAW + PLAIN * 12 + "Der Vertrag endet am Jahresende. " * 6
    spans = sentences.split(text)
    read = "".join(text[a:b] for (a, b), chosen in zip(spans, first_look.likely(text, spans), strict=True) if chosen)
    assert LAW in read and "Vertrag endet" in read and read.startswith(RECITAL)
    assert read.count(PLAIN) <= 8  # those beside the clause


def test_half_of_real_contracts_is_left_out_and_windows_hold_the_rest_once_and_in_order():
    whole = left = 0
    for entry in json.loads(Path("data/samples/cuad.json").read_text(encoding="utf-8"))["data"]:
        if entry["sample_split"] == "test":
            text = layout.prose(entry["paragraphs"][0]["context"])
            spans = sentences.split(text)
            windows = first_look.windows(text, spans, 2000)
            read = [span for window in windows for span in window]
            chosen = first_look.likely(text, spans)
            assert read == [span for span, is_chosen in zip(spans, chosen, strict=True) if is_chosen]
            assert all(sum(b - a for a, b in window) <= 1000 or len(window) == 1 for window in windows)
            whole, left = whole + len(text), left + len(text) - sum(b - a for a, b in read)
    assert 0.35 < left / whole < 0.55
