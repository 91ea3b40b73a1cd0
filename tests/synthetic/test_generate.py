"""Documents of our own making: exact records, the same for the same seed, sums that hold, and many kinds of them."""

import json
import random
import re
from collections import Counter
from importlib import import_module

import pytest

from extraction.evidence import checks
from extraction.evidence.values import CURRENCIES
from extraction.reading import layout
from extraction.reading.words import Word
from extraction.synthetic import generate
from extraction.synthetic.parts import COUNTRIES, INJECTIONS, Money, Page, share_of, tax_id
from extraction.synthetic.words import BELOW, MENU, PACKING, SLIP
from extraction.tasks import completions, records, schemas

COUNT = 1500


def values_of(record):
    """(field, value) of every value."""
    return [(leaf.field, leaf.value.strip()) for leaf in records.leaves(record)]


def laid_out(document):
    return layout.layout([Word(text, tuple(box)) for text, *box in document["words"]]).text


@pytest.fixture(scope="module")
def made():
    """Documents of every kind, each with its text."""
    return {
        kind: [document | {"text": laid_out(document)} for document in generate.documents(kind, COUNT, 11)]
        for kind in generate.KINDS
    }


def value(shown):
    """What a printed amount, or several on a line each, come to, in the smallest unit that is printed."""
    if "\n" in shown:
        return sum(map(value, shown.split("\n")))
    figures = re.sub(r"\D", "", shown.replace("O", "0"))
    return (-1 if re.search(r"-|\(", shown) else 1) * int(figures)


def pieces(quantity):
    return int(re.search(r"\d+", quantity).group())


def amounts(record):
    """The sum of all that the line items come to."""
    total = 0
    for item in record["line_items"]:
        total += value(item["amount"]) + value(item.get("discount", "0"))
        total += sum(value(sub.get("amount", "0")) for sub in item.get("sub_items", ()))
    return total


def charged(record):
    """What the items come to with all that is added and taken off before taxes, tips and rounding."""
    due = amounts(record) - abs(value(record.get("discount", "0")))
    return due + sum(value(record.get(name, "0")) for name in ("service_charge", "other_charge"))


# --- records and what is printed ---


@pytest.mark.parametrize("kind", generate.KINDS)
def test_every_record_is_one_of_its_task(made, kind):
    task = schemas.DOCUMENT if kind == "letter" else schemas.RECEIPT
    for n, document in enumerate(made[kind]):
        assert set(document) - {"text"} == {"id", "kind", "words", "record", "questions", "traits"}
        assert (document["id"], document["kind"]) == (f"generated/{kind}/{n:05d}", kind)
        assert completions.ordered(task, document["record"]) == records.prune(document["record"]) == document["record"]
        assert "summary" not in document["record"]


@pytest.mark.parametrize("kind", generate.KINDS)
def test_the_text_holds_every_value_and_every_answer_as_printed(made, kind):
    wrapped = 0
    for document in made[kind]:
        flat = " ".join(document["text"].split())
        answers = [("answer", asked["answer"]) for asked in document["questions"]]
        for path, shown in [*values_of(document["record"]), *answers]:
            assert generate.holds(document["text"], shown), (document["id"], path, shown)
            wrapped += " ".join(shown.split()) not in flat
    if kind != "letter":
        assert 0 < wrapped < COUNT / 2  # names and addresses that go on in the next row of their column


def test_a_text_holds_a_value_in_one_piece_or_wrapped_over_rows_of_its_column():
    text = "1 FRIED   RICE   2.00\n  WITH EGG\nTax A 0.10\nTax B 0.20"
    assert generate.holds(text, "FRIED RICE")
    assert generate.holds(text, "FRIED RICE WITH EGG")
    assert generate.holds(text, "0.10\n0.20")
    assert not generate.holds(text, "WITH EGG FRIED RICE")
    assert not generate.holds(text, "FRIED RICE WITH HAM")
    assert not generate.holds(text, "0.10\n0.30")
    assert not generate.holds(text, "FRIED RICE 0.10")  # the rows are not neighbors


@pytest.mark.parametrize("kind", generate.KINDS)
def test_boxes_have_an_extent_and_words_have_text(made, kind):
    for document in made[kind]:
        for text, left, top, right, bottom in document["words"]:
            assert text.strip() == text != "" and left < right and top < bottom


