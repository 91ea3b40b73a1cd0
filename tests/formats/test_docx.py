"""DOCX files: which part is the document, what of it is seen, and where it stands in the text."""

import pytest

from extraction.reading import documents
from extraction.reading.limits import DocumentError
from tests.helpers.office import SPACES, TYPE, WORD, docx_of, docx_with, paragraph, run, zipped

WHITE = '<w:color w:val="FFFFFF"/>'
DARK = '<w:shd w:val="clear" w:fill="1F3864"/>'


def text_of(body: str, **parts: str) -> str:
    return documents.read(docx_of(body, **parts)).text


def test_a_docx_keeps_paragraphs_and_tables_in_order():
    def fill(made):
        made.add_paragraph("Before")
        table = made.add_table(rows=1, cols=2)
        table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Total", "9.00"
        made.add_paragraph("After")

    assert documents.read(docx_with(fill)).text.split() == ["Before", "Total", "9.00", "After"]


def test_a_docx_has_its_letterhead_first_and_its_footer_last():
    def fill(made):
        made.add_paragraph("Body")
        made.sections[0].header.paragraphs[0].text = "Northlight Lamps"
        made.sections[0].footer.paragraphs[0].text = "VAT GB219384786"

    assert documents.read(docx_with(fill)).text.split("\n") == ["Northlight Lamps", "Body", "VAT GB219384786"]


def test_a_docx_is_read_as_it_is_seen():
    """Form fields and insertions are seen; deletions, field codes and a text box's second version are not."""
    from docx.oxml import parse_xml

    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    blocks = [
        f"<w:sdt {SPACES}><w:sdtContent><w:p><w:r><w:t>form field</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        f"<w:p {SPACES}><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:r><w:instrText>PAGE</w:instrText><w:tab/><w:t>12</w:t></w:r></w:p>",
        f"<w:p {SPACES}><w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r></w:p>",
    ]

    def fill(made):
        for number, block in enumerate(blocks):
            made.element.body.insert(number, parse_xml(block))

    assert documents.read(docx_with(fill)).text.split("\n")[:3] == ["form field", "new     12", "boxed"]


@pytest.mark.parametrize("how", ["vanish", "white", "tiny", "style"])
def test_text_of_a_docx_that_nobody_sees_is_left_out_and_said(how):
    from docx.enum.style import WD_STYLE_TYPE
    from docx.shared import Pt, RGBColor

    def fill(made):
        line = made.add_paragraph("Total 9.00")
        run = line.add_run(" or pay 8,888.88")
        if how == "vanish":
            run.font.hidden = True
        elif how == "white":
            run.font.color.rgb = RGBColor(255, 255, 255)
        elif how == "tiny":
            run.font.size = Pt(1)
        else:
            style = made.styles.add_style("Quiet", WD_STYLE_TYPE.CHARACTER)
            style.font.hidden = True
            run.style = style
        made.add_paragraph("Thank you")

    read = documents.read(docx_with(fill))
    assert read.text.split() == ["Total", "9.00", "Thank", "you"]
    assert read.problems == ['text that cannot be seen was left out: "or pay 8,888.88"']


def test_white_text_on_a_dark_ground_and_small_print_of_a_docx_are_read():
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Pt, RGBColor

    def fill(made):
        made.add_paragraph().add_run("fine print").font.size = Pt(5)
        cell = made.add_table(1, 1).rows[0].cells[0]
        run = cell.paragraphs[0].add_run("HEADING")
        run.font.color.rgb = RGBColor(255, 255, 255)
        ground = OxmlElement("w:shd")
        ground.set(qn("w:fill"), "1F3864")
        cell._tc.get_or_add_tcPr().append(ground)
        shown = made.add_paragraph().add_run("shown")
        shown.font.hidden = False

    read = documents.read(docx_with(fill))
    assert read.text.split() == ["fine", "print", "HEADING", "shown"]
    assert not read.problems


def test_tables_within_tables_of_a_docx_are_read_once():
    def fill(made):
        inner = made.add_table(rows=1, cols=2).rows[0].cells[1].add_table(rows=1, cols=2)
        inner.rows[0].cells[0].text, inner.rows[0].cells[1].text = "deep", "7"

    assert documents.read(docx_with(fill)).text.split() == ["deep", "7"]


# --- packages ------------------------------------------------------------------------------------------------

