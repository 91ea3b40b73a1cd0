"""The tasks: fields, JSON schema, prompt, and how an answer is read. Nothing else builds a prompt or a schema.

Values are strings exactly as printed. A missing value is left out of an answer and is null in a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from extraction.files import StageError

# Bounds that every backend can enforce: they keep the longest answer, and so the time it takes, finite.
Short = Annotated[str, Field(max_length=80)]
Line = Annotated[str, Field(max_length=160)]
Long = Annotated[str, Field(max_length=500)]

# The 41 categories of CUAD v1, as published (Hendrycks et al. 2021, CC BY 4.0).
CLAUSES = tuple(
    (
        "Document Name; Parties; Agreement Date; Effective Date; Expiration Date; Renewal Term; Notice Period to "
        "Terminate Renewal; Governing Law; Most Favored Nation; Non-Compete; Exclusivity; No-Solicit of Customers; "
        "Competitive Restriction Exception; No-Solicit of Employees; Non-Disparagement; Termination for Convenience; "
        "Rofr/Rofo/Rofn; Change of Control; Anti-Assignment; Revenue/Profit Sharing; Price Restrictions; Minimum "
        "Commitment; Volume Restriction; IP Ownership Assignment; Joint IP Ownership; License Grant; Non-Transferable "
        "License; Affiliate License-Licensor; Affiliate License-Licensee; Unlimited/All-You-Can-Eat-License; "
        "Irrevocable or Perpetual License; Source Code Escrow; Post-Termination Services; Audit Rights; Uncapped "
        "Liability; Cap on Liability; Liquidated Damages; Warranty Duration; Insurance; Covenant Not to Sue; Third "
        "Party Beneficiary"
    ).split("; ")
)


class Fields(BaseModel):
    """A part of a record. Fields stand in the order in which every model writes them."""

    model_config = ConfigDict(extra="forbid")


class Merchant(Fields):
    name: Line | None = None
    address: Line | None = None
    phone: Short | None = None
    tax_id: Short | None = None


class Customer(Fields):
    name: Line | None = None
    address: Line | None = None


class SubItem(Fields):
    description: Line | None = None
    number: Short | None = None
    quantity: Short | None = None
    unit_price: Short | None = None
    discount: Short | None = None
    amount: Short | None = None
    item_subtotal: Short | None = None
    vat_included: Short | None = None
    other: Short | None = None


class LineItem(SubItem):
    sub_items: Annotated[list[SubItem], Field(max_length=30)] | None = None


class VoidItem(Fields):
    description: Line | None = None
    amount: Short | None = None


class Receipt(Fields):
    merchant: Merchant | None = None
    invoice_number: Short | None = None
    date: Short | None = None
    due_date: Short | None = None
    time: Short | None = None
    currency: Short | None = None
    customer: Customer | None = None
    line_items: Annotated[list[LineItem], Field(max_length=100)] | None = None
    void_items: Annotated[list[VoidItem], Field(max_length=10)] | None = None
    subtotal: Short | None = None
    discount: Short | None = None
    service_charge: Short | None = None
    other_charge: Short | None = None
    tax: Short | None = None
    subtotal_other: Line | None = None
    tip: Short | None = None
    total: Short | None = None
    cash: Short | None = None
    change: Short | None = None
    card: Short | None = None
    e_money: Short | None = None
    item_type_count: Short | None = None
    item_count: Short | None = None
    total_other: Line | None = None
    summary: Long | None = None


MAX_QUOTES = 6  # of a category in one answer
Quotes = Annotated[list[Long], Field(max_length=MAX_QUOTES)]
# A clause is answered with the number of a sentence of the window, or a run of them. A name or a date is no sentence:
# these categories, whose quotes are a tenth as long as those of the others, are quoted.
QUOTED = ("Document Name", "Parties", "Agreement Date", "Effective Date")
Numbers = Annotated[str, Field(max_length=7, pattern="^[0-9]{1,3}(-[0-9]{1,3})?$")]
Pointers = Annotated[list[Numbers], Field(max_length=MAX_QUOTES)]
Clauses = create_model(
    "Clauses",
    __base__=Fields,
    **{name: ((Quotes if name in QUOTED else Pointers) | None, None) for name in CLAUSES},
)


class Contract(Fields):
    clauses: Clauses | None = None  # left out where a window has none


class KeyValue(Fields):
    key: Line
    value: Long


class Document(Fields):
    title: Line | None = None
    key_values: Annotated[list[KeyValue], Field(max_length=60)] | None = None
    summary: Long | None = None


class ContractTerms(Fields):
    """A contract in short, as printed."""

    title: Line | None = None
    parties: Annotated[list[Line], Field(max_length=10)] | None = None
    agreement_date: Long | None = None
    effective_date: Long | None = None
    expiration_date: Long | None = None
    renewal_term: Long | None = None
    notice_period: Long | None = None
    governing_law: Long | None = None


# Any text: its type first, and then the record of that type.
General = create_model(
    "General",
    __base__=Fields,
    document_type=(Literal["receipt", "contract", "document", "none"], ...),
    **{
        name: (field.annotation, None)
        for model in (ContractTerms, Receipt, Document)
        for name, field in model.model_fields.items()
        if name != "summary"
    },
)


class Answer(Fields):
    answer: Long | None = None  # left out where the document does not say


@dataclass(frozen=True)
class Task:
    """What is asked of the model: `name` is the row's task, `instructions` its system message."""

    name: str
    model: type[BaseModel]
    instructions: str

    @cached_property
    def schema(self) -> dict:
        """The JSON schema of an answer: only object, array and string, every string and array bounded."""
        full = self.model.model_json_schema()
        return _bounded(full, full.get("$defs", {}))