@pytest.mark.parametrize("kind", generate.KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(kind):
    def written(seed):
        return [json.dumps(document, ensure_ascii=False) for document in generate.documents(kind, 20, seed)]

    first = written(3)
    assert written(3) == first
    assert not set(written(4)) & set(first)


@pytest.mark.parametrize("kind", generate.KINDS)
def test_a_document_does_not_depend_on_how_many_are_made(kind):
    assert list(generate.documents(kind, 12, 3))[:5] == list(generate.documents(kind, 5, 3))
    assert list(generate.documents(kind, 0, 3)) == []


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="contract"):
        next(generate.documents("contract", 1, 3))


# --- shares ---


@pytest.mark.parametrize("kind", generate.KINDS)
def test_every_phenomenon_has_about_the_share_that_its_constant_says(made, kind):
    found = Counter(trait for document in made[kind] for trait in document["traits"])
    assert set(found) == set(generate.SHARES[kind])
    for name, share in generate.SHARES[kind].items():
        allowed = 4 * (share * (1 - share) / COUNT) ** 0.5
        assert found[name] / COUNT == pytest.approx(share, abs=allowed), name


def test_a_receipt_shows_the_phenomena_that_its_traits_name(made):
    shows = {
        "sub items": lambda r: any("sub_items" in item for item in r["line_items"]),
        "item discount": lambda r: any("discount" in item for item in r["line_items"]),
        "item codes": lambda r: any("number" in item for item in r["line_items"]),
        "long": lambda r: len(r["line_items"]) >= 12,
        "subtotal": lambda r: "subtotal" in r,
        "discount": lambda r: "discount" in r,
        "service charge": lambda r: "service_charge" in r,
        "other charge": lambda r: "other_charge" in r,
        "tax": lambda r: "tax" in r,
        "tip": lambda r: "tip" in r,
        "rounding": lambda r: "subtotal_other" in r,
        "item count": lambda r: "item_count" in r,
        "no total": lambda r: "total" not in r,
        "voucher": lambda r: "total_other" in r,
        "currency": lambda r: "currency" in r,
    }
    for document in made["receipt"]:
        for name, shown in shows.items():
            assert shown(document["record"]) == (name in document["traits"]), (document["id"], name)
        orders = [text for text in INJECTIONS if " ".join(text.split()) in " ".join(document["text"].split())]
        assert bool(orders) == ("injection" in document["traits"])


def test_a_size_below_an_item_has_its_quantity_again_where_that_is_above_one(made):
    sized = [document["record"] for document in made["receipt"] if {"sizes", "sub items"} <= set(document["traits"])]
    below = [
        (item.get("quantity"), item["sub_items"]) for r in sized for item in r["line_items"] if "sub_items" in item
    ]
    assert len(below) > 10
    for quantity, sizes in below:
        assert [size.get("quantity") for size in sizes] == [None if quantity in (None, "1") else quantity]
        assert "amount" not in sizes[0]


def test_totals_look_as_tills_print_them_where_the_traits_say_so(made):
    found = Counter()
    for document in made["receipt"]:
        record, traits, rows = document["record"], set(document["traits"]), document["text"].split("\n")
        plain = not traits & {"slipped", "junk beside", "noise", "values below"}
        if "two totals" in traits and {"subtotal", "total"} <= set(record) and plain:
            above, below = (
                [n for n, row in enumerate(rows) if re.match(rf" *(\d+ *)?({name})\b", row, re.IGNORECASE)]
                for name in ("total|ttl", "grand ?(total|ttl)")
            )
            found["two totals"] += bool(above and below and above[0] < below[0])
        if "values below" in traits and "total" in record and not traits & {"slipped", "junk beside"}:
            assert any(row.strip() == " ".join(record["total"].split()) for row in rows), document["id"]
            found["values below"] += 1
        if "paid in a row" in traits and "cash" in record:
            both = [row for row in rows if record["cash"] in row and record["change"] in row.split(record["cash"])[-1]]
            found["paid in a row"] += bool(both)
        if "packing" in traits and plain:
            found["packing"] += record["line_items"][-1]["description"].lower() in {name.lower() for name in PACKING}
        forms = {re.sub(r"\d+", "9", item["amount"]) for item in record["line_items"]}
        if "noise" not in traits:
            found["mixed marks" in traits, "both"] += any({f, f.translate(str.maketrans(",.", ".,"))} <= forms
                                                          for f in forms if re.search(r"9[.,]9", f))  # fmt: skip
    assert min(found[name] for name in ("two totals", "values below", "paid in a row", "packing")) > 15, found
    assert found[True, "both"] > 15 and found[False, "both"] == 0


