import pytest

from extraction.evidence import checks
from extraction.tasks import schemas

GOOD_IBAN, BAD_IBAN = "DE89 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"


def verdicts(record, task=schemas.RECEIPT):
    return {c["rule"]: c["verdict"] for c in checks.check(record, task)}


def row(quantity, price, amount, **more):
    return {"line_items": [{"quantity": quantity, "unit_price": price, "amount": amount, **more}]}


def dated(begins, ends):
    return {"clauses": {"Effective Date": [begins], "Expiration Date": [ends]}}


ROW, SUM = "line_items[0]: quantity x unit price = amount", "sum of line items = subtotal"
TOTAL, CASH = "subtotal + tax + service - discount = total", "cash - change = total"
REAL, ORDER = "date is a date of the calendar", "date <= due date"
VAT, CURRENCY = "merchant.tax_id: VAT check digits", "all amounts are in one currency"
TERM, IBAN = "effective date <= expiration date", "total_other: IBAN check digits"
TWO = [{"amount": "4.00"}, {"amount": "3.50"}]


@pytest.mark.parametrize(
    ("rule", "record", "verdict"),
    [
        (ROW, row("2", "2.00", "4.00"), "holds"),
        (ROW, row("2x", "@2.000", "4.000"), "holds"),
        (ROW, row("3", "0,33", "1,00"), "cannot tell"),  # the price may have been rounded
        (ROW, row("0,333", "4,99", "1,66"), "holds"),  # the product was
        (ROW, row("1", "2", "3"), "fails"),
        (ROW, row("1", "2.00", "2.01"), "fails"),
        (ROW, row("12", "250.00", "30.00"), "cannot tell"),  # a price for 100
        (ROW, row("2", "5.00", "11.50", sub_items=[{"amount": "1.50"}]), "cannot tell"),
        (ROW, row("-1", "100.00", "-100.00"), "holds"),
        (ROW, row("2", "50.00", "-100.00"), "fails"),
        (ROW, row("2", "50.00", "-100.00") | {"total": "-100.00"}, "cannot tell"),
        (ROW, row("2", "KD 1.250", "KD 2.500"), "holds"),
        (ROW, row("2", ".50", "1.00"), "holds"),
        (ROW, row("2", "¥500", "¥1,000-"), "holds"),
        (ROW, row("2", "$1.25M", "$2.50M"), "holds"),
        (ROW, row("2", "1.25M", "2.50"), "cannot tell"),
        (ROW, row("1.250", "4.00", "5.00"), "holds"),  # kilograms
        (ROW, row("2", "5.00", "9.00", discount="-1.00"), "holds"),
        (ROW, row("2", "2.00", "5.00"), "fails"),
        (ROW, row("2", "2.00", "4.02"), "fails"),
        (ROW, row("two", "2.00", "4.00"), "cannot tell"),
        (SUM, {"line_items": TWO, "subtotal": "7.50"}, "holds"),
        (SUM, {"line_items": [*TWO, {"amount": "-1.00"}], "subtotal": "6,50"}, "holds"),
        (SUM, {"line_items": [{"amount": "4.00", "sub_items": [{"amount": "1.00"}]}], "subtotal": "5.00"}, "holds"),
        (SUM, {"line_items": TWO, "subtotal": "8.50"}, "fails"),
        (SUM, {"line_items": [*TWO, {"amount": "1.00", "discount": "-1.O4"}], "subtotal": "7.46"}, "cannot tell"),
        (CASH, {"total": "Rp. 15,540", "tax": "Rp. 1,54O", "cash": "Rp. 16,000", "change": "Rp. 460"}, "holds"),
        (SUM, {"line_items": [*TWO, {"amount": "\u20111.00"}], "subtotal": "6.50"}, "holds"),
        (
            SUM,
            {"line_items": [{"amount": "4", "sub_items": [{"amount": "2"}]}, {"amount": "2"}], "subtotal": "8"},
            "holds",
        ),
        (
            SUM,
            {"line_items": [{"amount": "4.00", "sub_items": [{"amount": "4.00"}]}], "subtotal": "4.00"},
            "cannot tell",
        ),
        (SUM, {"line_items": TWO, "void_items": [{"amount": "-3.50"}], "subtotal": "4.00"}, "holds"),
        (SUM, {"line_items": TWO, "void_items": [{"amount": "3.50"}], "subtotal": "4.00"}, "holds"),
        (
            SUM,
            {"line_items": [*TWO, {"amount": "7.50"}], "subtotal": "7.50"},
            "cannot tell",
        ),  # a sum
        (SUM, {"line_items": [{"amount": "0.750"}, {"amount": "1.250"}], "subtotal": "2.000"}, "holds"),
        (SUM, {"line_items": [{"amount": "1.25"}, {"amount": "1.250"}], "subtotal": "1,251.25"}, "fails"),
        (SUM, {"line_items": [{"amount": "$20.00"}, {"amount": "$128.43 cr"}], "subtotal": "$108.43 cr"}, "holds"),
        (SUM, {"line_items": [{"amount": "50.00"}, {"amount": "30.00 CR"}], "subtotal": "80.00"}, "cannot tell"),
        (SUM, {"line_items": [{"amount": "50.00"}, {"amount": "30.00 CR"}], "subtotal": "70.00"}, "fails"),
        (SUM, {"line_items": [*TWO, {"description": "Tea"}], "subtotal": "7.50"}, "cannot tell"),
        (SUM, {"line_items": TWO, "subtotal": "6.50", "tax": "1.00"}, "cannot tell"),
        (TOTAL, {"subtotal": "10.00", "tax": "1.00", "service_charge": "0.50", "total": "11.50"}, "holds"),
        (TOTAL, {"subtotal": "10.00", "discount": "-2.00", "tax": "0.80", "total": "8.80"}, "holds"),
        (TOTAL, {"subtotal": "10.00", "tax": "1.00", "total": "10.00"}, "cannot tell"),  # the tax is included
        (TOTAL, {"subtotal": "-100.00", "discount": "-10.00", "tax": "-18.00", "total": "-108.00"}, "holds"),
        (TOTAL, {"subtotal": "53", "tax": "5", "total": "59"}, "fails"),
        (TOTAL, {"subtotal": "KD 2.000", "tax": "KD 0.100", "total": "KD 2.100"}, "holds"),
        (TOTAL, {"subtotal": "2.000", "tax": "0.100", "total": "2.100", "currency": "BHD"}, "holds"),
        (TOTAL, {"subtotal": "4.50", "tax": ".40", "total": "4.90"}, "holds"),
        (TOTAL, {"subtotal": "9.12", "tax": "0.64", "total": "9.75"}, "cannot tell"),  # rounded to coins
        (TOTAL, {"subtotal": "100.00", "tax": "19.00", "cash": "50.00", "total": "69.00"}, "cannot tell"),  # a deposit
        (TOTAL, {"line_items": TWO, "total": "7.50"}, "holds"),
        (TOTAL, {"subtotal": "9.09", "tax": "0.64", "subtotal_other": "0.02", "total": "9.75"}, "holds"),  # rounding
        (TOTAL, {"subtotal": "9.09", "tax": "0.64", "subtotal_other": "0.07", "total": "9.75"}, "fails"),
        (TOTAL, {"subtotal": "10.00", "tax": "1.00", "total": "12.00"}, "fails"),
        (TOTAL, {"subtotal": "10.00", "tax": "1.00", "discount": "2.00", "total": "11.00"}, "cannot tell"),
        (TOTAL, {"subtotal": "10.00", "total": "11.00"}, "cannot tell"),
        (TOTAL, {"subtotal": "ten", "tax": "1.00", "total": "11.00"}, "cannot tell"),
        (CASH, {"cash": "10.00", "change": "1.20", "total": "8.80"}, "holds"),
        (CASH, {"cash": "5.00", "card": "3.80", "total": "8.80"}, "holds"),
        (CASH, {"cash": "10.00", "change": "2.20", "total": "8.80"}, "fails"),
        (CASH, {"cash": "8.00", "total": "8.80"}, "fails"),
        (CASH, {"cash": "10.00", "total": "8.80"}, "cannot tell"),
        (CASH, {"cash": "10.00", "change": "1.00", "total": "8.80", "total_other": "0.20"}, "cannot tell"),
        (REAL, {"date": "29/02/2024"}, "holds"),
        (REAL, {"date": "29/02/2023"}, "fails"),
        (REAL, {"date": "last Monday"}, "cannot tell"),
        (ORDER, {"date": "2024-05-01", "due_date": "2024-05-01"}, "holds"),
        (ORDER, {"date": "12 Mar 2026", "due_date": "11.02.2026"}, "fails"),
        (ORDER, {"date": "05/06/2024", "due_date": "07/05/2024"}, "cannot tell"),
        (ORDER, {"date": "05/06/2024", "due_date": "in 30 days"}, "cannot tell"),
        (ORDER, {"date": "24-03-15", "due_date": "24-04-14"}, "cannot tell"),
        (ORDER, {"date": "24.03.15", "due_date": "24.04.14"}, "cannot tell"),
        (ORDER, {"date": "15 de marzo de 2024", "due_date": "1er avril 2024"}, "holds"),
        (VAT, {"merchant": {"tax_id": "DE 136 695 976"}}, "holds"),
        (VAT, {"merchant": {"tax_id": "VAT ID: DE136695976"}}, "holds"),
        (VAT, {"merchant": {"tax_id": "DE136695978"}}, "fails"),
        (VAT, {"merchant": {"tax_id": "01.234.567.8-901.000"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "29RSACG0498P1ZH"}}, "cannot tell"),  # India's, not Serbia's
        (VAT, {"merchant": {"tax_id": "TRN 100123456700003"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "SIRET 732 829 320 00074"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "SIREN 732829320"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "HRB 123456"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "HRB123456789"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "CRN: 12345678"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "RUC 20123456789"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "RUT 76.123.456-7"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "No 123456789"}}, "cannot tell"),
        (VAT, {"merchant": {"tax_id": "CHE-116.281.710 MWST"}}, "holds"),
        (VAT, {"merchant": {"tax_id": "CHE-116.281.711"}}, "fails"),
        (VAT, {"merchant": {"tax_id": "TVA FR 40 303 265 045"}}, "holds"),
        (VAT, {"merchant": {"tax_id": "DE12345"}}, "cannot tell"),
        (IBAN, {"total_other": f"IBAN {GOOD_IBAN}"}, "holds"),
        (IBAN, {"total_other": BAD_IBAN}, "fails"),
        (IBAN, {"total_other": "IBAN: see below"}, "cannot tell"),
        (IBAN, {"total_other": f"IBAN {GOOD_IBAN} 00"}, "cannot tell"),  # not as long as Germany's
        (CURRENCY, {"currency": "EUR", "total": "€5.00"}, "holds"),
        (CURRENCY, {"currency": "SGD", "total": "$5.00"}, "holds"),
        (CURRENCY, {"currency": "USD", "total": "€5.00"}, "fails"),
        (CURRENCY, {"subtotal": "£5.00", "total": "€5.00"}, "fails"),
        (CURRENCY, {"currency": "shells", "total": "€5.00"}, "cannot tell"),
        (CURRENCY, {"total": "€5.00"}, "cannot tell"),
        (CURRENCY, {"currency": "BRL", "total": "R$ 8,50"}, "holds"),
        (CURRENCY, {"currency": "USD", "total": "R$ 8,50"}, "fails"),
        (CURRENCY, {"currency": "CHF", "total": "CHF 8.50", "cash": "€10.00"}, "holds"),  # paid in another
    ],
)
def test_a_rule_about_a_receipt_has_its_verdict(rule, record, verdict):
    assert verdicts(record)[rule] == verdict


