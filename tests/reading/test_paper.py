from extraction.reading import layout, paper
from extraction.reading.words import Word, placed

ROWS = [("Desk lamp", "88.00"), ("Shade", "12.50"), ("Delivery", "9.50"), ("TOTAL", "110.00"), ("CASH", "110.00")]


def receipt(left, right):
    """Rows of a receipt that takes a photo of 600 pixels from `left` to `right`."""
    words = []
    for n, (label, amount) in enumerate(ROWS):
        for text, x in ((label, left), (amount, right - 80)):
            box = (x, 100 + 50 * n, x + 80, 130 + 50 * n)
            words.append(Word(text, box, score=0.99))
    return words


def test_writing_under_the_paper_stays_out_of_its_rows():
    under = [Word("tfle", (0, 95, 70, 155), score=0.93), Word("now", (3, 160, 80, 190), score=0.82)]
    found = layout.page_layout([*receipt(100, 500), *under], 600)
    assert [row.split() for row in found.text.split("\n")] == [
        *[[*label.split(), amount] for label, amount in ROWS],
        ["tfle"],
        ["now"],
    ]
    assert found.aside == ["tfle", "now"]
    assert [found.text[a:b] for a, b in found.spans] == [w.text for w in found.words]


def test_the_next_receipts_edge_stays_out_of_the_rows():
    cut = [Word("AL", (585, 100 + 50 * n, 600, 135 + 50 * n), score=0.7 + 0.03 * n) for n in range(4)]
    assert paper.beside([*receipt(60, 520), *cut], 600) == {10, 11, 12, 13}


def test_rows_of_a_paper_that_fills_the_photo_stay():
    assert paper.beside(receipt(0, 600), 600) == set()
    assert paper.beside(receipt(60, 540), 600) == set()


def test_words_of_a_document_without_a_photo_are_never_beside_its_paper():
    digital = [placed(word.text, word.corners) for word in receipt(0, 600)]
    assert paper.beside(digital, 600) == set()