def test_a_set_meal_has_many_parts_and_some_names_are_in_no_list(made):
    lists = {word.lower() for kind in MENU.values() for words in kind for name in words for word in name.split()}
    known = known_not = parts = 0
    for document in made["receipt"]:
        for item in document["record"]["line_items"]:
            parts = max(parts, len(item.get("sub_items", ())))
            first = item["description"].split()[0].lower()
            known, known_not = known + (first in lists), known_not + (first not in lists)
    assert parts == 10
    assert 0.1 < known_not / known < 0.7


def test_names_wrap_columns_touch_and_values_slip_where_the_traits_say_so(made):
    touching, alone, wrapped = Counter(), Counter(), Counter()
    for document in made["receipt"]:
        traits, text = document["traits"], document["text"]
        shown = {item["amount"] for item in document["record"]["line_items"]}
        rows = [row for row in text.split("\n") if any(row.endswith(f" {amount}") for amount in shown)]
        touching["narrow" in traits, "rows"] += len(rows)
        touching["narrow" in traits, "touch"] += sum(
            not re.search(r"\s{2}$", row[: -len(max((a for a in shown if row.endswith(" " + a)), key=len))])
            for row in rows
        )
        alone["slipped" in traits] += sum(row.strip() in shown for row in text.split("\n"))
        flat = " ".join(text.split())
        wrapped["wrapped names" in traits] += any(
            item["description"] not in flat for item in document["record"]["line_items"]
        )
    assert touching[True, "touch"] / touching[True, "rows"] > 0.35
    assert 0.02 < touching[False, "touch"] / touching[False, "rows"] < 0.15
    slipped = sum("slipped" in document["traits"] for document in made["receipt"])
    assert alone[True] / slipped > 4 * alone[False] / (COUNT - slipped)
    assert wrapped[True] > COUNT / 40
    assert not wrapped[False]


# --- sums ---


def test_receipts_add_up_as_they_print_it(made):
    counted = Counter()
    for document in made["receipt"]:
        record, traits = document["record"], document["traits"]
        due, tax = charged(record), value(record.get("tax", "0"))
        for item in record["line_items"]:
            if "unit_price" in item and "quantity" in item:
                assert value(item["amount"]) == pieces(item["quantity"]) * value(item["unit_price"]), document["id"]
                counted["unit price"] += 1
        net_above = value(record.get("subtotal", "0")) == due - tax and tax > 0
        if "subtotal" in record and not net_above:
            assert value(record["subtotal"]) == amounts(record), document["id"]
        counted["net subtotal"] += "subtotal" in record and net_above
        extra = sum(value(record.get(name, "0")) for name in ("tip", "subtotal_other"))
        total = value(record["total"]) if "total" in record else None
        if total is not None:
            assert total - extra in (due, due + tax), document["id"]
            counted["tax added" if tax and total - extra == due + tax else "tax included"] += tax > 0
            paid = total - value(record.get("total_other", "0"))
            for name in ("card", "e_money"):
                assert value(record.get(name, str(paid))) == paid, document["id"]
            if "change" in record and "cash" in record:
                assert value(record["cash"]) - abs(value(record["change"])) == paid, document["id"]
                counted["change"] += 1
        if "rounding" in traits and total:
            assert total % 5 == 0
        if "item_count" in record and all("quantity" in item for item in record["line_items"]):
            assert pieces(record["item_count"]) == sum(pieces(i["quantity"]) for i in record["line_items"])
            counted["count"] += 1
        if "item_type_count" in record:
            assert int(record["item_type_count"]) == len(record["line_items"])
    assert min(counted.values()) > 15, counted


@pytest.mark.parametrize("kind", ["receipt", "invoice"])
def test_a_printed_rate_is_the_rate_of_the_tax(made, kind):
    checked = Counter()
    for document in made[kind]:
        record = document["record"]
        if "tax" not in record:
            continue
        due = charged(record)
        for tax in record["tax"].split("\n"):
            for row in document["text"].split("\n"):
                match = re.search(r"(\d+(?:\.\d+)?)\s?%", row)
                above = re.search(r"disc|less|rabatt|remise|sconto|dto|service|svc|serv|potong", row, re.IGNORECASE)
                if not match or not row.endswith(" " + tax) or above:
                    continue
                rate = float(match.group(1))
                added, included = due * rate / 100, due * rate / (100 + rate)
                assert min(abs(value(tax) - added), abs(value(tax) - included)) <= 1, (document["id"], row)
                checked[rate] += 1
    assert len(checked) > 8 and sum(checked.values()) > COUNT / 10


def test_invoices_add_up(made):
    for document in made["invoice"]:
        record = document["record"]
        for item in record["line_items"]:
            assert value(item["amount"]) == pieces(item["quantity"]) * value(item["unit_price"]), document["id"]
        if "subtotal" in record:
            assert value(record["subtotal"]) == amounts(record), document["id"]
        assert value(record["total"]) == charged(record) + value(record.get("tax", "0")), document["id"]


