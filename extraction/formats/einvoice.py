"""An electronic invoice in XML -> its exact record: UBL invoices and credit notes, and UN/CEFACT CII.

XRechnung is either syntax; Factur-X and ZUGFeRD are CII inside a PDF. The numbers of business terms (BT-1, ...) are
those of EN 16931-1. The XML comes from strangers: no DTD, no entities, no network, bounded size and depth.
"""

from __future__ import annotations

from typing import Any

from extraction.reading.limits import DocumentError
from extraction.tasks.records import prune

MAX_XML_BYTES = 20_000_000  # an invoice of 10,000 lines has about 15 MB
ROOTS = {"Invoice": "UBL", "CreditNote": "UBL", "CrossIndustryInvoice": "CII", "CrossIndustryDocument": "CII"}

# Where a value stands: `A|B` is the first path that leads to anything. ZUGFeRD 1.0 has other names for these parts.
_DEAL = "SupplyChainTradeTransaction|SpecifiedSupplyChainTradeTransaction"
_AGREEMENT = "ApplicableHeaderTradeAgreement|ApplicableSupplyChainTradeAgreement"
_DELIVERY = "ApplicableHeaderTradeDelivery|ApplicableSupplyChainTradeDelivery"
_SETTLEMENT = "ApplicableHeaderTradeSettlement|ApplicableSupplyChainTradeSettlement"
_TOTALS = "SpecifiedTradeSettlementHeaderMonetarySummation|SpecifiedTradeSettlementMonetarySummation"
_AGREED = "SpecifiedLineTradeAgreement|SpecifiedSupplyChainTradeAgreement"
_DELIVERED = "SpecifiedLineTradeDelivery|SpecifiedSupplyChainTradeDelivery"
_SETTLED = "SpecifiedLineTradeSettlement|SpecifiedSupplyChainTradeSettlement"
_SUMS = "SpecifiedTradeSettlementLineMonetarySummation|SpecifiedTradeSettlementMonetarySummation"
_UBL_ADDRESS = (
    "StreetName AdditionalStreetName AddressLine/Line PostalZone CityName CountrySubentity Country/IdentificationCode"
)
_CII_ADDRESS = "LineOne LineTwo LineThree PostcodeCode CityName CountrySubDivisionName CountryID"


def read(xml: bytes) -> dict | None:
    """`{"record": receipt, "terms": what a receipt's record has no field for, "syntax": "UBL" or "CII"}` of an invoice.

    None for XML that is no invoice. Values are the XML's own, dates as YYYY-MM-DD. Raises DocumentError for XML that is
    broken, too large, or has a document type declaration, which no invoice needs and entity attacks do.
    """
    from lxml import etree

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
    record, terms = (_ubl if syntax == "UBL" else _cii)(root)
    if not record.get("invoice_number") and not record.get("total"):
        return None
    return {"record": prune(record), "terms": prune(terms), "syntax": syntax}


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


# --- UBL -----------------------------------------------------------------------------------------------------


def _ubl(root: Any) -> tuple[dict, dict]:
    credit = root.tag.endswith("}CreditNote")
    totals = _one(root, "LegalMonetaryTotal")
    lines = [_ubl_line(line, credit) for line in _all(root, "CreditNoteLine" if credit else "InvoiceLine")]
    record = {
        "merchant": _ubl_party(_one(root, "AccountingSupplierParty/Party"))
        | {"phone": _text(root, "AccountingSupplierParty/Party/Contact/Telephone")},
        "invoice_number": _text(root, "ID"),  # BT-1
        "date": _text(root, "IssueDate"),  # BT-2
        "due_date": _text(root, "DueDate|PaymentMeans/PaymentDueDate"),  # BT-9
        "currency": _text(root, "DocumentCurrencyCode"),  # BT-5
        "customer": _without_tax_id(_ubl_party(_one(root, "AccountingCustomerParty/Party"))),
        "line_items": [line["item"] for line in lines],
        "subtotal": _text(totals, "LineExtensionAmount"),  # BT-106
        "discount": _text(totals, "AllowanceTotalAmount"),  # BT-107
        "other_charge": _text(totals, "ChargeTotalAmount"),  # BT-108
        "tax": _text(root, "TaxTotal/TaxAmount"),  # BT-110
        "total": _text(totals, "TaxInclusiveAmount"),  # BT-112
    }
    terms = {
        "type_code": _text(root, "InvoiceTypeCode|CreditNoteTypeCode"),  # BT-3
        "order_number": _text(root, "OrderReference/ID"),  # BT-13
        "buyer_reference": _text(root, "BuyerReference"),  # BT-10
        "contract_number": _text(root, "ContractDocumentReference/ID"),  # BT-12
        "delivery_date": _text(root, "Delivery/ActualDeliveryDate"),  # BT-72
        "seller_email": _text(root, "AccountingSupplierParty/Party/Contact/ElectronicMail"),  # BT-43
        "buyer_tax_id": _text(root, "AccountingCustomerParty/Party/PartyTaxScheme/CompanyID"),  # BT-48
        "iban": _text(root, "PaymentMeans/PayeeFinancialAccount/ID"),  # BT-84
        "bic": _text(root, "PaymentMeans/PayeeFinancialAccount/FinancialInstitutionBranch/ID"),  # BT-86
        "payment_terms": _text(root, "PaymentTerms/Note"),  # BT-20
        "notes": [note.text for note in _all(root, "Note") if note.text],  # BT-22
        "total_without_tax": _text(totals, "TaxExclusiveAmount"),  # BT-109
        "prepaid": _text(totals, "PrepaidAmount"),  # BT-113
        "rounding": _text(totals, "PayableRoundingAmount"),  # BT-114
        "amount_due": _text(totals, "PayableAmount"),  # BT-115
        "taxes": [
            {
                "category": _text(part, "TaxCategory/ID"),
                "percent": _text(part, "TaxCategory/Percent"),
                "base": _text(part, "TaxableAmount"),
                "amount": _text(part, "TaxAmount"),
            }
            for part in _all(root, "TaxTotal/TaxSubtotal")
        ],
        "lines": [line["terms"] for line in lines],
    }
    return record, terms


