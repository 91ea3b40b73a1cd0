"""Documents that tests make: PDFs of content streams, pictures of lines."""

import io

import numpy
import pikepdf
from PIL import Image, ImageDraw, ImageFont

from extraction.reading import documents

HELVETICA = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}


def names(value):
    """A plain dictionary as one of PDF, text that begins with a slash as a name."""
    if isinstance(value, dict):
        return pikepdf.Dictionary({key: names(inner) for key, inner in value.items()})
    return pikepdf.Name(value) if isinstance(value, str) and value.startswith("/") else value


def pdf_of(*contents, size=(600, 800), image=None, finish=None, **saving):
    """A PDF with a page for each content stream. `image` is there as /I; `finish` changes the document at the end."""
    made = pikepdf.new()
    for content in contents:
        page = made.add_blank_page(page_size=size)
        page.obj.Resources = names({"/Font": {"/F": HELVETICA}})
        if image:
            stream = pikepdf.Stream(made, image.convert("L").tobytes())
            kind = {"/Type": "/XObject", "/Subtype": "/Image", "/ColorSpace": "/DeviceGray", "/BitsPerComponent": 8}
            for key, value in {**kind, "/Width": image.width, "/Height": image.height}.items():
                stream[key] = names(value)
            page.obj.Resources.XObject = pikepdf.Dictionary(I=stream)
        page.obj.Contents = pikepdf.Stream(made, content.encode())
    if finish:
        finish(made)
    buffer = io.BytesIO()
    made.save(buffer, **saving)
    return buffer.getvalue()


def line(text, x=100, y=700, matrix="1 0 0 1", mode=0):
    return f"BT /F 14 Tf {mode} Tr {matrix} {x} {y} Tm ({text}) Tj ET "


def joined(document):
    return " ".join(document.text.split())


def ink_outside_of_boxes(document, source, page=1):
    """The share of the dark pixels of a page that are in no word's box, each box grown by 3 % of the page's width."""
    drawn = documents.render(source, page, 800)
    dark = numpy.asarray(drawn.image.convert("L")) < 100
    assert dark.any()
    scale = drawn.image.width / drawn.width
    covered = numpy.zeros_like(dark)
    slack = 0.015 * drawn.image.width
    for word in document.words:
        if word.page == page:
            left, top, right, bottom = (scale * side for side in word.box)
            left, top = max(0, int(left - slack)), max(0, int(top - slack))
            covered[top : int(bottom + slack), left : int(right + slack)] = True
    assert covered.mean() < 0.5  # boxes that are everywhere would prove nothing
    return (dark & ~covered).sum() / dark.sum()


def picture(lines, size=(700, 300)):
    image = Image.new("RGB", size, "white")
    font = ImageFont.load_default(28)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((40, 30 + 60 * number), line, fill="black", font=font)
    return image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


LETTER = pdf_of(*[line(f"Page number {n} of the letter") for n in (1, 2, 3)])
SCAN = picture(["Green tea 2.00", "Cheese cake 13.50", "TOTAL 15.50"], (600, 800))
FULL_PAGE = "q 600 0 0 800 0 0 cm /I Do Q "