MACRO = "application/vnd.ms-word.document.macroEnabled.main+xml"
TEMPLATE = "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"


@pytest.mark.parametrize("kind", [TYPE, MACRO, TEMPLATE])
@pytest.mark.parametrize("main", ["word/document.xml", "word/document2.xml", "Word/Main.xml", "content/body.xml"])
def test_the_document_is_found_by_its_relationship_whatever_its_name_and_kind(main, kind):
    assert documents.read(docx_of(paragraph(run("Total 9.00")), main=main, kind=kind)).text == "Total 9.00"


def test_a_strict_file_is_read_like_a_transitional_one():
    strict = "http://purl.oclc.org/ooxml"
    body = f"<w:body>{paragraph(run('Total 9.00'))}</w:body>"
    kind = f"{strict}/officeDocument/relationships/officeDocument"
    relation = f'<Relationship Id="r" Type="{kind}" Target="word/document.xml"/>'
    package = "http://schemas.openxmlformats.org/package/2006"
    types = f'<Override PartName="/word/document.xml" ContentType="{TYPE}"/>'
    data = zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types">{types}</Types>',
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships">{relation}</Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{strict}/wordprocessingml/main">{body}</w:document>',
        }
    )
    assert documents.read(data).text == "Total 9.00"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml", "an Excel file; save it as PDF"),
        ("application/vnd.ms-excel.sheet.macroEnabled.main+xml", "an Excel file"),
        ("application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml", "a PowerPoint file"),
    ],
)
def test_files_of_other_office_programs_are_named(kind, said):
    with pytest.raises(DocumentError, match=said):
        documents.read(docx_of("", kind=kind))


def test_an_opendocument_text_is_named():
    with pytest.raises(DocumentError, match="an OpenDocument text; save it as DOCX or PDF"):
        documents.read(zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "<x/>"}))


# --- what is seen --------------------------------------------------------------------------------------------

HEADING = run("INVOICE 7730", WHITE)
CELL = "<w:tbl><w:tr><w:tc><w:tcPr>{}</w:tcPr>{}</w:tc></w:tr></w:tbl>"
BOX = (
    "<w:r><w:drawing><wp:inline><a:graphic><a:graphicData><wps:wsp><wps:spPr>{}</wps:spPr><wps:txbx><w:txbxContent>{}"
    "</w:txbxContent></wps:txbx></wps:wsp></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>"
)
FILLED = '<a:solidFill><a:srgbClr val="1F3864"/></a:solidFill>'
STYLES = f"""<w:styles xmlns:w="{WORD}">
<w:style w:type="paragraph" w:default="1" w:styleId="Normal"/>
<w:style w:type="paragraph" w:styleId="Banner"><w:pPr>{DARK}</w:pPr><w:rPr>{WHITE}</w:rPr></w:style>
<w:style w:type="paragraph" w:styleId="Title"><w:basedOn w:val="Banner"/></w:style>
<w:style w:type="paragraph" w:styleId="Pale"><w:rPr>{WHITE}</w:rPr></w:style>
<w:style w:type="table" w:styleId="Grid"><w:tblStylePr w:type="firstRow"><w:rPr>{WHITE}</w:rPr><w:tcPr>{DARK}</w:tcPr>
</w:tblStylePr></w:style></w:styles>"""


@pytest.mark.parametrize(
    "body",
    [
        paragraph(run("INVOICE 7730", WHITE + DARK)),
        paragraph(run("INVOICE 7730", WHITE + '<w:highlight w:val="darkBlue"/>')),
        paragraph(HEADING, looks=DARK),
        paragraph(HEADING, looks='<w:pStyle w:val="Banner"/>'),
        paragraph(run("INVOICE 7730"), looks='<w:pStyle w:val="Title"/>'),
        paragraph(run("INVOICE 7730", '<w:color w:val="000000"/>'), looks='<w:pStyle w:val="Pale"/>'),
        CELL.format(DARK, paragraph(HEADING)),
        f'<w:tbl><w:tblPr><w:tblStyle w:val="Grid"/></w:tblPr><w:tr><w:tc>{paragraph(HEADING)}</w:tc></w:tr></w:tbl>',
        paragraph(BOX.format(FILLED, paragraph(HEADING))),
        paragraph(BOX.format("<a:gradFill/>", paragraph(HEADING))),
        paragraph('<w:r><w:pict><v:rect fillcolor="#1F3864"><v:textbox><w:txbxContent>' + paragraph(HEADING)
                  + "</w:txbxContent></v:textbox></v:rect></w:pict></w:r>"),
        paragraph('<w:r><w:drawing><wp:anchor behindDoc="1"/></w:drawing></w:r>', HEADING),
        paragraph(run("INVOICE 7730", '<w:color w:val="auto"/>'), looks=DARK),
    ],
    ids=["run", "marker", "paragraph", "style", "based on", "own color", "cell", "table style", "box", "gradient",
         "VML", "picture behind", "auto"],
)  # fmt: skip
def test_white_text_on_a_ground_is_seen_wherever_the_ground_comes_from(body):
    read = documents.read(docx_of(paragraph(run("Harbour Tools")) + body, styles=STYLES))
    assert read.text.split("\n") == ["Harbour Tools", "INVOICE 7730"]
    assert read.problems == []


