"""HTML pages: laid out as a browser does, without what it does not show."""

import pytest

from extraction.formats import html
from extraction.reading import documents
from extraction.reading.limits import DocumentError


def text_of(body: str, style: str = "") -> str:
    return html.laid_out(f"<html><head><title>T</title><style>{style}</style></head><body>{body}</body></html>")[0]


def test_blocks_are_lines_and_tables_are_columns():
    body = "<h1>INVOICE</h1><p>Northlight Lamps<br>Bristol</p><table><tr><th>Item<th>Qty<th>Amount</tr>"
    body += "<tr><td>Lamp<td>2<td>&pound;20.00</table><div>Total <b>&pound;20.00</b></div>"
    read = documents.read(f"<!DOCTYPE html>{body}".encode())
    lines = [line for line in read.text.split("\n") if line]
    assert lines == [
        "INVOICE", "Northlight Lamps", "Bristol", "Item  Qty  Amount", "Lamp  2    £20.00", "Total £20.00"
    ]  # fmt: skip
    assert (read.reader, read.problems) == ("html", [])


def test_cells_of_several_columns_or_rows_keep_the_columns():
    rows = "<tr><td>Item<td>Qty<td>Amount</tr><tr><td rowspan=2>Lamp<td>2<td>20.00</tr><tr><td>1<td>5.00</tr>"
    note = "a remark over the whole width, much longer than any of the columns of the table"
    rows += f"<tr><td colspan=3>{note}</tr><tr><td colspan=2>Total<td>25.00</tr>"
    lines = [line for line in text_of(f"<table>{rows}</table>").split("\n") if line.strip()]
    at = lines[0].index("Qty")
    assert [line[at:].split() for line in lines[:3]] == [["Qty", "Amount"], ["2", "20.00"], ["1", "5.00"]]
    assert lines[3].strip() == note
    assert lines[4].split() == ["Total", "25.00"] and len(lines[4]) < 30


def test_tables_in_tables_as_mails_are_made_of_keep_their_lines():
    inner = "<table><tr><td>Lamp<td align=right>20.00</tr><tr><td>Total<td align=right>20.00</tr></table>"
    text = text_of(f"<table><tr><td><table><tr><td>Northlight<br>Bristol</table></tr><tr><td>{inner}</tr></table>")
    assert [line.split() for line in text.split("\n") if line.strip()] == [
        ["Northlight"], ["Bristol"], ["Lamp", "20.00"], ["Total", "20.00"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "style"),
    [
        ("<p style='display:none'>SECRET 9</p>", ""),
        ("<p style='Display : NONE !important'>SECRET 9</p>", ""),
        ("<div style='visibility:hidden'><p>SECRET 9</p></div>", ""),
        ("<p style='font-size:0'>SECRET 9</p>", ""),
        ("<p style='font-size:1px'>SECRET 9</p>", ""),
        ("<p style='opacity:0.0'>SECRET 9</p>", ""),
        ("<p style='color:#fff'>SECRET 9</p>", ""),
        ("<font color=white>SECRET 9</font>", ""),
        ("<p style='color:transparent'>SECRET 9</p>", ""),
        ("<td bgcolor='#102030'><p style='color:rgb(16,32,48)'>SECRET 9</p></td>", ""),
        ("<p hidden>SECRET 9</p>", ""),
        ("<div style='max-height:0;overflow:hidden'>SECRET 9</div>", ""),
        ("<div style='position:absolute;left:-9999px'>SECRET 9</div>", ""),
        ("<div style='text-indent:-5000px'>SECRET 9</div>", ""),
        ("<p class='x pre'>SECRET 9</p>", ".pre{display:none}"),
        ("<p id=a>SECRET 9</p>", "/* c */ #a, .b { color : #ffffff }"),
        ("<div class=a><p>SECRET 9</p></div>", "div.a > p{visibility:hidden}"),
        ("<p class=m>SECRET 9</p>", "@media screen {.m{display:none}}"),
        ("<p class=m>SECRET 9</p>", "@media (max-width:9px){.m{display:block}} .m{display:none}"),
        ("<div style='mso-hide:all'>SECRET 9</div>", ""),
    ],
)
def test_what_a_browser_does_not_show_is_left_out_and_told(body, style):
    page = f"<html><head><style>{style}</style></head><body><p>Total 9.00</p>{body}<p>Thank you</p></body></html>"
    text, problems = html.laid_out(page)
    assert text.split() == ["Total", "9.00", "Thank", "you"]
    assert problems == ['text that cannot be seen was left out: "SECRET 9"']


