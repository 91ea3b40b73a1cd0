"""Small Office files and archives, made by the tests that read them."""

import io
import zipfile

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
SPACES = (
    f'xmlns:w="{WORD}" xmlns:r="{OFFICE}" xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:v="urn:schemas-microsoft-com:vml"'
)


def zipped(entries: dict[str, bytes | str], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def docx_of(body: str, main: str = "word/document.xml", kind: str = TYPE, **parts: str) -> bytes:
    """A DOCX file around the content of its body; `styles`, `numbering`, `header` and so on are further parts."""
    folder, _, name = main.rpartition("/")
    related = "".join(f'<Relationship Id="{part}" Type="{OFFICE}/{part}" Target="{part}.xml"/>' for part in parts)
    root = f'<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="{main}"/>'
    types = (
        f'<Default Extension="xml" ContentType="application/xml"/><Override PartName="/{main}" ContentType="{kind}"/>'
    )
    around = f"<?xml version='1.0'?><w:document {SPACES}><w:body>{body}</w:body></w:document>"
    entries = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{root}</Relationships>',
        main: around,
        f"{folder}/_rels/{name}.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{related}</Relationships>',
    }
    return zipped(entries | {f"{folder}/{part}.xml": content for part, content in parts.items()})


def paragraph(*runs: str, looks: str = "") -> str:
    return f"<w:p>{looks and f'<w:pPr>{looks}</w:pPr>'}{''.join(runs)}</w:p>"


def run(text: str, looks: str = "") -> str:
    return f'<w:r>{looks and f"<w:rPr>{looks}</w:rPr>"}<w:t xml:space="preserve">{text}</w:t></w:r>'


def docx_with(fill) -> bytes:
    """A DOCX file as python-docx makes it; `fill` gets the document."""
    import docx

    made = docx.Document()
    fill(made)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()
