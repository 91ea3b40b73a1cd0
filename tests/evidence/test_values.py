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
        ("$128.43 cr", "-128.43"),
        ("30.00CR", "-30.00"),
        ("12,50 H", "-12.50"),
        ("12,50 S", "12.50"),
        ("EUR 50.00 Dr.", "50.00"),
        ("4.99 S", "4.99"),  # a class of tax
        (".50", "0.50"),
        ("-$.75", "-0.75"),
        ("kr.50", "50"),
        ("KD 1.250", "1.250"),
        ("2.000 BHD", "2.000"),
        ("12,500 DT", "12.500"),
        ("1,250.500 JOD", "1250.500"),
        ("R$ 5,00", "5.00"),
        ("¥1,000-", "1000"),
        ("500円-", "500"),
        ("0,01 €-", "-0.01"),
        ("Fr. 5.–", "5"),
        ("1'000.—", "1000"),
        ("$1.25M", "1250000"),
        ("1.5k", "1500"),
        ("3,2 Mio. EUR", "3200000"),
        ("Rs 5.50 lakh", "550000"),
        ("2 Mrd. EUR", "2000000000"),
        ("25rb", "25000"),
        ("1,29 B", "1.29"),  # a class of tax
    ],
)
def test_an_amount_is_read_in_the_customs_of_its_country_with_its_sign(text, meant):
    assert values.amount(text) == Decimal(meant)


@pytest.mark.parametrize(
    "text",
    ["", "-", "Tea", "10%", "2 x 3.00", "12:30", "27/04/2019", "12.05.2024", "1,23,45", "PB1", "4003-Blueberry"]
    + ["₹5 Cr", "2.5M", "5 K", "€1.2B", "4,5 Millionen", "1,54O", "12.5I"],
)
def test_what_is_not_one_amount_or_may_be_many_times_as_much_is_none(text):
    assert values.amount(text) is None


@pytest.mark.parametrize("minus", "- \u00ad \u2010 \u2011 \u2012 \u2013 \u2212 \ufe63 \uff0d".split())
def test_every_sign_that_is_printed_as_a_minus_is_one(minus):
    for text in (f"{minus}6.39", f"{minus} € 6,39", f"6.39{minus}"):
        assert values.amount(text) == Decimal("-6.39")


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
    assert values.readings("KD 1.250") == values.readings("1.250", {"KWD"}) == [Decimal("1.250"), Decimal(1250)]
    assert values.readings("1.250", {"EUR"}) == values.readings("€ 1.250", {"KWD"}) == values.readings("1.250")


def test_a_dash_behind_a_whole_amount_may_be_a_sign_and_a_mark_of_credit_may_mean_the_opposite():
    assert values.readings("1,000-") == [Decimal(-1000), Decimal("-1.000"), Decimal(1000)]
    assert values.unlikely("30.00 CR") == [Decimal(30)] and values.unlikely("30.00") == []


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-05-06", ["2024-05-06"]),
        ("06.05.2024", ["2024-05-06"]),
        ("27/04/19", ["2019-04-27", "2027-04-19"]),
        ("24-03-15", ["2015-03-24", "2024-03-15"]),
        ("32/04/19", ["2032-04-19"]),
        ("15.03.24", ["2024-03-15"]),
        ("04/27/2019", ["2019-04-27"]),
        ("05/06/2024", ["2024-06-05", "2024-05-06"]),
        ("31/02/2024", []),
        ("27-Apr-19", ["2019-04-27"]),
        ("this 5th day of May, 2018", ["2018-05-05"]),
        ("December 1st, 2011", ["2011-12-01"]),
        ("1. März 2024", ["2024-03-01"]),
        ("3 août 2023", ["2023-08-03"]),
        ("16-03-201812:07:10", ["2018-03-16"]),
        ("15 de marzo de 2024", ["2024-03-15"]),
        ("1er mars 2024", ["2024-03-01"]),
        ("2 decembre 2023", ["2023-12-02"]),
        ("3 gennaio 2024", ["2024-01-03"]),
        ("3 de março de 2024", ["2024-03-03"]),
        ("9. 5. 2024", ["2024-05-09"]),
        ("9. května 2024", ["2024-05-09"]),
        ("3 stycznia 2024", ["2024-01-03"]),
        ("5 Agustus 2024", ["2024-08-05"]),
        ("15 mrt 2024", ["2024-03-15"]),
        ("2024. május 5", ["2024-05-05"]),
        ("2024-Mar-15", ["2024-03-15"]),
        ("12 Mar '24", ["2024-03-12"]),
        ("8 jui 2024", ["2024-06-08", "2024-07-08"]),  # juin or juillet
    ],
)
def test_a_date_has_the_readings_that_the_calendar_allows(text, meant):
    ((_, _, readings),) = values.dates(text)
    assert [d.isoformat() for d in readings] == meant


@pytest.mark.parametrize(
    "text",
    "3.000.000|12:30|Room 12|2024|1.5.0.2|+61-2-3373-5141|15 Mar 10:30|Mar 15 10:30|15 Mar 10.30|15 mars 10h30".split(
        "|"
    ),
)
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
    assert values.currency("R$ 5,00") == {"BRL"} and values.currency("HK$5") == {"HKD"} and not values.currency("Q$5")
    assert values.currency("K.D. 1.250") == {"KWD"} and values.currency("1,000円") == {"JPY"}
    assert values.currency("5.00") == values.currency("Tea 5.00") == set()