@pytest.mark.parametrize(
    ("body", "style"),
    [
        ("<p>SHOWN</p>", "@media (max-width:600px){p{display:none}}"),
        ("<p>SHOWN</p>", "@media print and (min-width:1px){p{display:none}} p{color:#333}"),
        ("<p class=b>SHOWN</p>", ".b{display:none} .b{display:block}"),
        ("<p class=b>SHOWN</p>", "p.b{display:block} .b{display:none}"),
        ("<div style='background:#123'><p style='color:white'>SHOWN</p></div>", ""),
        ("<table bgcolor=#222222><tr><td><font color=#ffffff>SHOWN</font></table>", ""),
        ("<div style=\"background-image:url(x.png)\"><p style='color:#fff'>SHOWN</p></div>", ""),
        ("<td style='font-size:0'><div style='font-size:14px'>SHOWN</div></td>", ""),
        ("<p class=x>SHOWN</p>", ".x:hover{display:none} .x::before{display:none}"),
        ("<div style='overflow:hidden;height:20px'>SHOWN</div>", ""),
        ("<div style='position:relative;left:-10px'>SHOWN</div>", ""),
        ("<details><summary></summary>SHOWN</details>", ""),
    ],
)
def test_what_a_browser_shows_is_read(body, style):
    page = f"<html><head><style>{style}</style></head><body>{body}</body></html>"
    assert html.laid_out(page) == ("SHOWN", [])


def test_forms_show_their_values():
    body = "<input type=checkbox checked> Paid <input type=radio> Open <input value=Ann> <input type=hidden value=x>"
    body += " <select><option>cash<option selected>card</select> <textarea>note</textarea>"
    assert text_of(body + "<datalist><option>y</datalist>").split() == ["☒", "Paid", "☐", "Open", "Ann", "card", "note"]


def test_raised_digits_do_not_join_an_amount():
    assert text_of("Tea 10<sup>48</sup> and 1,250.00<sup>1</sup>") == "Tea 10.48 and 1,250.00 1"
    assert text_of("Tea 10<span style='vertical-align:super'>48</span>") == "Tea 10.48"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [("<meta charset=iso-8859-2>", "iso8859-2"), ("<meta content='text/html; charset=windows-1250'>", "cp1250"),
     ("", "utf-8"), ("<meta charset=utf-8>", "cp1250"), ("", "utf-16")],
)  # fmt: skip
def test_a_page_is_read_in_the_encoding_that_it_names(head, encoding):
    page = f"<html><head>{head}</head><body><p>Zapłacono 12 zł, dziękujemy</p></body></html>"
    assert documents.read(page.encode(encoding)).text == "Zapłacono 12 zł, dziękujemy"


@pytest.mark.parametrize(
    "source",
    [
        "<table>" + "<tr><td>" * 3_000 + "Total 9.00",
        "<html><p colspan=99999999999>Total 9.00",
        "<table><tr><td colspan=1000000 rowspan=1000000>Total 9.00</table>",
        '<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><p>Total 9.00&x;',
        "<html><style>" + "a{" * 50_000 + "</style>Total 9.00",
        "<html><script>if (a < b) '</scr'</script>Total 9.00",
    ],
)
def test_a_hostile_page_is_read(source):
    text = documents.read(source.encode()).text
    assert "9.00" in text and "root:" not in text


def test_a_page_of_elements_without_end_in_each_other_is_refused():
    with pytest.raises(DocumentError, match="no text was found"):
        documents.read(("<html>" + "<div>" * 5_000 + "Total 9.00").encode())
