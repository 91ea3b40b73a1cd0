"""Letters, forms and short reports: a title, labeled values that fit their labels, prose, and questions about them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from extraction.synthetic import parts

# The phenomena, each with its share of documents.
SHARES = {
    "letterhead": 0.4,
    "aligned": 0.4,  # values start in one column
    "two columns": 0.15,  # two labeled values in a row
    "below": 0.1,  # the value stands in the row below its label
    "facts in prose": 0.4,  # sentences that a question asks about
    "table": 0.2,
    "narrow": 0.2,
    "noise": 0.15,
    "empty keys": 0.12,  # labels without a value, which are in no record
    "injection": 0.015,
}
TITLES = (
    "Memorandum,Application Form,Delivery Note,Registration Form,Meeting Minutes,Service Report,Purchase Order,"
    "Letter of Confirmation,Travel Request,Incident Report,Quality Certificate,Change Request,Status Report,Data Sheet,"
    "Inspection Record,Work Order,Membership Form,Request for Quotation,Shipping Advice,Expense Report,Leave Request,"
    "Monthly Summary,Test Protocol,Handover Form,Warranty Claim,Notice of Change,Project Brief,Visitor Record"
).split(",")
WORDS = {
    "department": "Sales,Research,Finance,Facilities,Quality,Legal,Human Resources,Logistics,Marketing,Production,IT",
    "status": "open,approved,closed,in progress,pending,rejected,draft,final,on hold",
    "priority": "High,Low,Medium,urgent,normal,1,2,A",
    "category": "Hardware,Travel,Safety,Software,Training,Maintenance,Supplies,A,B,General",
    "position": "Engineer,Clerk,Analyst,Director,Technician,Assistant,Team Lead,Accountant,Buyer,Nurse",
    "subject": (
        "Rewiring of the second floor,Delivery delay,New opening hours,Annual maintenance,Change of address,"
        "Replacement of pump 4,Renewal of the lease,Budget for next year,Noise in the workshop,Return of samples,"
        "Access to the archive,Summer schedule,Repair of the cold store,Visit on Thursday"
    ),
    "payment": "cash,bank transfer,credit card,direct debit,cheque",
    "yes": "yes,no,Yes,No,n/a,X",
}


class _Values:
    """One document's people, places, dates and numbers, in its country's formats."""

    def __init__(self, draw: random.Random, faker: Any, country: parts.Country):
        self.draw, self.faker = draw, faker
        self.money = parts.Money.of(draw, country)
        self.country, self.style = country, draw.choice(country.dates)
        self.day = parts.any_date(draw)

    def date(self, after: int = 0) -> str:
        """A date of this document, or one so many days later at most."""
        return (self.day + timedelta(days=self.draw.randint(1, after) if after else 0)).strftime(self.style)

    def birthday(self) -> str:
        return (self.day - timedelta(days=self.draw.randint(7000, 25000))).strftime(self.style)

    def person(self) -> str:
        return parts.flattened(self.faker.name())

    def word(self, kind: str) -> str:
        return self.draw.choice(WORDS[kind].split(","))

    def number(self, *starts: str) -> str:
        return self.draw.choice(starts or ("",)) + parts.digits(self.draw, self.draw.randint(3, 6))

    def amount(self) -> str:
        return self.money.show(parts.prices(self.draw, self.country, self.money) * self.draw.randint(1, 90))

    def count(self, most: int, unit: str = "") -> str:
        return f"{self.draw.randint(1, most)}{unit}"


VALUES: dict[str, Callable[[_Values], str]] = {
    "Name": _Values.person,
    "Full name": _Values.person,
    "Contact person": _Values.person,
    "Approved by": _Values.person,
    "Requested by": _Values.person,
    "Manager": _Values.person,
    "Author": _Values.person,
    "Prepared by": _Values.person,
    "Company": lambda v: parts.company(v.faker),
    "Supplier": lambda v: parts.company(v.faker),
    "Carrier": lambda v: parts.company(v.faker),
    "Phone": lambda v: parts.flattened(v.faker.phone_number()),
    "Fax": lambda v: parts.flattened(v.faker.phone_number()),
    "Email": lambda v: v.faker.email(),
    "Address": lambda v: parts.flattened(v.faker.street_address()),
    "City": lambda v: v.faker.city(),
    "Location": lambda v: v.faker.city(),
    "Country": lambda v: v.faker.country()[:60],
    "Date": lambda v: v.date(),
    "Start date": lambda v: v.date(),
    "End date": lambda v: v.date(400),
    "Delivery date": lambda v: v.date(30),
    "Deadline": lambda v: v.date(60),
    "Valid until": lambda v: v.date(700),
    "Date of birth": _Values.birthday,
    "Reference": lambda v: v.number("", "CR-", "REF/", "K"),
    "Account number": lambda v: parts.digits(v.draw, 9),
    "Employee ID": lambda v: v.number("E", "", "EMP-"),
    "Policy number": lambda v: v.number("P-", "POL", ""),
    "Order number": lambda v: v.number("PO-", "", "45"),
    "Case number": lambda v: v.number("C", "", "2024/"),
    "Serial no.": lambda v: v.number("SN", "A", "X-"),
    "Cost center": lambda v: parts.digits(v.draw, 5),
    "Room": lambda v: v.number("", "B ", "R").replace(" ", "")[:5],
    "Postal code": lambda v: parts.flattened(v.faker.postcode()),
    "Version": lambda v: f"{v.draw.randint(0, 9)}.{v.draw.randint(0, 20)}",
    "Quantity": lambda v: v.count(900),
    "Number of pages": lambda v: v.count(40),
    "Weight": lambda v: v.count(300, v.draw.choice((" kg", "kg", ".5 kg"))),
    "Temperature": lambda v: v.count(90, " °C"),
    "Number of hours": lambda v: v.count(60),
    "Amount": _Values.amount,
    "Total cost": _Values.amount,
    "Budget": _Values.amount,
    "Deposit": _Values.amount,
    "Department": lambda v: v.word("department"),
    "Status": lambda v: v.word("status"),
    "Priority": lambda v: v.word("priority"),
    "Category": lambda v: v.word("category"),
    "Position": lambda v: v.word("position"),
    "Subject": lambda v: v.word("subject"),
    "Payment method": lambda v: v.word("payment"),
    "Insurance": lambda v: v.word("yes"),
    "Time": lambda v: parts.clock(v.draw),
}
ASK = ("What is the {}?", "What is the {} given in the document?", "What does the document state as {}?", "{}?")
# A sentence, the value in it, and a question that the value answers.
FACTS: tuple[tuple[str, Callable[[_Values], str], str], ...] = (
    ("The inspection was carried out by {} and found no defects.", _Values.person, "Who carried out the inspection?"),
    ("We will begin the work on {} and inform you of any change.", lambda v: v.date(90), "When will the work begin?"),
    ("The cost of the repair came to {} in all.", _Values.amount, "How much did the repair cost?"),
    (
        "A total of {} visitors were counted during the week.",
        lambda v: v.count(9000),
        "How many visitors were counted?",
    ),
    ("Please send the signed form to {} without delay.", lambda v: v.faker.email(), "Where should the form be sent?"),
    ("The next meeting takes place in {} as usual.", lambda v: v.faker.city(), "Where is the next meeting?"),
    ("The goods were shipped by {} last Friday.", lambda v: parts.company(v.faker), "Who shipped the goods?"),
    (
        "The share of returned parts fell to {} this quarter.",
        lambda v: v.count(30, "%"),
        "What was the share of returns?",
    ),
    ("The doors open at {} sharp.", lambda v: parts.clock(v.draw), "At what time do the doors open?"),
    (
        "Your file is kept under {} in our archive.",
        lambda v: v.number("A-", "F/"),
        "Under which number is the file kept?",
    ),
)
PROSE = (
    "Thank you for your letter.",
    "The rooms on the second floor will stay closed until the work is finished.",
    "Please take your things out of the cupboards before the weekend.",
    "We are sorry for the delay and thank you for your patience.",
    "If you have any questions, do not hesitate to call our office.",
    "All parts were checked against the list and packed in dry boxes.",
    "The figures in the table are not audited.",
    "Two of the samples were damaged on the way and have been replaced.",
    "Nothing in this note changes the terms that we agreed on.",
    "The committee discussed the plan at length and asked for a second estimate.",
    "Copies of this page go to all heads of department.",
    "Ask the front desk for a key if you need access after hours.",
)


def letter(draw: random.Random, faker: Any, country: parts.Country) -> tuple[parts.Page, dict, list[dict]]:
    """A page, the record of what is printed on it, and questions that it answers."""
    page, values = parts.Page(draw, SHARES), _Values(draw, faker, country)
    traits, width = page.traits, 46 if "narrow" in page.traits else draw.randint(64, 88)
    title = draw.choice(TITLES)
    title = page.seen(draw.choice((title, title.upper(), f"{title} {draw.randint(2015, 2026)}")))
    if "letterhead" in traits:
        page.line((0, parts.company(faker)))
        page.line((0, " ".join(parts.address(faker, 2))[:width]))
    page.line((draw.choice((0, 0, width // 3)), title), scale=draw.choice((1.0, 1.4)))
    if "injection" in traits:
        page.line((0, draw.choice(parts.INJECTIONS)))
    if draw.random() < 0.4:
        page.paragraph(" ".join(draw.sample(PROSE, k=2)), width)
    pairs = _pairs(draw, page, values, width)
    questions = [
        {"question": draw.choice(ASK).format(pair["key"].lower()).capitalize(), "answer": pair["value"]}
        for pair in draw.sample(pairs, k=1)
    ]
    if "table" in traits:
        questions.append(_table(draw, page, values, width))
    sentences = draw.sample(PROSE, k=draw.randint(1, 4))
    if "facts in prose" in traits:
        sentence, make, question = draw.choice(FACTS)
        answer = make(values)
        sentences.insert(draw.randint(0, len(sentences)), sentence.format(answer))
        questions.append({"question": question, "answer": answer})
    page.paragraph(" ".join(sentences), width)
    if draw.random() < 0.4:
        page.line((0, draw.choice(("Kind regards,", "Yours sincerely,", "Signature: ____________", "Best regards"))))
        page.line((0, values.person()))
    return page, {"title": title, "key_values": pairs}, questions


def _pairs(draw: random.Random, page: parts.Page, values: _Values, width: int) -> list[dict]:
    """Print labels and values; returns those that have one."""
    traits, mark = page.traits, draw.choice((":", ":", ":", " :", ""))
    if not traits & {"aligned", "below"}:
        mark = mark or ":"
    keys = draw.sample(list(VALUES), k=draw.randint(3, 10))
    empty = {key for key in keys[3:] if "empty keys" in traits and draw.random() < 0.4}
    case = draw.choice((str, str, str, str.upper))
    column = 20 if "aligned" in traits else 0
    pairs, pending = [], []
    for key in keys:
        value = "" if key in empty else page.seen(VALUES[key](values)) if draw.random() < 0.9 else VALUES[key](values)
        shown = case(key)
        if value:
            pairs.append({"key": shown, "value": value})
        if "below" in traits:
            page.line((0, shown + mark))
            if value:
                page.line((2, value))
            continue
        cells = [(0, shown + mark), (max(column, len(shown) + len(mark) + 1), value)]
        if "two columns" in traits and len(shown) + len(value) + 4 < width // 2:
            pending.append(cells)
            if len(pending) == 2:
                shifted = [(width // 2 + 2 + at, text) for at, text in pending[1]]
                page.line(*pending[0], *shifted)
                pending = []
        else:
            page.line(*cells)
    for cells in pending:
        page.line(*cells)
    return pairs


def _table(draw: random.Random, page: parts.Page, values: _Values, width: int) -> dict:
    """Print a small table; returns a question about one of its cells."""
    years = [str(year) for year in draw.sample(range(2012, 2027), k=draw.randint(2, 3))]
    names = draw.sample(("Sales", "Costs", "Staff", "Orders", "Returns", "Visitors", "Output", "Rent", "Energy"), k=3)
    page.line((0, draw.choice(("Item", "", "Year"))), *((24 + 12 * n, year, "right") for n, year in enumerate(years)))
    cells = {}
    for name in names:
        row = [f"{draw.randint(100, 99999):,}" for _ in years]
        cells |= {(name, year): value for year, value in zip(years, row, strict=True)}
        page.line((0, name), *((24 + 12 * n, value, "right") for n, value in enumerate(row)))
    name, year = draw.choice(list(cells))
    text = draw.choice(
        ("What is the figure for {} in {}?", "What is the value of {} for {}?", "How much {} is listed for {}?")
    )
    return {"question": text.format(name.lower(), year), "answer": cells[name, year]}
