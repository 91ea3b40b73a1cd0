import random
from datetime import date
from decimal import Decimal

import pytest

from extraction.evidence import values


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("1 234,50", "1234.50"),
        ("1'234.50", "1234.50"),
        ("12,34,567.00", "1234567.00"),
        ("45.500", "45500"),
        ("45,500", "45500"),
        ("0.500", "0.500"),
        ("16, 500", "16500"),
        ("Rp 45.500,-", "45500"),
        ("Rp.5.000", "5000"),
        ("@28,000", "28000"),
        ("1X", "1"),
        ("x2", "2"),
        ("€ 12,5", "12.5"),
        ("-12.00", "-12.00"),
        ("12.00-", "-12.00"),
        ("(45.00)", "-45.00"),
        ("-Rp 5.000", "-5000"),
    ],
)
def test_an_amount_is_read_in_the_customs_of_its_country_with_its_sign(text, meant):
    assert values.amount(text) == Decimal(meant)


@pytest.mark.parametrize(
    "text", ["", "-", "Tea", "10%", "2 x 3.00", "12:30", "27/04/2019", "12.05.2024", "1,23,45", "PB1", "4003-Blueberry"]
)
def test_what_is_not_one_amount_is_none(text):
    assert values.amount(text) is None


def test_amounts_written_in_either_custom_are_read_back():
    draw = random.Random(1)
    for _ in range(2000):
        cents = draw.randrange(-(10 ** draw.randrange(1, 10)), 10 ** draw.randrange(1, 10))
        wanted = Decimal(cents) / 100
        english = f"{wanted:,.2f}"
        continental = english.translate(str.maketrans(",.", ".,"))
        whole = f"{cents:,}"
        assert values.amount(english) == wanted
        assert values.amount(continental) == wanted
        assert values.amount(continental.replace(".", " ")) == wanted
        assert values.amount(f"Rp {english}") == wanted and values.amount(f"{continental} EUR") == wanted
        assert values.amount(whole) == values.amount(whole.replace(",", ".")) == cents


def test_three_digits_behind_one_separator_have_a_second_reading():
    assert values.readings("1.250") == [Decimal(1250), Decimal("1.250")]
    assert values.readings("1.25") == [Decimal("1.25")]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-05-06", ["2024-05-06"]),
        ("06.05.2024", ["2024-05-06"]),
        ("27/04/19", ["2019-04-27"]),
        ("04/27/2019", ["2019-04-27"]),
        ("05/06/2024", ["2024-06-05", "2024-05-06"]),
        ("31/02/2024", []),
        ("27-Apr-19", ["2019-04-27"]),
        ("this 5th day of May, 2018", ["2018-05-05"]),
        ("December 1st, 2011", ["2011-12-01"]),
        ("1. März 2024", ["2024-03-01"]),
        ("3 août 2023", ["2023-08-03"]),
        ("16-03-201812:07:10", ["2018-03-16"]),
    ],
)
def test_a_date_has_the_readings_that_the_calendar_allows(text, meant):
    ((_, _, readings),) = values.dates(text)
    assert [d.isoformat() for d in readings] == meant


@pytest.mark.parametrize("text", ["3.000.000", "12:30", "Room 12", "2024", "1.5.0.2", "+61-2-3373-5141"])
def test_other_numbers_are_no_dates(text):
    assert values.dates(text) == []


def test_both_dates_of_a_range_are_read():
    assert [[d.isoformat() for d in r] for _, _, r in values.dates("01.02.2024-15.03.2024")] == [
        ["2024-02-01"],
        ["2024-03-15"],
    ]


def test_every_day_is_read_back_in_every_unambiguous_form():
    draw = random.Random(2)
    for _ in range(500):
        day = date.fromordinal(draw.randrange(date(1980, 1, 1).toordinal(), date(2060, 1, 1).toordinal()))
        for form in ("%Y-%m-%d", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%Y/%m/%d"):
            assert [r for _, _, r in values.dates(f"on {day.strftime(form)} at noon")] == [[day]]
        assert day in values.dates(day.strftime("%d/%m/%Y"))[0][2]
        assert day in values.dates(day.strftime("%m/%d/%Y"))[0][2]


def test_a_dollar_may_be_of_any_country_and_a_code_is_of_one():
    assert {"USD", "SGD"} <= values.currency("$5.00")
    assert values.currency("US$ 5.00") == {"USD"} and values.currency("Rp. 5.000") == {"IDR"}
    assert values.currency("5.00") == values.currency("Tea 5.00") == set()
