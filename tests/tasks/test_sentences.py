import random
from pathlib import Path

import pytest

from extraction import files
from extraction.reading import layout
from extraction.scoring import metrics
from extraction.tasks import sentences


def parts(text, unit="clause"):
    return [text[a:b] for a, b in sentences.split(text, unit)]


def contracts():
    for entry in files.read_json(Path("data/samples/cuad.json"))["data"]:
        yield layout.prose(entry["paragraphs"][0]["context"])


@pytest.mark.parametrize("unit", sentences.UNITS)
def test_every_character_of_a_window_belongs_to_exactly_one_sentence(unit):
    draw = random.Random(1)
    texts = [text[a:b] for text in contracts() for a, b in layout.windows(text, 2000, 300)]
    texts += ["".join(draw.choices('aB1.;:,()\n "\u2022-_i', k=draw.randint(0, 60))) for _ in range(3000)]
    for text in texts:
        found = sentences.split(text, unit)
        assert "".join(text[a:b] for a, b in found) == text
        assert all(a < b for a, b in found)
        assert all(text[a:b].strip() for a, b in found[1:])


@pytest.mark.parametrize(
    "text",
    [
        "Acme Inc. and Bolt Co. of St. Louis, No. 5 Main Ave. North, agree.",
        "The U.S. Department pays 3.5 percent, e.g. in June.",
        "1.1 License grant to J. Smith.",
        "Section 3.\n\nThe Term.",
        "(a) Nothing in Sec. 4 holds.",
        "the goods\n\nand services of the seller",
        "a line that is\nwrapped at the margin",
    ],
)
def test_what_looks_like_an_end_and_is_none_does_not_part_a_sentence(text):
    assert parts(text) == [text]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('One ends. Two begins! "Three?" Four.', ["One ends. ", "Two begins! ", '"Three?" ', "Four."]),
        ("GOVERNING LAW\nOhio law governs.", ["GOVERNING LAW\n", "Ohio law governs."]),
        ("Services Agreement\n\nBetween us", ["Services Agreement\n\n", "Between us"]),
        ("the fee\n(b) the term\n\u2022 the price", ["the fee\n", "(b) the term\n", "\u2022 the price"]),
        ("It ends here. (b) It begins.", ["It ends here. ", "(b) It begins."]),
        ("2. Term. Two years.", ["2. Term. ", "Two years."]),
    ],
)
def test_a_text_is_parted_where_a_reader_would(text, wanted):
    assert parts(text) == wanted


def test_a_clause_is_also_parted_at_semicolons_and_enumerated_parts():
    text = "It ends (a) on notice; or (b) on default, (c) after two years; the rest stays."
    assert parts(text, "sentence") == [text]
    wanted = ["It ends (a) on notice; or ", "(b) on default, ", "(c) after two years; ", "the rest stays."]
    assert parts(text, "clause") == wanted


def test_the_run_that_covers_a_span_is_the_one_nearest_to_it():
    units = [(0, 10), (10, 20), (20, 30), (30, 40)]
    for i in range(4):
        for j in range(i, 4):
            assert sentences.covering(units, units[i][0], units[j][1]) == (i, j)
    assert sentences.covering(units, 9, 21) == (1, 1)
    assert sentences.covering(units, 14, 16) == (1, 1)
    with pytest.raises(ValueError):
        sentences.covering(units, 40, 50)


def test_sentences_cover_nearly_every_quote_of_the_samples():
    """The bound on what pointing at sentences can reach; benchmarks/contracts.py has it by split and unit."""
    import prepare_training_data

    shares = {}
    for unit in sentences.UNITS:
        near = []
        for entry in files.read_json(Path("data/samples/cuad.json"))["data"]:
            text, spans = prepare_training_data.contract_spans(entry["paragraphs"][0])
            units = sentences.split(text, unit)
            for _, start, end in spans:
                first, last = sentences.covering(units, start, end)
                if end - start > 60:
                    near.append(metrics.jaccard(text[start:end], text[units[first][0] : units[last][1]]) >= 0.5)
        shares[unit] = sum(near) / len(near)
    assert shares["clause"] > 0.97
    assert shares["clause"] > shares["sentence"] > 0.94