@pytest.mark.parametrize(
    ("begins", "ends", "verdict"),
    [
        ("this 5th day of May, 2018", "shall expire on May 4, 2023", "holds"),
        ("May 5, 2018", "May 4, 2018", "fails"),
        ("May 5, 2018", "five (5) years from the Effective Date", "cannot tell"),
        ("May 5, 2018", "May 4, 2017 or May 4, 2019", "cannot tell"),
    ],
)
def test_a_contract_ends_after_it_begins(begins, ends, verdict):
    assert verdicts(dated(begins, ends), schemas.CONTRACT) == {TERM: verdict}


def test_dates_and_bank_accounts_of_other_documents_are_checked_too():
    pairs = [("Start", "31.02.2024"), ("End", "01.03.2024"), ("Account", GOOD_IBAN), ("Phone", "01632 960188")]
    found = verdicts({"key_values": [{"key": k, "value": v} for k, v in pairs]}, schemas.DOCUMENT)
    assert found == {
        "key_values[0].value is a date of the calendar": "fails",
        "key_values[1].value is a date of the calendar": "holds",
        "key_values[2].value: IBAN check digits": "holds",
    }


def test_a_number_that_is_not_called_an_iban_nor_printed_like_one_is_not_checked():
    for number in ("RE20240315000123", "DE20240315000123456789", "DE8837040044053201300"):
        assert verdicts({"invoice_number": number, "total_other": number}) == {}


