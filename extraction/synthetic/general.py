"""What the general instruction is trained on: any text, its type first and then its record; and texts that are none."""

from __future__ import annotations

import random
from typing import Any

# CUAD's categories that a short record of a contract holds, by field.
CONTRACT_TERMS = {
    "title": "Document Name",
    "parties": "Parties",
    "agreement_date": "Agreement Date",
    "effective_date": "Effective Date",
    "expiration_date": "Expiration Date",
    "renewal_term": "Renewal Term",
    "notice_period": "Notice Period to Terminate Renewal",
    "governing_law": "Governing Law",
}
MAX_PARTIES = 8
LONGEST = 300  # characters of a term; a longer clause is cut at a word


def contract_record(clauses: dict[str, list[str]]) -> dict:
    """The short record of a contract, from the quotes of its clauses."""
    record: dict[str, Any] = {"document_type": "contract"}
    for field, category in CONTRACT_TERMS.items():
        quotes = [" ".join(quote.split()) for quote in clauses.get(category, [])]
        if not quotes:
            continue
        if field == "parties":
            named = [quote for quote in dict.fromkeys(quotes) if len(quote) <= 160]
            record[field] = [quote for quote in named if not any(quote != o and quote in o for o in named)][
                :MAX_PARTIES
            ]
        else:
            best = quotes[0]
            record[field] = best if len(best) <= LONGEST else best[:LONGEST].rsplit(None, 1)[0]
    return record


GREETINGS = (
    "hello,hi,hey there,good morning,good evening!,hello?,Hallo,Bonjour,Hola,Ciao,how are you?,thanks,thank you!,ok,"
    "yes please,test,testing 123,asdf,who are you?,what can you do?,help,help me,can you hear me,bye,see you tomorrow"
).split(",")
QUESTIONS = (
    "What is the total?|Who is the seller?|When is this due?|How much did I pay?|Can you read PDFs?|What is the date?|"
    "Which law governs the agreement?|Is this a receipt?|How do I upload a document?|What is an invoice?|"
    "Please extract the fields.|Extract the invoice.|Summarize this contract.|Read the attached file.|"
    "What does a notice period mean?|Which languages do you speak?|Please process the document I sent you.|"
    "Write a poem about autumn.|Translate 'receipt' into French.|What is 12 times 12?|Tell me a joke."
).split("|")
NAMES = "scan,receipt,IMG,invoice,document,contract,photo,Rechnung,facture,page,untitled,file,report,upload".split(",")
ENDINGS = "pdf,jpg,jpeg,png,docx,txt,tiff,xlsx,zip".split(",")
REMARKS = (
    "This page intentionally left blank|[blank page]|(no text)|-|...|page 1 of 1|1|no text found|N/A|### |---|•|null|"
    "[image]|Loading...|404 Not Found|Lorem ipsum dolor sit amet, consectetur adipiscing elit."
).split("|")
PROSE = (
    "The train leaves at half past nine and arrives in the afternoon. Bring something to eat.|"
    "The weather stayed cold all week, and the river froze over by Sunday.|"
    "def add(a, b):\n    return a + b|for i in range(10):\n    print(i)|SELECT name FROM customers WHERE id = 7;|"
    "Once upon a time there was a miller who had three sons, a mill, a donkey and a cat.|"
    "Photosynthesis turns light into chemical energy. Plants, algae and some bacteria do it.|"
    "I went to the market yesterday, but they had no apples, so I came home with pears.|"
    "Mix the flour with the butter, add two eggs and let the dough rest for an hour.|"
    "Our team won by two goals, and the crowd sang until the lights went out.|"
    "To be, or not to be, that is the question.|The quick brown fox jumps over the lazy dog."
).split("|")


def nothing(draw: random.Random) -> str:
    """A text that is no document: a greeting, a file's name, an empty page, a question alone, prose, program text."""
    kind = draw.choice(("greeting", "question", "file", "empty", "prose", "letters"))
    if kind == "greeting":
        text = draw.choice(GREETINGS)
        return draw.choice((text, text.capitalize(), text.upper(), f"{text} {draw.choice(GREETINGS)}"))
    if kind == "question":
        return " ".join(draw.sample(QUESTIONS, draw.choice((1, 1, 1, 2))))
    if kind == "file":
        number = draw.choice(
            ("", f"_{draw.randint(1, 9999)}", f"-{draw.randint(2015, 2026)}", f" ({draw.randint(1, 9)})")
        )
        folder = draw.choice(("", "", "", "C:\\Users\\me\\Desktop\\", "/home/me/", "./data/", "https://example.com/"))
        return f"{folder}{draw.choice(NAMES)}{number}.{draw.choice(ENDINGS)}"
    if kind == "empty":
        return draw.choice(("", " ", "\n\n", *REMARKS))
    if kind == "prose":
        return draw.choice(("\n", " ")).join(draw.sample(PROSE, draw.choice((1, 1, 2, 3))))
    return "".join(draw.choice("abcdefghijklmnop rstuvwxyz0123456789") for _ in range(draw.randint(1, 60)))


def ask(documents_: list[dict], share: float, seed: int) -> None:
    """Ask about this share of the training documents by the general instruction too, and of texts that are none."""
    for document in documents_:
        draw = random.Random(f"{seed}/{document['id']}/general")
        if not document["rows"] or draw.random() >= share:
            continue
        first = document["rows"][0]
        if first["task"] in ("receipt", "document"):
            record = {key: value for key, value in first["record"].items() if key != "summary"}
            added = {"text": first["text"], "record": {"document_type": first["task"], **record}}
        elif "clauses" in document:
            added = contract_in_short(document, draw)
        else:
            continue
        document["rows"].append({"task": "general", **added})
        if draw.random() < 0.3:
            no_document = {"text": nothing(draw), "record": {"document_type": "none"}}
            document["rows"].append({"task": "general", **no_document})


def contract_in_short(document: dict, draw: random.Random) -> dict:
    """The beginning of a contract, and the short record of what stands in it."""
    end = draw.randint(1200, 5500)
    text = document["text"][:end].rsplit(None, 1)[0]
    shown: dict[str, list[str]] = {}
    for category, first, last in document["clauses"]:
        if last <= len(text):
            shown.setdefault(category, []).append(document["text"][first:last])
    return {"text": text, "record": contract_record(shown)}