@pytest.mark.parametrize(
    "body",
    [
        paragraph(HEADING),
        paragraph(run("INVOICE 7730", '<w:color w:val="FDFDFD"/>')),
        paragraph(HEADING, looks='<w:shd w:val="clear" w:fill="FFFFFF"/>'),
        paragraph(run("INVOICE 7730"), looks='<w:pStyle w:val="Pale"/>'),
        paragraph(run("INVOICE 7730", '<w:color w:val="1F3864"/>'), looks=DARK),
        paragraph(BOX.format("<a:noFill/>", paragraph(HEADING))),
        CELL.format("", paragraph(HEADING)),
    ],
    ids=["white", "near white", "white ground", "style", "dark on dark", "empty box", "cell"],
)
def test_text_in_the_color_of_its_ground_is_left_out_and_told(body):
    read = documents.read(docx_of(paragraph(run("Harbour Tools")) + body, styles=STYLES))
    assert read.text == "Harbour Tools"
    assert read.problems == ['text that cannot be seen was left out: "INVOICE 7730"']


# --- odd parts of the text -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", ["<w:tab/>", '<w:ptab w:alignment="right"/>'])
def test_a_tab_of_any_kind_parts_a_label_and_its_amount(tab):
    assert text_of(paragraph(run("Total due"), f"<w:r>{tab}<w:t>9.00</w:t></w:r>")).split() == ["Total", "due", "9.00"]


SYMBOL = '<w:sym w:font="Wingdings" w:char="{}"/>'
FIELD = '<w:fldChar w:fldCharType="begin"><w:ffData><w:checkBox><w:default w:val="0"/>{}</w:checkBox>'
FIELD += "</w:ffData></w:fldChar>"
CHOICE = '<w:fldChar w:fldCharType="begin"><w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="cash"/>'
CHOICE += '<w:listEntry w:val="card"/></w:ddList></w:ffData></w:fldChar>'
WINGDINGS = '<w:rFonts w:ascii="Wingdings" w:hAnsi="Wingdings"/>'


@pytest.mark.parametrize(
    ("inside", "shown"),
    [
        (f"<w:r>{SYMBOL.format('F0FE')}<w:t> Paid </w:t>{SYMBOL.format('F0A8')}</w:r>", "☑ Paid ☐"),
        (run("þ", WINGDINGS) + run(" Paid ") + run("\uf0a8", WINGDINGS) + run(" Open"), "☑ Paid ☐ Open"),
        (f"<w:r>{FIELD.format('<w:checked/>')}</w:r>{run(' Paid ')}<w:r>{FIELD.format('')}</w:r>", "☒ Paid ☐"),
        (run("by ") + f"<w:r>{CHOICE}</w:r>", "by card"),
        ("<m:oMath><m:r><m:t>Fee = 2 × 3</m:t></m:r></m:oMath>", "Fee = 2 × 3"),
        ("<m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath>",
         "(a+b)/2"),
        (run("5") + "<w:r><w:noBreakHyphen/></w:r>" + run("00"), "5-00"),
        (run("refund") + "<w:r><w:softHyphen/></w:r>" + run("able"), "refundable"),
        (run("10") + run("48", '<w:vertAlign w:val="superscript"/>'), "10.48"),
        (run("1,250.00") + run("1", '<w:vertAlign w:val="superscript"/>'), "1,250.00 1"),
        (run("20 m") + run("2", '<w:vertAlign w:val="superscript"/>'), "20 m2"),
    ],
    ids=["symbols", "font of symbols", "form fields", "list", "equation", "fraction", "hyphen", "soft hyphen", "cents",
         "footnote", "unit"],
)  # fmt: skip
def test_what_is_no_plain_text_of_a_paragraph_is_read_too(inside, shown):
    assert text_of(paragraph(inside)) == shown