def test_the_case_of_a_kiosk_that_counts_wrong_in_whole_amounts_fails():
    items = [{"quantity": "1", "unit_price": "2", "amount": "3"}, {"quantity": "1", "unit_price": "50", "amount": "50"}]
    found = verdicts({"line_items": items, "subtotal": "53", "tax": "5", "total": "59"})
    assert found == {ROW: "fails", ROW.replace("[0]", "[1]"): "holds", SUM: "holds", TOTAL: "fails"}


def test_numbers_of_any_length_are_added_up_to_the_last_digit():
    long = "9" * 70
    assert verdicts({"subtotal": f"{long}.25", "tax": "0.25", "total": f"{long}.50"})[TOTAL] == "holds"
    assert verdicts({"subtotal": f"{long}.25", "tax": "0.25", "total": f"{long}.75"})[TOTAL] == "fails"


@pytest.mark.parametrize("task", [schemas.RECEIPT, schemas.CONTRACT, schemas.DOCUMENT])
def test_what_a_record_does_not_have_is_not_checked(task):
    assert checks.check(None, task) == checks.check({}, task) == []
    assert verdicts({"total": "8.80", "line_items": None, "merchant": None, "clauses": None}, task) == {}


def test_a_failed_rule_says_the_figures():
    (failed,) = checks.check(row("2", "2.00", "5.00"), schemas.RECEIPT)
    assert failed == {"rule": ROW, "verdict": "fails", "detail": "2 x 2.00 = 4.00, not 5.00"}
    (failed,) = checks.check({"currency": "USD", "tax": "€1.00", "tip": "€5.00"}, schemas.RECEIPT)
    assert failed["detail"] == "USD, €1.00"