def _ubl_line(line: Any, credit: bool) -> dict:
    return {
        "item": {
            "description": _text(line, "Item/Name|Item/Description"),  # BT-153
            "number": _text(line, "Item/SellersItemIdentification/ID"),  # BT-155
            "quantity": _text(line, "CreditedQuantity" if credit else "InvoicedQuantity"),  # BT-129
            "unit_price": _text(line, "Price/PriceAmount"),  # BT-146
            "discount": _allowances(line, "AllowanceCharge", "ChargeIndicator", "Amount"),  # BT-136
            "amount": _text(line, "LineExtensionAmount"),  # BT-131
        },
        "terms": {
            "id": _text(line, "ID"),
            "unit": _attribute(line, "CreditedQuantity" if credit else "InvoicedQuantity", "unitCode"),
            "tax_percent": _text(line, "Item/ClassifiedTaxCategory/Percent"),
            "details": _text(line, "Item/Description") if _text(line, "Item/Name") else None,  # BT-154
        },
    }


def _ubl_party(party: Any) -> dict:
    return {
        "name": _text(party, "PartyLegalEntity/RegistrationName|PartyName/Name"),
        "address": _address(_one(party, "PostalAddress"), _UBL_ADDRESS),
        "tax_id": _text(party, "PartyTaxScheme/CompanyID"),
    }


# --- CII -----------------------------------------------------------------------------------------------------


def _cii(root: Any) -> tuple[dict, dict]:
    deal, head = _one(root, _DEAL), _one(root, "ExchangedDocument|HeaderExchangedDocument")
    agreement, delivery, settlement = (_one(deal, part) for part in (_AGREEMENT, _DELIVERY, _SETTLEMENT))
    totals = _one(settlement, _TOTALS)
    seller, buyer = _one(agreement, "SellerTradeParty"), _one(agreement, "BuyerTradeParty")
    means = "SpecifiedTradeSettlementPaymentMeans"
    lines = [_cii_line(line) for line in _all(deal, "IncludedSupplyChainTradeLineItem") if _is_priced(line)]
    record = {
        "merchant": _cii_party(seller)
        | {"phone": _text(seller, "DefinedTradeContact/TelephoneUniversalCommunication/CompleteNumber")},
        "invoice_number": _text(head, "ID"),
        "date": _date(head, "IssueDateTime/DateTimeString"),
        "due_date": _date(settlement, "SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString"),
        "currency": _text(settlement, "InvoiceCurrencyCode"),
        "customer": _without_tax_id(_cii_party(buyer)),
        "line_items": [line["item"] for line in lines],
        "subtotal": _text(totals, "LineTotalAmount"),
        "discount": _text(totals, "AllowanceTotalAmount"),
        "other_charge": _text(totals, "ChargeTotalAmount"),
        "tax": _text(totals, "TaxTotalAmount"),
        "total": _text(totals, "GrandTotalAmount"),
    }
    terms = {
        "type_code": _text(head, "TypeCode"),
        "order_number": _text(
            agreement, "BuyerOrderReferencedDocument/IssuerAssignedID|BuyerOrderReferencedDocument/ID"
        ),
        "buyer_reference": _text(agreement, "BuyerReference"),
        "contract_number": _text(agreement, "ContractReferencedDocument/IssuerAssignedID"),
        "delivery_date": _date(delivery, "ActualDeliverySupplyChainEvent/OccurrenceDateTime/DateTimeString"),
        "seller_email": _text(seller, "DefinedTradeContact/EmailURIUniversalCommunication/URIID"),
        "buyer_tax_id": _cii_party(buyer)["tax_id"],
        "iban": _text(settlement, f"{means}/PayeePartyCreditorFinancialAccount/IBANID"),
        "bic": _text(settlement, f"{means}/PayeeSpecifiedCreditorFinancialInstitution/BICID"),
        "payment_terms": _text(settlement, "SpecifiedTradePaymentTerms/Description"),
        "notes": [note.text for note in _all(head, "IncludedNote/Content") if note.text],
        "total_without_tax": _text(totals, "TaxBasisTotalAmount"),
        "prepaid": _text(totals, "TotalPrepaidAmount"),
        "rounding": _text(totals, "RoundingAmount"),
        "amount_due": _text(totals, "DuePayableAmount"),
        "taxes": [
            {
                "category": _text(part, "CategoryCode"),
                "percent": _text(part, "RateApplicablePercent|ApplicablePercent"),
                "base": _text(part, "BasisAmount"),
                "amount": _text(part, "CalculatedAmount"),
            }
            for part in _all(settlement, "ApplicableTradeTax")
        ],
        "lines": [line["terms"] for line in lines],
    }
    return record, terms


