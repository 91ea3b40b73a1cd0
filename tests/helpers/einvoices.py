"""Small electronic invoices of our own making, in UBL and CII."""

LINES = [("Desk lamp", "2", "88.00", "176.00"), ("Shade, linen", "4", "12.50", "50.00")]


def ubl(lines=LINES, number="NL-20417", total="271.20", tax="45.20", subtotal="226.00", doctype="", root="Invoice"):
    kind, quantity = ("CreditNote", "CreditedQuantity") if root == "CreditNote" else ("Invoice", "InvoicedQuantity")
    rows = "".join(
        f"""<cac:{kind}Line><cbc:ID>{i}</cbc:ID><cbc:{quantity} unitCode="C62">{count}</cbc:{quantity}>
        <cbc:LineExtensionAmount currencyID="GBP">{amount}</cbc:LineExtensionAmount>
        <cac:Item><cbc:Name>{name}</cbc:Name><cac:ClassifiedTaxCategory><cbc:Percent>20</cbc:Percent>
        </cac:ClassifiedTaxCategory></cac:Item><cac:Price><cbc:PriceAmount>{price}</cbc:PriceAmount></cac:Price>
        </cac:{kind}Line>"""
        for i, (name, count, price, amount) in enumerate(lines, start=1)
    )
    party = """<cac:Party><cac:PostalAddress><cbc:StreetName>{street}</cbc:StreetName>
    <cbc:CityName>Leeds</cbc:CityName>
    <cbc:PostalZone>LS1 4AP</cbc:PostalZone>
    <cac:Country><cbc:IdentificationCode>GB</cbc:IdentificationCode></cac:Country>
    </cac:PostalAddress><cac:PartyTaxScheme><cbc:CompanyID>{tax_id}</cbc:CompanyID></cac:PartyTaxScheme>
    <cac:PartyLegalEntity><cbc:RegistrationName>{name}</cbc:RegistrationName></cac:PartyLegalEntity></cac:Party>"""
    return f"""<?xml version="1.0" encoding="UTF-8"?>{doctype}
<{root} xmlns="urn:oasis:names:specification:ubl:schema:xsd:{root}-2"
 xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
<cbc:ID>{number}</cbc:ID><cbc:IssueDate>2026-03-09</cbc:IssueDate><cbc:DueDate>2026-04-08</cbc:DueDate>
<cbc:Note>Thank you.</cbc:Note><cbc:DocumentCurrencyCode>GBP</cbc:DocumentCurrencyCode>
<cbc:BuyerReference>B-77</cbc:BuyerReference>
<cac:AccountingSupplierParty>{party.format(street="12 Mill Road", tax_id="GB123456789", name="Northlight Lamps Ltd")}
</cac:AccountingSupplierParty>
<cac:AccountingCustomerParty>{party.format(street="3 Quay", tax_id="GB987654321", name="Bold Bros Ltd")}
</cac:AccountingCustomerParty>
<cac:PaymentMeans><cac:PayeeFinancialAccount><cbc:ID>GB33BUKB20201555555555</cbc:ID></cac:PayeeFinancialAccount>
</cac:PaymentMeans><cac:PaymentTerms><cbc:Note>30 days net</cbc:Note></cac:PaymentTerms>
<cac:TaxTotal><cbc:TaxAmount>{tax}</cbc:TaxAmount><cac:TaxSubtotal><cbc:TaxableAmount>{subtotal}</cbc:TaxableAmount>
<cbc:TaxAmount>{tax}</cbc:TaxAmount><cac:TaxCategory><cbc:ID>S</cbc:ID><cbc:Percent>20</cbc:Percent></cac:TaxCategory>
</cac:TaxSubtotal></cac:TaxTotal>
<cac:LegalMonetaryTotal><cbc:LineExtensionAmount>{subtotal}</cbc:LineExtensionAmount>
<cbc:TaxExclusiveAmount>{subtotal}</cbc:TaxExclusiveAmount><cbc:TaxInclusiveAmount>{total}</cbc:TaxInclusiveAmount>
<cbc:PayableAmount>{total}</cbc:PayableAmount></cac:LegalMonetaryTotal>{rows}</{root}>""".encode()


