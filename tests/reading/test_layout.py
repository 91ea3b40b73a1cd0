import math

import pytest

from extraction.reading import layout
from extraction.reading.words import Word, placed, rotated


def cell(text, left, top, width=None, height=20):
    width = width or 10 * len(text)
    return Word(text, (left, top, left + width, top + height))


RECEIPT = [
    cell("Tea", 0, 0),
    cell("2.00", 300, 0),
    cell("Cheese", 0, 40),
    cell("cake", 70, 41),
    cell("13.50", 290, 42),
    cell("TOTAL", 0, 80),
    cell("15.50", 290, 80),
]


def turned(items, degrees):
    return [placed(w.text, [rotated(x, y, math.radians(degrees)) for x, y in w.corners], score=w.score) for w in items]


def test_columns_stay_columns_and_phrases_stay_phrases():
    text = layout.layout(layout.upright(RECEIPT)).text
    tea, cake, total = text.split("\n")
    assert cake.startswith("Cheese cake ")
    assert tea.index("2.00") == cake.index("13.50") + 1 == total.index("15.50") + 1


@pytest.mark.parametrize("degrees", [-8, -3, 1, 2, 5, 8])
def test_a_skewed_page_keeps_its_rows(degrees):
    straight = layout.layout(layout.upright(RECEIPT)).text
    skewed = layout.layout(layout.upright(turned(RECEIPT, degrees))).text
    assert [line.split() for line in skewed.split("\n")] == [line.split() for line in straight.split("\n")]


@pytest.mark.parametrize("degrees", [90, 180, -90, 93, 177, -178])
def test_a_page_that_lies_on_its_side_or_its_head_is_laid_out_upright(degrees):
    straight = layout.layout(layout.upright(RECEIPT)).text
    lying = layout.layout(layout.upright(turned(RECEIPT, degrees))).text
    assert [line.split() for line in lying.split("\n")] == [line.split() for line in straight.split("\n")]


def test_a_page_on_its_head_is_laid_out_upright_though_its_words_lean_to_both_sides():
    """The angles lie about 179 and -179 degrees; their plain middle would be 0."""
    leaning = [turned([item], 179.5 if i % 2 else -179.5)[0] for i, item in enumerate(RECEIPT)]
    straight = layout.layout(layout.upright(RECEIPT)).text
    lying = layout.layout(layout.upright(leaning)).text
    assert [line.split() for line in lying.split("\n")] == [line.split() for line in straight.split("\n")]


def test_each_span_of_a_layout_holds_its_word():
    found = layout.layout(layout.upright(RECEIPT))
    assert [found.text[a:b] for a, b in found.spans] == [w.text for w in found.words]


def test_an_empty_page_is_empty_text():
    assert layout.layout([]).text == ""
    assert layout.layout([Word("  ", (0, 0, 1, 1))]).text == ""


def test_prose_keeps_every_printed_character():
    text = "A  b\t c\r\n\r\n\r\n  d\n e  "
    assert layout.prose(text) == "A b c\n\nd\ne"
    assert "".join(layout.prose(text).split()) == "".join(text.split())


@pytest.mark.parametrize("length", [1, 50, 200, 1000, 7777])
def test_windows_cover_the_text_overlap_and_keep_their_size(length):
    text = ("Some words here. " * 1000)[:length]
    spans = layout.windows(text, 200, 40)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(0 < b - a <= 200 for a, b in spans)
    assert all(
        later[0] <= earlier[1] and later[0] > earlier[0] for earlier, later in zip(spans, spans[1:], strict=False)
    )


def test_windows_of_text_without_blanks_come_to_an_end():
    assert layout.windows("x" * 1000, 200, 90)[-1][1] == 1000


def test_the_best_window_holds_what_is_asked_about():
    text = "filler words. " * 200 + "The warranty lasts nine months. " + "more filler. " * 200
    assert "nine months" in layout.best_window(text, "How long is the warranty?", 400, 80)