def test_money_is_printed_in_the_ways_of_its_country():
    assert Money("USD", 2, ",", ".", "$").show(123450) == "$1,234.50"
    assert Money("EUR", 2, " ", ",", "", " €").show(-123450) == "-1 234,50 €"
    assert Money("IDR", 0, ".", "", "Rp. ").show(45500) == "Rp. 45.500"
    assert Money("IDR", 0, "", "").show(30000) == "30000"
    assert Money("GBP", 2, ",", ".", "£").show(-5, "({})") == "(£0.05)"
    assert [share_of(*pair) for pair in ((45, 10), (1000, 8.25), (44, 10), (99, 12.5))] == [5, 83, 4, 12]
    for country in COUNTRIES.values():
        for seed in range(40):
            money = Money.of(random.Random(seed), country)
            assert money.currency == country.currency
            assert value(money.show(1234567)) == 1234567


@pytest.mark.parametrize("code", COUNTRIES)
def test_tax_numbers_have_the_form_and_the_check_digits_of_their_country(code):
    draw, forms = random.Random(5), Counter()
    for _ in range(30):
        name, number = tax_id(draw, COUNTRIES[code])
        [(form, checked_by)] = [
            (form, module)
            for labels, several, module in COUNTRIES[code].tax_ids
            for form in several.split(";")
            if name in labels.split(",")
            and re.fullmatch(re.escape(form).replace(r"\#", r"\d").replace("@", "[A-Z]"), number)
        ][:1]
        assert not checked_by or import_module(f"stdnum.{checked_by}").is_valid(number)
        forms[form] += 1
    assert len(forms) > sum(len(several.split(";")) for _, several, _ in COUNTRIES[code].tax_ids) / 2


@pytest.mark.parametrize("kind", generate.KINDS)
def test_no_check_fails_but_where_noise_changed_an_amount(made, kind):
    task, found = schemas.DOCUMENT if kind == "letter" else schemas.RECEIPT, Counter()
    for document in made[kind]:
        for verdict in checks.check(document["record"], task):
            found[verdict["verdict"]] += 1
            assert verdict["verdict"] != checks.FAILS or "noise" in document["traits"], (document["id"], verdict)
    assert found[checks.HOLDS] > COUNT / 2
    assert found[checks.FAILS] < COUNT / 200


@pytest.mark.parametrize("kind", generate.KINDS)
def test_all_that_a_page_prints_about_its_currency_agrees(made, kind):
    mark = re.compile(r"(?:US|S|A)?\$|[€£₹]|\bRM(?= ?\d)|\b(?:Rp|Rs|USD|EUR|EURO|GBP|SGD|MYR|AUD|INR|CHF|IDR)\b")
    codes = CURRENCIES | {"a$": {"AUD"}, "euro": {"EUR"}}
    marked = 0
    for document in made[kind]:
        found = set(mark.findall(document["text"]))
        marked += bool(found)
        assert not found or set.intersection(*(codes[sign.casefold()] for sign in found)), (document["id"], found)
    assert marked > COUNT / 4


def test_a_named_currency_is_the_one_of_the_signs(made):
    signs = {"$": {"USD", "SGD", "AUD"}, "£": {"GBP"}, "€": {"EUR"}, "RM": {"MYR"}, "Rp": {"IDR"}, "₹": {"INR"}}
    found = set()
    for kind in ("receipt", "invoice"):
        for record in (document["record"] for document in made[kind] if "currency" in document["record"]):
            for sign, currencies in signs.items():
                if sign in record["line_items"][0]["amount"]:
                    assert record["currency"] in currencies
                    found.add(sign)
    assert len(found) >= 4


# --- what is a field and what is not ---


def test_marks_stay_with_their_values_as_in_cord(made):
    quantities, marks = Counter(), Counter()
    for document in made["receipt"]:
        if "noise" in document["traits"]:
            continue
        record = document["record"]
        for item in record["line_items"]:
            quantities[re.sub(r"\d+", "1", item.get("quantity", ""), count=1)] += 1
            marks["@"] += item.get("unit_price", "").startswith("@")
            for sub in item.get("sub_items", ()):
                marks[sub["description"][0]] += not sub["description"][0].isalnum()
        held = {word for _, shown in values_of(record) for word in shown.split()}
        for text, *_ in document["words"]:
            if text in ("x", "X") or re.match(r"@\d|[+>]\w|\d+[xX]$|[xX]\d+$", text):
                assert text in held, (document["id"], text)
    assert {"1", "1x", "1 x", "x1", "1.00", "1Prs"} <= set(quantities)
    assert all(marks[mark] for mark in "@+->*")


