"""Letters, forms and short reports: a title, labeled values that fit their labels, prose, and questions about them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from extraction.synthetic import parts
from extraction.tasks.records import flat

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


class Letter(parts.Sheet):
    """One letter while it is printed: its people, places, dates and numbers, in its country's formats."""

    def __init__(self, *about: Any):
        super().__init__(*about)
        self.style, self.day = self.draw.choice(self.country.dates), parts.any_date(self.draw)

    def date(self, after: int = 0) -> str:
        """A date of this document, or one so many days later at most."""
        return (self.day + timedelta(days=self.draw.randint(1, after) if after else 0)).strftime(self.style)

    def birthday(self) -> str:
        return (self.day - timedelta(days=self.draw.randint(7000, 25000))).strftime(self.style)

    def person(self) -> str:
        return flat(self.faker.name())

    def company(self) -> str:
        return parts.company(self.faker)

    def phone(self) -> str:
        return flat(self.faker.phone_number())

    def city(self) -> str:
        return self.faker.city()

    def word(self, kind: str) -> str:
        return self.draw.choice(WORDS[kind].split(","))

    def number(self, *starts: str) -> str:
        return self.draw.choice(starts or ("",)) + parts.digits(self.draw, self.draw.randint(3, 6))

    def amount(self) -> str:
        return self.money.show(self.price() * self.draw.randint(1, 90))

    def count(self, most: int, unit: str = "") -> str:
        return f"{self.draw.randint(1, most)}{unit}"

    # --- what is printed -------------------------------------------------------------------------------------

    def body(self) -> list[dict]:
        """Print all of it; returns questions that it answers."""
        draw, page = self.draw, self.page
        self.width = 46 if self.has("narrow") else draw.randint(64, 88)
        title = draw.choice(TITLES)
        title = page.seen(draw.choice((title, title.upper(), f"{title} {draw.randint(2015, 2026)}")))
        if self.has("letterhead"):
            page.line((0, self.company()))
            page.line((0, " ".join(parts.address(self.faker, 2))[: self.width]))
        page.line((draw.choice((0, 0, self.width // 3)), title), scale=draw.choice((1.0, 1.4)))
        if self.has("injection"):
            page.line((0, draw.choice(parts.INJECTIONS)))
        if draw.random() < 0.4:
            page.paragraph(" ".join(draw.sample(PROSE, k=2)), self.width)
        pairs = self.pairs()
        self.record |= {"title": title, "key_values": pairs}
        (pair,) = draw.sample(pairs, k=1)
        question = draw.choice(ASK).format(pair["key"].lower()).capitalize()
        questions = [{"question": question, "answer": pair["value"]}]
        if self.has("table"):
            questions.append(self.table())
        sentences = draw.sample(PROSE, k=draw.randint(1, 4))
        if self.has("facts in prose"):
            sentence, make, question = draw.choice(FACTS)
            answer = make(self)
            sentences.insert(draw.randint(0, len(sentences)), sentence.format(answer))
            questions.append({"question": question, "answer": answer})
        page.paragraph(" ".join(sentences), self.width)
        if draw.random() < 0.4:
            page.line(
                (0, draw.choice(("Kind regards,", "Yours sincerely,", "Signature: ____________", "Best regards")))
            )
            page.line((0, self.person()))
        return questions

    def pairs(self) -> list[dict]:
        """Print labels and values; returns those that have one."""
        draw, page, mark = self.draw, self.page, self.draw.choice((":", ":", ":", " :", ""))
        if not page.traits & {"aligned", "below"}:
            mark = mark or ":"
        keys = draw.sample(list(VALUES), k=draw.randint(3, 10))
        empty = {key for key in keys[3:] if self.has("empty keys") and draw.random() < 0.4}
        case = draw.choice((str, str, str, str.upper))
        column = 20 if self.has("aligned") else 0
        pairs, pending = [], []
        for key in keys:
            value, shown = "", case(key)
            if key not in empty:
                value = page.seen(VALUES[key](self)) if draw.random() < 0.9 else VALUES[key](self)
            if value:
                pairs.append({"key": shown, "value": value})
            if self.has("below"):
                page.line((0, shown + mark))
                if value:
                    page.line((2, value))
                continue
            cells = [(0, shown + mark), (max(column, len(shown) + len(mark) + 1), value)]
            if self.has("two columns") and len(shown) + len(value) + 4 < self.width // 2:
                pending.append(cells)
                if len(pending) == 2:
                    shifted = [(self.width // 2 + 2 + at, text) for at, text in pending[1]]
                    page.line(*pending[0], *shifted)
                    pending = []
            else:
                page.line(*cells)
        for cells in pending:
            page.line(*cells)
        return pairs

    def table(self) -> dict:
        """Print a small table; returns a question about one of its cells."""
        draw, page = self.draw, self.page
        years = [str(year) for year in draw.sample(range(2012, 2027), k=draw.randint(2, 3))]
        names = draw.sample("Sales,Costs,Staff,Orders,Returns,Visitors,Output,Rent,Energy".split(","), k=3)
        head = draw.choice(("Item", "", "Year"))
        page.line((0, head), *((24 + 12 * n, year, "right") for n, year in enumerate(years)))
        cells = {}
        for name in names:
            row = [f"{draw.randint(100, 99999):,}" for _ in years]
            cells |= {(name, year): value for year, value in zip(years, row, strict=True)}
            page.line((0, name), *((24 + 12 * n, value, "right") for n, value in enumerate(row)))
        name, year = draw.choice(list(cells))
        return {"question": draw.choice(ASK_TABLE).format(name.lower(), year), "answer": cells[name, year]}


def letter(draw: random.Random, faker: Any, country: parts.Country) -> tuple[parts.Page, dict, list[dict]]:
    """A page, the record of what is printed on it, and questions that it answers."""
    made = Letter(draw, faker, country, SHARES)
    questions = made.body()
    return made.page, made.record, questions


VALUES: dict[str, Callable[[Letter], str]] = {
    label: make
    for labels, make in (
        ("Name,Full name,Contact person,Approved by,Requested by,Manager,Author,Prepared by", Letter.person),
        ("Company,Supplier,Carrier", Letter.company),
        ("Phone,Fax", Letter.phone),
        ("Email", lambda v: v.faker.email()),
        ("Address", lambda v: flat(v.faker.street_address())),
        ("City,Location", Letter.city),
        ("Country", lambda v: v.faker.country()[:60]),
        ("Date,Start date", Letter.date),
        ("End date", lambda v: v.date(400)),
        ("Delivery date", lambda v: v.date(30)),
        ("Deadline", lambda v: v.date(60)),
        ("Valid until", lambda v: v.date(700)),
        ("Date of birth", Letter.birthday),
        ("Reference", lambda v: v.number("", "CR-", "REF/", "K")),
        ("Account number", lambda v: parts.digits(v.draw, 9)),
        ("Employee ID", lambda v: v.number("E", "", "EMP-")),
        ("Policy number", lambda v: v.number("P-", "POL", "")),
        ("Order number", lambda v: v.number("PO-", "", "45")),
        ("Case number", lambda v: v.number("C", "", "2024/")),
        ("Serial no.", lambda v: v.number("SN", "A", "X-")),
        ("Cost center", lambda v: parts.digits(v.draw, 5)),
        ("Room", lambda v: v.number("", "B ", "R").replace(" ", "")[:5]),
        ("Postal code", lambda v: flat(v.faker.postcode())),
        ("Version", lambda v: f"{v.draw.randint(0, 9)}.{v.draw.randint(0, 20)}"),
        ("Quantity", lambda v: v.count(900)),
        ("Number of pages", lambda v: v.count(40)),
        ("Weight", lambda v: v.count(300, v.draw.choice((" kg", "kg", ".5 kg")))),
        ("Temperature", lambda v: v.count(90, " °C")),
        ("Number of hours", lambda v: v.count(60)),
        ("Amount,Total cost,Budget,Deposit", Letter.amount),
        *((kind.capitalize(), lambda v, kind=kind: v.word(kind)) for kind in WORDS if kind not in ("payment", "yes")),
        ("Payment method", lambda v: v.word("payment")),
        ("Insurance", lambda v: v.word("yes")),
        ("Time", lambda v: parts.clock(v.draw)),
    )
    for label in labels.split(",")
}
ASK = ("What is the {}?", "What is the {} given in the document?", "What does the document state as {}?", "{}?")
ASK_TABLE = ("What is the figure for {} in {}?", "What is the value of {} for {}?", "How much {} is listed for {}?")
# A sentence, the value in it, and a question that the value answers.
FACTS: tuple[tuple[str, Callable[[Letter], str], str], ...] = (
    ("The inspection was carried out by {} and found no defects.", Letter.person, "Who carried out the inspection?"),
    ("We will begin the work on {} and inform you of any change.", lambda v: v.date(90), "When will the work begin?"),
    ("The cost of the repair came to {} in all.", Letter.amount, "How much did the repair cost?"),
    ("A total of {} visitors were counted during the week.", lambda v: v.count(9000),
     "How many visitors were counted?"),
    ("Please send the signed form to {} without delay.", lambda v: v.faker.email(), "Where should the form be sent?"),
    ("The next meeting takes place in {} as usual.", Letter.city, "Where is the next meeting?"),
    ("The goods were shipped by {} last Friday.", Letter.company, "Who shipped the goods?"),
    ("The share of returned parts fell to {} this quarter.", lambda v: v.count(30, "%"),
     "What was the share of returns?"),
    ("The doors open at {} sharp.", lambda v: parts.clock(v.draw), "At what time do the doors open?"),
    ("Your file is kept under {} in our archive.", lambda v: v.number("A-", "F/"),
     "Under which number is the file kept?"),
)  # fmt: skip