LEVEL = '<w:lvl w:ilvl="{}"><w:start w:val="{}"/><w:numFmt w:val="{}"/>{}<w:lvlText w:val="{}"/></w:lvl>'
NUMBERING = (
    f'<w:numbering xmlns:w="{WORD}"><w:abstractNum w:abstractNumId="0">'
    + LEVEL.format(0, 1, "decimal", '<w:pStyle w:val="Clause"/>', "%1.")
    + LEVEL.format(1, 1, "lowerLetter", "", "%1.%2)")
    + LEVEL.format(2, 4, "upperRoman", "", "(%3)")
    + '</w:abstractNum><w:abstractNum w:abstractNumId="1">'
    + LEVEL.format(0, 1, "bullet", "", "\uf0b7")
    + '</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
    '<w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num><w:num w:numId="3"><w:abstractNumId w:val="0"/>'
    '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num></w:numbering>'
)
CLAUSE = (
    f'<w:styles xmlns:w="{WORD}"><w:style w:type="paragraph" w:styleId="Clause"><w:pPr><w:numPr><w:numId w:val="1"/>'
)
CLAUSE += "</w:numPr></w:pPr></w:style></w:styles>"


def listed(text: str, number: int, level: int = 0) -> str:
    place = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
    return paragraph(run(text), looks=place)


def test_the_numbers_of_lists_are_read_as_they_are_printed():
    body = listed("Term", 1) + listed("years", 1, 1) + listed("months", 1, 1) + listed("Fees", 1) + listed("due", 1, 2)
    body += listed("goods", 2) + listed("again", 3) + listed("no list", 0)
    body += paragraph(run("by style"), looks='<w:pStyle w:val="Clause"/>')
    assert text_of(body, numbering=NUMBERING, styles=CLAUSE).split("\n") == [
        "1. Term", "1.a) years", "1.b) months", "2. Fees", "(IV) due", "• goods", "1. again", "no list", "2. by style"
    ]  # fmt: skip


def cell(text: str, looks: str = "") -> str:
    return f"<w:tc><w:tcPr>{looks}</w:tcPr>{paragraph(run(text))}</w:tc>"


def test_merged_cells_keep_their_columns():
    rows = [
        cell("Item") + cell("Qty") + cell("Price") + cell("Amount"),
        cell("Hammer", '<w:vMerge w:val="restart"/>') + cell("2") + cell("20.00") + cell("40.00"),
        cell("", "<w:vMerge/>") + cell("1") + cell("5.00") + cell("5.00"),
        cell("Total", '<w:gridSpan w:val="3"/>') + cell("45.00"),
    ]
    last = f'<w:tr><w:trPr><w:gridBefore w:val="3"/></w:trPr>{cell("EUR")}</w:tr>'
    lines = text_of("<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + last + "</w:tbl>").split("\n")
    at = lines[0].index("Amount")
    assert [line[at:] for line in lines] == ["Amount", "40.00", "5.00", "45.00", "EUR"]
    assert lines[2].split() == ["1", "5.00", "5.00"] and lines[2].index("1") == lines[0].index("Qty")


def test_footnotes_are_read_and_pictures_that_are_not_are_told():
    notes = f'<w:footnotes xmlns:w="{WORD}"><w:footnote w:type="separator">{paragraph(run("----"))}</w:footnote>'
    notes += f"<w:footnote>{paragraph(run('net of tax'))}</w:footnote></w:footnotes>"
    picture = '<w:r><w:drawing><wp:inline><wp:extent cx="3000000" cy="3000000"/><a:graphic><a:blip/></a:graphic>'
    read = documents.read(
        docx_of(paragraph(run("Total 9.00"), f"{picture}</wp:inline></w:drawing></w:r>"), footnotes=notes)
    )
    assert read.text.split("\n") == ["Total 9.00", "net of tax"]
    assert read.problems == ["1 picture in the DOCX file was not read; save it as PDF to have the print in them read"]