RECEIPT = Task(
    "receipt",
    Receipt,
    "Extract the fields of this receipt or invoice as JSON. Copy values exactly as printed. Leave out what is missing.",
)
CONTRACT = Task(
    "contract",
    Contract,
    f"Find the clauses of this contract text and give the numbers of their sentences as JSON, by category. Copy "
    f"{', '.join(QUOTED)} exactly. Leave out categories that are missing. Categories: " + "; ".join(CLAUSES),
)
DOCUMENT = Task(
    "document",
    Document,
    "Extract the title and the labeled values of this document as JSON. Copy values exactly as printed.",
)
QUESTION = Task(
    "question", Answer, "Answer the question about this document as JSON, as short as the document prints it."
)
GENERAL = Task(
    "general",
    General,
    "Say what kind of document this is, and extract its fields as JSON. document_type comes first: receipt (also an "
    "invoice), contract, document, or none if the text is no document. Copy values exactly as printed. Leave out what "
    "is missing.",
)
TASKS = {task.name: task for task in (RECEIPT, CONTRACT, DOCUMENT, QUESTION)}
DOCUMENT_TYPES = ("receipt", "contract", "document")


CONTRACT_FORM = "sentences"  # in rows and manifests; those of earlier versions may say "quotes" or nothing


def check_form(manifest: dict, what: object, command: str) -> None:
    """Raises StageError for rows, or for a model trained on rows, in which clauses are answered with quotes."""
    of_rows = manifest["stage"] == "prepare_training_data" or {"rows", "adapter"} & set(manifest["inputs"])
    if of_rows and manifest["settings"].get("contract_form", "quotes") == "quotes":
        raise StageError(f"{what} is of an earlier version, in which clauses were answered with quotes. Run: {command}")


_KEPT = ("type", "enum", "maxLength", "maxItems", "pattern", "required")


def _bounded(schema: dict, definitions: dict) -> dict:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:  # pydantic's "or null": an absent field is left out instead
        schema = next(option for option in schema["anyOf"] if option.get("type") != "null")
        return _bounded(schema, definitions)
    kept = {key: schema[key] for key in _KEPT if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: _bounded(s, definitions) for name, s in schema["properties"].items()}
        kept["additionalProperties"] = False
    if "items" in schema:
        kept["items"] = _bounded(schema["items"], definitions)
    return kept