@pytest.mark.parametrize("kind", generate.KINDS)
def test_what_surrounds_a_document_is_in_no_field(made, kind):
    around = [re.escape(text.split("{n}")[0].strip()) for text in (*BELOW, *SLIP, *INJECTIONS)]
    around = re.compile(r"IBAN|BIC |Ship to|" + "|".join(a for a in around if len(a) > 8))
    for document in made[kind]:
        for path, shown in values_of(document["record"]):
            assert not around.search(shown), (document["id"], path, shown)
    assert sum(bool(around.search(document["text"])) for document in made[kind]) > 10


def test_values_fit_the_labels_of_their_keys(made):
    forms = {
        r"date|deadline|valid until": r"\d{1,4}.*\d\d$|\d{4}$",
        r"email": r"^\S+@\S+$",
        r"phone|fax": r"\d{3}",
        r"amount|total cost|budget|deposit": r"\d[.,]\d\d\b",
        r"^(quantity|number of|room)": r"\d",
        r"name|person| by$|manager|author": r"^[^\d]+$",
        r"time": r"^\d{1,2}[:.]\d\d",
    }
    checked = Counter()
    for document in made["letter"]:
        record = document["record"]
        assert record["title"] and 3 <= len(record["key_values"]) <= 10
        if "noise" in document["traits"]:
            continue
        for pair in record["key_values"]:
            assert not pair["key"].endswith(":")
            for key, form in forms.items():
                if re.search(key, pair["key"].lower()):
                    assert re.search(form, pair["value"]), pair
                    checked[key] += 1
    assert len(checked) == len(forms)


def test_letters_come_with_questions_and_the_values_of_their_labels_answer_some(made):
    for document in made["letter"]:
        values = {pair["value"] for pair in document["record"]["key_values"]}
        assert document["questions"][0]["answer"] in values
        assert all(asked["question"].endswith("?") for asked in document["questions"])
        beyond = ("table" in document["traits"]) + ("facts in prose" in document["traits"])
        assert len(document["questions"]) == 1 + beyond


# --- variety ---


def test_receipts_differ_in_what_they_print_and_in_what_they_call_it(made):
    fields, shapes, names, words = set(), set(), set(), set()
    for document in made["receipt"]:
        record = document["record"]
        paths = {path for path, _ in values_of(record)}
        fields |= paths
        shapes.add(frozenset(paths))
        names |= {item["description"] for item in record["line_items"]}
        values = {word for _, shown in values_of(record) for word in shown.split()}
        words |= {text for text, *_ in document["words"] if text not in values and not re.search(r"\d", text)}
    assert len(fields) >= 30
    assert len(shapes) > COUNT // 2
    assert len(names) > 4000
    assert len(words) > 700


def test_lists_are_short_and_long_and_numbers_have_several_forms(made):
    lengths = Counter(len(document["record"]["line_items"]) for document in made["receipt"])
    assert lengths[1] > COUNT / 6 and max(lengths) > 35
    records = [document["record"] for kind in ("receipt", "invoice") for document in made[kind]]
    forms = {re.sub(r"\d+", "9", item["amount"]) for record in records for item in record["line_items"]}
    assert {"9", "9.9", "9,9", "$9.9", "9,9 €", "Rp 9.9", "9,9.9", "9.9,9", "RM9.9"} <= forms
    assert any(re.search("9 9,9", form) for form in forms)


def test_a_cell_never_runs_into_the_one_before_it():
    page = Page(random.Random(1), {})
    page.line((0, "A VERY LONG NAME OF AN ITEM"), (10, "12.50", "right"))
    ordered = sorted(page.words, key=lambda word: word[1])
    assert [word[0] for word in ordered] == "A VERY LONG NAME OF AN ITEM 12.50".split()
    assert all(a[3] < b[1] for a, b in zip(ordered, ordered[1:], strict=False))


def test_noise_changes_the_print_and_only_where_it_is_drawn():
    clean, noisy = Page(random.Random(1), {"noise": 0.0}), Page(random.Random(1), {"noise": 1.0})
    text = "The total of seven items in this basket " * 20
    assert clean.seen(text) == text
    assert noisy.seen(text).split() != text.split()
    shown = [noisy.seen_amount("10,500") for _ in range(400)]
    assert 0 < sum(amount != "10,500" for amount in shown) < 60
    assert {value(amount) for amount in shown} == {10500}