def cii(lines=LINES, number="NL-20417", total="271.20", tax="45.20", subtotal="226.00", old=False):
    """`old` uses the names of ZUGFeRD 1.0."""
    root = "CrossIndustryDocument" if old else "CrossIndustryInvoice"
    deal = "SpecifiedSupplyChainTradeTransaction" if old else "SupplyChainTradeTransaction"
    head = "ApplicableSupplyChainTrade" if old else "ApplicableHeaderTrade"
    of_line = "SpecifiedSupplyChainTrade" if old else "SpecifiedLineTrade"
    sums = "SpecifiedTradeSettlementMonetarySummation"
    rows = "".join(
        f"""<ram:IncludedSupplyChainTradeLineItem><ram:AssociatedDocumentLineDocument><ram:LineID>{i}</ram:LineID>
        </ram:AssociatedDocumentLineDocument><ram:SpecifiedTradeProduct><ram:Name>{name}</ram:Name>
        </ram:SpecifiedTradeProduct><ram:{of_line}Agreement><ram:NetPriceProductTradePrice><ram:ChargeAmount>{price}
        </ram:ChargeAmount></ram:NetPriceProductTradePrice></ram:{of_line}Agreement><ram:{of_line}Delivery>
        <ram:BilledQuantity unitCode="C62">{count}</ram:BilledQuantity></ram:{of_line}Delivery><ram:{of_line}Settlement>
        <ram:ApplicableTradeTax><ram:RateApplicablePercent>20</ram:RateApplicablePercent></ram:ApplicableTradeTax>
        <ram:{sums if old else "SpecifiedTradeSettlementLineMonetarySummation"}><ram:LineTotalAmount>{amount}
        </ram:LineTotalAmount></ram:{sums if old else "SpecifiedTradeSettlementLineMonetarySummation"}>
        </ram:{of_line}Settlement></ram:IncludedSupplyChainTradeLineItem>"""
        for i, (name, count, price, amount) in enumerate(lines, start=1)
    )
    party = """<ram:Name>{name}</ram:Name><ram:PostalTradeAddress><ram:PostcodeCode>LS1 4AP</ram:PostcodeCode>
    <ram:LineOne>{street}</ram:LineOne><ram:CityName>Leeds</ram:CityName><ram:CountryID>GB</ram:CountryID>
    </ram:PostalTradeAddress><ram:SpecifiedTaxRegistration><ram:ID schemeID="FC">77/123</ram:ID>
    </ram:SpecifiedTaxRegistration><ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">{tax_id}</ram:ID>
    </ram:SpecifiedTaxRegistration>"""
    date = '<udt:DateTimeString format="102">{}</udt:DateTimeString>'
    return f"""<rsm:{root} xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
 xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"
 xmlns:udt="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100">
<rsm:{"HeaderExchangedDocument" if old else "ExchangedDocument"}><ram:ID>{number}</ram:ID>
<ram:TypeCode>380</ram:TypeCode>
<ram:IssueDateTime>{date.format("20260309")}</ram:IssueDateTime><ram:IncludedNote><ram:Content>Thank you.</ram:Content>
</ram:IncludedNote></rsm:{"HeaderExchangedDocument" if old else "ExchangedDocument"}><rsm:{deal}>{rows}
<ram:{head}Agreement><ram:BuyerReference>B-77</ram:BuyerReference><ram:SellerTradeParty>
{party.format(name="Northlight Lamps Ltd", street="12 Mill Road", tax_id="GB123456789")}</ram:SellerTradeParty>
<ram:BuyerTradeParty>{party.format(name="Bold Bros Ltd", street="3 Quay", tax_id="GB987654321")}</ram:BuyerTradeParty>
</ram:{head}Agreement><ram:{head}Delivery/><ram:{head}Settlement><ram:InvoiceCurrencyCode>GBP</ram:InvoiceCurrencyCode>
<ram:SpecifiedTradeSettlementPaymentMeans><ram:PayeePartyCreditorFinancialAccount><ram:IBANID>GB33BUKB20201555555555
</ram:IBANID></ram:PayeePartyCreditorFinancialAccount></ram:SpecifiedTradeSettlementPaymentMeans>
<ram:ApplicableTradeTax><ram:CalculatedAmount>{tax}</ram:CalculatedAmount><ram:BasisAmount>{subtotal}</ram:BasisAmount>
<ram:CategoryCode>S</ram:CategoryCode><ram:RateApplicablePercent>20</ram:RateApplicablePercent></ram:ApplicableTradeTax>
<ram:SpecifiedTradePaymentTerms><ram:Description>30 days net</ram:Description><ram:DueDateDateTime>
{date.format("20260408")}</ram:DueDateDateTime></ram:SpecifiedTradePaymentTerms>
<ram:{sums if old else "SpecifiedTradeSettlementHeaderMonetarySummation"}><ram:LineTotalAmount>{subtotal}
</ram:LineTotalAmount><ram:TaxBasisTotalAmount>{subtotal}</ram:TaxBasisTotalAmount><ram:TaxTotalAmount>{tax}
</ram:TaxTotalAmount><ram:GrandTotalAmount>{total}</ram:GrandTotalAmount><ram:DuePayableAmount>{total}
</ram:DuePayableAmount></ram:{sums if old else "SpecifiedTradeSettlementHeaderMonetarySummation"}>
</ram:{head}Settlement></rsm:{deal}></rsm:{root}>""".encode()
