"""An electronic invoice in XML -> its exact record: UBL invoices and credit notes, and UN/CEFACT CII.

XRechnung is either syntax; Factur-X and ZUGFeRD are CII inside a PDF. The XML comes from strangers: no DTD, no
entities, no network, bounded size and depth.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from extraction.reading.limits import DocumentError

MAX_XML_BYTES = 20_000_000  # an invoice of 10,000 lines has about 15 MB
SYNTAXES = ("UBL", "CII")
ROOTS = {"Invoice": "UBL", "CreditNote": "UBL", "CrossIndustryInvoice": "CII", "CrossIndustryDocument": "CII"}

# --- where a value stands ------------------------------------------------------------------------------------
#
# By our name its XPath in UBL and in CII, of `A|B` the first that leads to anything, and the number of the business
# term in EN 16931-1. Paths in CII begin at the trade transaction. The parts of it are called by the words of `_PART`:
# what stands before them differs between ZUGFeRD 1.0 and later versions, and between the invoice and a line.

Paths = tuple[str, str]
_PART = re.compile(r"^\w*?(Trade(?:Transaction|Agreement|Delivery|Settlement)|MonetarySummation|ExchangedDocument)$")
_FACTS: dict[str, Paths] = {
    "invoice_number": ("ID", "../ExchangedDocument/ID"),  # BT-1
    "date": ("IssueDate", "../ExchangedDocument/IssueDateTime/DateTimeString"),  # BT-2
    "due_date": ("DueDate|PaymentMeans/PaymentDueDate",
                 "TradeSettlement/SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString"),  # BT-9
    "currency": ("DocumentCurrencyCode", "TradeSettlement/InvoiceCurrencyCode"),  # BT-5
}  # fmt: skip
_SELLER = "AccountingSupplierParty/Party", "TradeAgreement/SellerTradeParty"
_BUYER = "AccountingCustomerParty/Party", "TradeAgreement/BuyerTradeParty"
_PARTY: dict[str, Paths] = {
    "name": ("PartyLegalEntity/RegistrationName|PartyName/Name",
             "Name|SpecifiedLegalOrganization/TradingBusinessName"),  # BT-27, BT-44
    "tax_id": ("PartyTaxScheme/CompanyID",
               "SpecifiedTaxRegistration/ID[@schemeID='VA']|SpecifiedTaxRegistration/ID"),  # BT-31, BT-48
    "phone": ("Contact/Telephone", "DefinedTradeContact/TelephoneUniversalCommunication/CompleteNumber"),  # BT-42
    "email": ("Contact/ElectronicMail", "DefinedTradeContact/EmailURIUniversalCommunication/URIID"),  # BT-43
}  # fmt: skip
_ADDRESS_AT: Paths = ("PostalAddress", "PostalTradeAddress")
_ADDRESS: list[Paths] = list(zip(
    "StreetName AdditionalStreetName AddressLine/Line PostalZone CityName CountrySubentity"
    " Country/IdentificationCode".split(),
    "LineOne LineTwo LineThree PostcodeCode CityName CountrySubDivisionName CountryID".split(),
    strict=True,
))  # fmt: skip
_TOTALS_AT: Paths = (".", "TradeSettlement/MonetarySummation")
_TOTALS: dict[str, Paths] = {
    "subtotal": ("LegalMonetaryTotal/LineExtensionAmount", "LineTotalAmount"),  # BT-106
    "discount": ("LegalMonetaryTotal/AllowanceTotalAmount", "AllowanceTotalAmount"),  # BT-107
    "other_charge": ("LegalMonetaryTotal/ChargeTotalAmount", "ChargeTotalAmount"),  # BT-108
    "tax": ("TaxTotal/TaxAmount", "TaxTotalAmount"),  # BT-110
    "total": ("LegalMonetaryTotal/TaxInclusiveAmount", "GrandTotalAmount"),  # BT-112
}
# What the record of a receipt has no field for:
_TERMS: dict[str, Paths] = {
    "type_code": ("InvoiceTypeCode|CreditNoteTypeCode", "../ExchangedDocument/TypeCode"),  # BT-3
    "order_number": ("OrderReference/ID",
                     "TradeAgreement/BuyerOrderReferencedDocument/IssuerAssignedID"
                     "|TradeAgreement/BuyerOrderReferencedDocument/ID"),  # BT-13
    "buyer_reference": ("BuyerReference", "TradeAgreement/BuyerReference"),  # BT-10
    "contract_number": ("ContractDocumentReference/ID",
                        "TradeAgreement/ContractReferencedDocument/IssuerAssignedID"),  # BT-12
    "delivery_date": ("Delivery/ActualDeliveryDate",
                      "TradeDelivery/ActualDeliverySupplyChainEvent/OccurrenceDateTime/DateTimeString"),  # BT-72
}  # fmt: skip
_PAYMENT_AT: Paths = (".", "TradeSettlement")
_PAYMENT: dict[str, Paths] = {
    "iban": ("PaymentMeans/PayeeFinancialAccount/ID",
             "SpecifiedTradeSettlementPaymentMeans/PayeePartyCreditorFinancialAccount/IBANID"),  # BT-84
    "bic": ("PaymentMeans/PayeeFinancialAccount/FinancialInstitutionBranch/ID",
            "SpecifiedTradeSettlementPaymentMeans/PayeeSpecifiedCreditorFinancialInstitution/BICID"),  # BT-86
    "payment_terms": ("PaymentTerms/Note", "SpecifiedTradePaymentTerms/Description"),  # BT-20
}  # fmt: skip
_NOTES: Paths = ("Note", "../ExchangedDocument/IncludedNote/Content")  # BT-22
_MORE_TOTALS: dict[str, Paths] = {
    "total_without_tax": ("LegalMonetaryTotal/TaxExclusiveAmount", "TaxBasisTotalAmount"),  # BT-109
    "prepaid": ("LegalMonetaryTotal/PrepaidAmount", "TotalPrepaidAmount"),  # BT-113
    "rounding": ("LegalMonetaryTotal/PayableRoundingAmount", "RoundingAmount"),  # BT-114
    "amount_due": ("LegalMonetaryTotal/PayableAmount", "DuePayableAmount"),  # BT-115
}
_TAXES: Paths = ("TaxTotal/TaxSubtotal", "TradeSettlement/ApplicableTradeTax")
_TAX: dict[str, Paths] = {
    "category": ("TaxCategory/ID", "CategoryCode"),  # BT-118
    "percent": ("TaxCategory/Percent", "RateApplicablePercent|ApplicablePercent"),  # BT-119
    "base": ("TaxableAmount", "BasisAmount"),  # BT-116
    "amount": ("TaxAmount", "CalculatedAmount"),  # BT-117
}
# Not a line of ZUGFeRD 1.0 that holds a note alone, nor a heading of the EXTENDED profile.
_PRICED = "normalize-space(TradeSettlement/MonetarySummation/LineTotalAmount)"
_LINES: Paths = ("InvoiceLine|CreditNoteLine", f"IncludedSupplyChainTradeLineItem[{_PRICED}]")
_ITEM: dict[str, Paths] = {
    "description": ("Item/Name|Item/Description",
                    "SpecifiedTradeProduct/Name|SpecifiedTradeProduct/Description"),  # BT-153
    "number": ("Item/SellersItemIdentification/ID", "SpecifiedTradeProduct/SellerAssignedID"),  # BT-155
    "quantity": ("InvoicedQuantity|CreditedQuantity", "TradeDelivery/BilledQuantity"),  # BT-129
    "unit_price": ("Price/PriceAmount",
                   "TradeAgreement/NetPriceProductTradePrice/ChargeAmount"
                   "|TradeAgreement/GrossPriceProductTradePrice/ChargeAmount"),  # BT-146
    # the first allowance alone; the others, charges, and what the price is for are in `other`
    "discount": ("AllowanceCharge[normalize-space(ChargeIndicator)='false']/Amount",
                 "TradeSettlement/SpecifiedTradeAllowanceCharge[normalize-space(ChargeIndicator)='false']"
                 "/ActualAmount"),  # BT-136
    "amount": ("LineExtensionAmount", "TradeSettlement/MonetarySummation/LineTotalAmount"),  # BT-131
}  # fmt: skip
_BASIS: Paths = ("Price/BaseQuantity", "TradeAgreement/NetPriceProductTradePrice/BasisQuantity"
                 "|TradeAgreement/GrossPriceProductTradePrice/BasisQuantity")  # BT-149 # fmt: skip
_CHANGES: Paths = ("AllowanceCharge", "TradeSettlement/SpecifiedTradeAllowanceCharge")  # BG-27, BG-28
_CHANGE: dict[str, Paths] = {"is_charge": ("ChargeIndicator",) * 2, "amount": ("Amount", "ActualAmount")}
_LINE_TERMS: dict[str, Paths] = {
    "id": ("ID", "AssociatedDocumentLineDocument/LineID"),  # BT-126
    "unit": ("InvoicedQuantity/@unitCode|CreditedQuantity/@unitCode", "TradeDelivery/BilledQuantity/@unitCode"),
    "tax_percent": ("Item/ClassifiedTaxCategory/Percent",
                    "TradeSettlement/ApplicableTradeTax/RateApplicablePercent"
                    "|TradeSettlement/ApplicableTradeTax/ApplicablePercent"),  # BT-152
    "details": ("Item[normalize-space(Name)]/Description",
                "SpecifiedTradeProduct[normalize-space(Name)]/Description"),  # BT-154
}  # fmt: skip


def read(xml: bytes) -> dict | None:
    """`{"record": receipt, "terms": what a receipt's record has no field for, "syntax": "UBL" or "CII"}` of an invoice.

    None for XML that is no invoice. Values are the XML's own, dates as YYYY-MM-DD. Raises DocumentError for XML that is
    broken, too large, or has a document type declaration, which no invoice needs and entity attacks do.
    """
    from lxml import etree

    from extraction.tasks.records import prune  # a reader that meets no invoice does without pydantic

    if len(xml) > MAX_XML_BYTES:
        raise DocumentError(f"its XML has {len(xml) / 1e6:.1f} MB; the limit is {MAX_XML_BYTES / 1e6:g} MB")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, recover=False)
    try:
        root = etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentError(f"its XML is broken: {str(error)[:120]}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise DocumentError("its XML has a document type declaration, which is refused")
    syntax = ROOTS.get(etree.QName(root).localname)
    if syntax is None:
        return None
    for element in root.iter("*"):
        element.tag = _PART.sub(r"\1", etree.QName(element).localname)
    record, terms = _Invoice(root, syntax).both()
    if not record.get("invoice_number") and not record.get("total"):
        return None
    return {"record": prune(record), "terms": prune(terms), "syntax": syntax}


class _Invoice:
    """The elements of an invoice, without namespaces, by the paths of its syntax."""

    def __init__(self, root: Any, syntax: str):
        self.column = SYNTAXES.index(syntax)
        self.root = root if syntax == "UBL" else root.find("TradeTransaction")

    def both(self) -> tuple[dict, dict]:
        """The record and the other terms."""
        seller, buyer = self.party(_SELLER), self.party(_BUYER)
        lines = self.all(self.root, _LINES)
        totals = self.one(self.root, _TOTALS_AT)
        record = {
            "merchant": {name: seller[name] for name in ("name", "address", "tax_id", "phone")},
            **self.values(self.root, _FACTS),
            "customer": {name: buyer[name] for name in ("name", "address")},
            "line_items": [self.values(line, _ITEM) | {"other": self.other(line)} for line in lines],
            **self.values(totals, _TOTALS),
        }
        terms = {
            **self.values(self.root, _TERMS),
            "seller_email": seller["email"],
            "buyer_tax_id": buyer["tax_id"],
            **self.values(self.one(self.root, _PAYMENT_AT), _PAYMENT),
            "notes": [note.text for note in self.all(self.root, _NOTES)],
            **self.values(totals, _MORE_TOTALS),
            "taxes": [self.values(part, _TAX) for part in self.all(self.root, _TAXES)],
            "lines": [self.values(line, _LINE_TERMS) for line in lines],
        }
        return record, terms

    def other(self, line: Any) -> str | None:
        """What else makes the amount of a line: how many the price is for, charges, and allowances but the first."""
        basis = _text(self.one(line, _BASIS))
        changes = [self.values(change, _CHANGE) for change in self.all(line, _CHANGES)]
        allowances = [f"allowance {c['amount']}" for c in changes if c["is_charge"] == "false"]
        charges = [f"charge {c['amount']}" for c in changes if c["is_charge"] != "false"]
        price = [f"price for {basis}"] if basis and not re.fullmatch(r"1(\.0*)?", basis) else []
        return ", ".join([*price, *charges, *allowances[1:]]) or None

    def party(self, paths: Paths) -> dict[str, str | None]:
        """With the address: street lines, then post code and city, then region and country, with commas between."""
        party = self.one(self.root, paths)
        found = self.one(party, _ADDRESS_AT)
        *street, code, city, region, country = (_text(self.one(found, part)) for part in _ADDRESS)
        place = " ".join(filter(None, (code, city)))
        address = ", ".join(filter(None, (*street, place, region, country)))
        return self.values(party, _PARTY) | {"address": address}

    def all(self, node: Any, paths: Paths) -> list[Any]:
        """The elements, or the values of an attribute, at the first path that leads to any."""
        ways = [] if node is None else paths[self.column].split("|")
        return next((found for way in ways if (found := _xpath(way)(node))), [])

    def one(self, node: Any, paths: Paths) -> Any:
        return next(iter(self.all(node, paths)), None)

    def values(self, node: Any, table: dict[str, Paths]) -> dict[str, str | None]:
        return {name: _text(self.one(node, paths)) for name, paths in table.items()}


@cache
def _xpath(path: str) -> Any:
    from lxml import etree

    return etree.XPath(path)


def _text(found: Any) -> str | None:
    """The text of an element or an attribute; of a date of CII in the format YYYYMMDD, as YYYY-MM-DD."""
    if found is None:
        return None
    text = " ".join((found if isinstance(found, str) else "".join(found.itertext())).split())
    is_date = not isinstance(found, str) and found.tag == "DateTimeString" and re.fullmatch(r"\d{8}", text)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if is_date else text or None


def text(invoice: dict) -> str:
    """The invoice as text, a value on each line and the items as a table, for questions and for people."""
    record, terms = invoice["record"], invoice["terms"]
    lines = []
    for key, value in [*record.items(), *terms.items()]:
        if isinstance(value, dict):
            lines += [f"{_name(key)} {_name(inner).lower()}: {found}" for inner, found in value.items()]
        elif isinstance(value, list):
            rows = [" | ".join(row.values()) if isinstance(row, dict) else row for row in value]
            lines += [f"{_name(key)}:", *(f"  {row}" for row in rows)]
        else:
            lines.append(f"{_name(key)}: {value}")
    return "\n".join(lines)


def _name(key: str) -> str:
    return key.replace("_", " ").capitalize()