def _is_priced(line: Any) -> bool:
    """Not a line of ZUGFeRD 1.0 that holds a note alone, nor a heading of the EXTENDED profile."""
    return _text(_one(_one(line, _SETTLED), _SUMS), "LineTotalAmount") is not None


def _cii_line(line: Any) -> dict:
    product, settled = _one(line, "SpecifiedTradeProduct"), _one(line, _SETTLED)
    agreed, delivered = _one(line, _AGREED), _one(line, _DELIVERED)
    return {
        "item": {
            "description": _text(product, "Name|Description"),
            "number": _text(product, "SellerAssignedID"),
            "quantity": _text(delivered, "BilledQuantity"),
            "unit_price": _text(
                agreed, "NetPriceProductTradePrice/ChargeAmount|GrossPriceProductTradePrice/ChargeAmount"
            ),
            "discount": _allowances(
                settled, "SpecifiedTradeAllowanceCharge", "ChargeIndicator/Indicator", "ActualAmount"
            ),
            "amount": _text(_one(settled, _SUMS), "LineTotalAmount"),
        },
        "terms": {
            "id": _text(line, "AssociatedDocumentLineDocument/LineID"),
            "unit": _attribute(delivered, "BilledQuantity", "unitCode"),
            "tax_percent": _text(
                settled, "ApplicableTradeTax/RateApplicablePercent|ApplicableTradeTax/ApplicablePercent"
            ),
            "details": _text(product, "Description") if _text(product, "Name") else None,
        },
    }


def _cii_party(party: Any) -> dict:
    registrations = {entry.get("schemeID"): entry.text for entry in _all(party, "SpecifiedTaxRegistration/ID")}
    return {
        "name": _text(party, "Name|SpecifiedLegalOrganization/TradingBusinessName"),
        "address": _address(_one(party, "PostalTradeAddress"), _CII_ADDRESS),
        "tax_id": registrations.get("VA") or next(iter(registrations.values()), None),
    }


# --- elements ------------------------------------------------------------------------------------------------


def _all(node: Any, paths: str) -> list[Any]:
    """The elements at `A/B`, whatever their namespace; of `A/B|C` those of the first path that leads to any."""
    if node is None:
        return []
    ways = ("/".join(f"{{*}}{step}" for step in path.split("/")) for path in paths.split("|"))
    return next((found for way in ways if (found := node.findall(way))), [])


def _one(node: Any, paths: str) -> Any:
    return next(iter(_all(node, paths)), None)


def _text(node: Any, paths: str) -> str | None:
    found = _one(node, paths)
    return None if found is None else " ".join("".join(found.itertext()).split()) or None


def _attribute(node: Any, path: str, name: str) -> str | None:
    found = _one(node, path)
    return None if found is None else found.get(name)


def _allowances(line: Any, path: str, indicator: str, amount: str) -> str | None:
    """The first allowance of a line; None if there is none. A record has no field for the rest."""
    found = [_text(entry, amount) for entry in _all(line, path) if _text(entry, indicator) == "false"]
    return next(iter(found), None)


def _date(node: Any, path: str) -> str | None:
    """A date of CII; format 102 is YYYYMMDD."""
    text = _text(node, path)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if text and len(text) == 8 and text.isdigit() else text


def _address(address: Any, names: str) -> str | None:
    """Street lines, then post code and city, then region and country, with commas between."""
    parts = {name: _text(address, name) for name in names.split()}
    *street, code, city, region, country = parts.values()
    place = " ".join(filter(None, (code, city)))
    return ", ".join(filter(None, (*street, place, region, country))) or None


def _without_tax_id(party: dict) -> dict:
    return {key: value for key, value in party.items() if key != "tax_id"}
