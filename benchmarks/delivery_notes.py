"""Delivery notes of our own making, PDFs and photos with their records: the worked example of docs/own.md.

    python -m benchmarks.delivery_notes FOLDER                    # 20 to learn from, 20 to test, 20 without a record
    python -m benchmarks.delivery_notes FOLDER --train 100 --new 0

The shipped model has never seen their layouts nor their schema. The same seed gives the same documents. All names,
numbers and places are invented.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = {
    "type": "object",
    "required": ["note_number", "items"],
    "properties": {
        "note_number": {"type": "string"},
        "order_number": {"type": "string"},
        "delivery_date": {"type": "string", "format": "date"},
        "ship_to": {"type": "string", "description": "name of the recipient"},
        "carrier": {"type": "string"},
        "vehicle": {"type": "string", "description": "license plate"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "article": {"type": "string"},
                    "description": {"type": "string"},
                    "quantity": {"type": "number"},
                    "unit": {"type": "string"},
                    "batch": {"type": "string"},
                },
            },
        },
        "packages": {"type": "integer"},
        "gross_weight": {"type": "number"},
        "received_by": {"type": "string"},
    },
}
GOODS = (
    "Hex bolt M8x40|Flat washer 8 mm|Cable tie 200 mm|Sealing tape|Grease cartridge|Filter mat G4|V-belt SPA 1250|"
    "Ball bearing 6204|Copper pipe 15 mm|Solder wire|Safety gloves|Hose clamp 32|Drill bit 6.5|Cutting disc 125|"
    "Threaded rod M10|Silicone white|Wall plug 8x40|Insulating sleeve|Angle bracket|Spray paint grey"
).split("|")
UNITS = ("pcs", "box", "m", "kg", "roll", "set")
FIRST = "Alma Bruno Carla Dario Edda Femke Gero Hanna Ivo Jelka Kasper Lina Marek Nora Otis Petra Runa Sven Wim".split()
LAST = "Adler Brandt Czerny Dahl Ekberg Falk Gruber Holm Ivarsen Jansky Kolb Lindt Moser Novak Oster Pilz Roth".split()
PLACES = "Aldersund Birkenau Castellane Dornhof Eskeby Felsheim Gransby Halvard Ilmstein Jarrow Kellerup Lundby".split()
FIRMS = (
    "Nordwind Trading|Kestrelle Workshops|Haller & Sons|Blauhorn Technik|Marisol Supplies|Oakline Builders|Tamm Motors"
)
FIRMS += "|Vesper Interiors|Quarry Lane Ltd|Arbor Systems|Delft Marine|Pinnacle Joinery"
CARRIERS = (
    "Rapidolog|Gelber Pfeil|Transalp Cargo|Harbour Freight Line|Veloxa Express|Northway Haulage|own transport".split(
        "|"
    )
)
# What three suppliers call the same fields, and where they put them.
STYLES: tuple[dict[str, Any], ...] = (
    {
        "firm": "STAHLKONTOR HEMMINGEN", "title": "DELIVERY NOTE", "note_number": "Delivery note no.", "columns": 2,
        "order_number": "Your order", "delivery_date": "Delivery date", "ship_to": "Deliver to", "carrier": "Carrier",
        "vehicle": "Vehicle", "table": ("Pos", "Article", "Description", "Qty", "Unit", "Batch"),
        "packages": "Packages", "gross_weight": "Gross weight kg", "received_by": "Received by", "date": "%d.%m.%Y",
    },
    {
        "firm": "Fjordline Tools AS", "title": "Packing slip", "note_number": "Slip", "columns": 1,
        "order_number": "PO reference", "delivery_date": "Dispatched", "ship_to": "Consignee", "carrier": "Shipper",
        "vehicle": "Plate", "table": ("Item no.", "Goods", "Batch", "Delivered", "UoM"),
        "packages": "Colli", "gross_weight": "Weight (gross, kg)", "received_by": "Taken over by", "date": "%d %b %Y",
    },
    {
        "firm": "Magazzini Riva s.r.l.", "title": "Goods delivered", "note_number": "DDT no.", "columns": 2,
        "order_number": "Customer order", "delivery_date": "Date of transport", "ship_to": "Destination",
        "carrier": "Haulier", "vehicle": "Truck", "table": ("Code", "Description", "Lot", "UM", "Quantity"),
        "packages": "No. of parcels", "gross_weight": "Gross kg", "received_by": "Signed", "date": "%d/%m/%y",
    },
)  # fmt: skip
COLUMNS = {
    "Pos": "pos", "Article": "article", "Item no.": "article", "Code": "article", "Description": "description",
    "Goods": "description", "Qty": "quantity", "Delivered": "quantity", "Quantity": "quantity", "Unit": "unit",
    "UoM": "unit", "UM": "unit", "Batch": "batch", "Lot": "batch",
}  # fmt: skip
WIDTHS = {"pos": 35, "article": 85, "description": 165, "quantity": 70, "unit": 55, "batch": 80}


def note(draw: random.Random) -> tuple[dict, dict]:
    """The style and the record of a delivery note."""
    from datetime import date, timedelta

    style = draw.choice(STYLES)
    items = []
    for goods in draw.sample(GOODS, draw.randint(1, 4)):
        amount = draw.choice((str(draw.randint(1, 480)), f"{draw.randint(1, 99)}.5", f"{draw.randint(1, 9)},000"))
        item = {"article": f"{draw.choice('KLMPQ')}{draw.randint(1000, 99999)}", "description": goods}
        items.append({**item, "quantity": amount, "unit": draw.choice(UNITS), "batch": f"B{draw.randint(100, 9999)}"})
        if draw.random() < 0.15:
            del items[-1]["batch"]
    day = date(2025, 1, 6) + timedelta(days=draw.randint(0, 600))
    record: dict[str, Any] = {
        "note_number": f"{draw.choice(('LN', 'DN', 'S', '25/'))}{draw.randint(10_000, 999_999)}",
        "order_number": f"{draw.randint(4_000, 99_999)}-{draw.choice('ABCX')}",
        "delivery_date": day.strftime(style["date"]),
        "ship_to": draw.choice(FIRMS.split("|")),
        "carrier": draw.choice(CARRIERS),
        "vehicle": f"{draw.choice('ABHKM')}{draw.choice('KLNTX')} {draw.randint(10, 999)} {draw.choice('CDFGZ')}",
        "items": items,
        "packages": str(draw.randint(1, 40)),
        "gross_weight": f"{draw.randint(4, 2400):,}.{draw.randint(0, 9)}",
        "received_by": f"{draw.choice(FIRST)} {draw.choice(LAST)}",
    }
    for name, share in (("order_number", 0.1), ("vehicle", 0.25), ("received_by", 0.2)):
        if draw.random() < share:
            del record[name]
    return style, record


# --- drawing -------------------------------------------------------------------------------------------------


def lines(style: dict, record: dict, draw: random.Random) -> Iterator[tuple[float, float, int, str]]:
    """What is printed: x, y from the bottom of an A4 page, size, text."""
    yield 50, 790, 16, style["firm"]
    street = f"{draw.randint(1, 140)} {draw.choice(PLACES)} Road, {draw.choice(PLACES)}"
    yield 50, 774, 8, f"{street}, phone {draw.randint(200, 999)} {draw.randint(1000, 9999)}"
    yield 380, 735, 14, style["title"]
    y = 700.0
    yield 50, y, 9, style["ship_to"]
    street = f"{draw.randint(1, 99)} {draw.choice(PLACES)} Street"
    for n, text in enumerate((record["ship_to"], street, draw.choice(PLACES))):
        yield 50, y - 14 - 13 * n, 10, text
    facts = [name for name in ("note_number", "order_number", "delivery_date", "carrier", "vehicle") if name in record]
    for n, name in enumerate(facts):
        if style["columns"] == 2:
            yield 320, y - 15 * n, 9, style[name]
            yield 440, y - 15 * n, 10, record[name]
        else:
            yield 320, y - 15 * n, 10, f"{style[name]}: {record[name]}"
    y = 590
    x_of, x = {}, 50.0
    for title in style["table"]:
        x_of[title] = x
        yield x, y, 9, title
        x += WIDTHS[COLUMNS[title]]
    for n, item in enumerate(record["items"]):
        y -= 17
        cells = item | {"pos": str(n + 1)}
        for title, at in x_of.items():
            if value := cells.get(COLUMNS[title]):
                yield at, y, 10, value
    y -= 40
    for name in ("packages", "gross_weight"):
        yield 50, y, 10, f"{style[name]}   {record[name]}"
        y -= 15
    yield 50, y - 30, 9, f"{style['received_by']}:"
    if "received_by" in record:
        yield 150, y - 30, 11, record["received_by"]
    yield 50, 60, 7, "Goods remain our property until paid in full. Please check for damage on arrival."


def pdf(printed: list[tuple[float, float, int, str]]) -> bytes:
    import pikepdf

    made = pikepdf.new()
    page = made.add_blank_page(page_size=(595, 842))
    font = pikepdf.Dictionary(
        Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica,
        Encoding=pikepdf.Name.WinAnsiEncoding,
    )  # fmt: skip
    page.obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
    shown = "".join(f"BT /F {size} Tf {x:.0f} {y:.0f} Td ({_escaped(text)}) Tj ET\n" for x, y, size, text in printed)
    page.obj.Contents = pikepdf.Stream(made, f"{shown}50 585 m 545 585 l S".encode("cp1252"))
    buffer = io.BytesIO()
    made.save(buffer, deterministic_id=True)
    return buffer.getvalue()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def photo(document: bytes, draw: random.Random, whole: bool = False) -> bytes:
    """A page, or its upper part, as a phone sees it: a little tilted, unevenly lit, not quite sharp."""
    import numpy
    import pypdfium2
    from PIL import Image, ImageFilter

    page = pypdfium2.PdfDocument(document)[0].render(scale=2.2).to_pil().convert("L")
    page = page if whole else page.crop((0, 0, page.width, int(page.height * 0.72)))
    page = page.rotate(draw.uniform(-1.5, 1.5), expand=True, fillcolor=225, resample=Image.Resampling.BICUBIC)
    page = page.filter(ImageFilter.GaussianBlur(draw.uniform(0.3, 0.8)))
    light = numpy.linspace(draw.uniform(0.75, 0.95), 1.0, page.width)[None, :]
    noise = numpy.random.default_rng(draw.getrandbits(32)).normal(0, 3, (page.height, page.width))
    shaded = numpy.clip(numpy.asarray(page) * light + noise, 0, 255).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(shaded).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


# --- the folder ----------------------------------------------------------------------------------------------


def make(folder: Path, train: int, test: int, new: int, seed: int = 7) -> None:
    """Write schema, documents and records; those to test lie in `test/`, new ones have no record."""
    (folder / "test").mkdir(parents=True, exist_ok=True)
    (folder / "schema.json").write_text(json.dumps(SCHEMA, indent=2) + "\n", encoding="utf-8")
    for kind, count, place in (("test", test, folder / "test"), ("new", new, folder), ("note", train, folder)):
        for number in range(1, count + 1):
            draw = random.Random(f"{seed}/{kind}/{number}")
            style, record = note(draw)
            content, suffix = pdf(list(lines(style, record, draw))), "pdf"
            if number % 3 == 0:
                content, suffix = photo(content, draw), "jpg"
            path = place / f"{kind}_{number:03d}.{suffix}"
            path.write_bytes(content)
            if kind != "new":
                text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
                path.with_name(f"{path.name}.json").write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, metavar="FOLDER", help="where to write; its name is that of the document type")
    p.add_argument("--train", type=int, default=20, metavar="N", help="labeled documents to learn from")
    p.add_argument("--test", type=int, default=20, metavar="N", help="labeled documents that are only scored")
    p.add_argument("--new", type=int, default=20, metavar="N", help="documents without a record")
    args = p.parse_args(argv)
    make(args.folder, args.train, args.test, args.new)
    print(f"{args.train} documents to learn from, {args.test} to test and {args.new} new ones in {args.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
