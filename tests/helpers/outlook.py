"""An Outlook message, made by the tests that read it: a compound file of streams and storages."""

import struct

END, FREE, NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFF
TEXT, BINARY, NUMBER = 0x001F, 0x0102, 0x0003


def message(
    text: str = "", page: str = "", files: tuple[tuple[str, bytes], ...] = (), subject: str = "Invoice 77"
) -> bytes:
    """A message with a text, an HTML page and attached files."""
    about = [(0x0037, TEXT, "Invoice 77"), (0x0C1A, TEXT, "Ann"), (0x0C1F, TEXT, "ann@example.com")]
    about += [(0x1000, TEXT, text)] * bool(text) + [(0x1013, BINARY, page.encode())] * bool(page)
    about += [(0x3FDE, NUMBER, 65001), (0x340D, NUMBER, 0x40000)]  # UTF-8 for the page; names are Unicode
    root = _properties(about, bytes(32))
    for number, (name, data) in enumerate(files):
        inside = [(0x3701, BINARY, data), (0x3707, TEXT, name), (0x3705, NUMBER, 1)]
        root[f"__attach_version1.0_#{number:08X}"] = _properties(inside, bytes(8))
    return compound(root)


def _properties(values: list[tuple], header: bytes) -> dict:
    table, streams = header, {}
    for number, kind, value in values:
        if kind == NUMBER:
            table += struct.pack("<HHIII", kind, number, 6, value, 0)
            continue
        data = value.encode("utf-16-le") if kind == TEXT else value
        table += struct.pack("<HHIII", kind, number, 6, len(data) + 2 * (kind == TEXT), 0)
        streams[f"__substg1.0_{number:04X}{kind:04X}"] = data
    return {"__properties_version1.0": table, **streams}


def compound(root: dict) -> bytes:
    """A compound file of nested names: a dict is a storage, bytes are a stream."""
    entries: list[list] = [
        ["Root Entry", 5, NONE, NONE, END, 0]
    ]  # name, kind, next beside it, first in it, start, size
    sectors: list[bytes] = []
    chain: list[int] = []  # of each sector, the one behind it
    small, small_chain = b"", []

    def store(data: bytes) -> int:
        start = len(sectors)
        pieces = [data[i : i + 512].ljust(512, b"\0") for i in range(0, len(data), 512)]
        sectors.extend(pieces)
        chain.extend([*range(start + 1, start + len(pieces)), END])
        return start

    def add(inside: dict, at: int) -> None:
        nonlocal small
        before = None
        for name, value in inside.items():
            number = len(entries)
            entries.append([name, 1 if isinstance(value, dict) else 2, NONE, NONE, END, 0])
            if before is None:
                entries[at][3] = number
            else:
                entries[before][2] = number
            before = number
            if isinstance(value, dict):
                add(value, number)
            elif len(value) >= 4096:
                entries[number][4:] = [store(value), len(value)]
            elif value:
                pieces = -(-len(value) // 64)
                entries[number][4:] = [len(small) // 64, len(value)]
                small_chain.extend([*range(len(small) // 64 + 1, len(small) // 64 + pieces), END])
                small += value.ljust(64 * pieces, b"\0")

    add(root, 0)
    entries[0][4:] = [store(small), len(small)]
    small_start = store(b"".join(struct.pack("<I", n) for n in small_chain).ljust(512, b"\xff"))
    small_count = chain[small_start:].index(END) + 1
    listed = b""
    for name, kind, beside, first, start, size in entries:
        written = name.encode("utf-16-le")
        listed += written.ljust(64, b"\0") + struct.pack("<HBBIII", len(written) + 2, kind, 1, NONE, beside, first)
        listed += bytes(36) + struct.pack("<IQ", start, size)
    directory = store(listed.ljust(-(-len(listed) // 512) * 512, b"\0"))
    tables = -(-(len(chain) + 1) // 127)
    table_start = len(sectors)
    chain += [0xFFFFFFFD] * tables
    written = b"".join(struct.pack("<I", n) for n in chain).ljust(tables * 512, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<9I", 0, tables, directory, 0, 4096, small_start, small_count, END, 0)
    header += struct.pack("<I", table_start)
    header += b"".join(struct.pack("<I", table_start + n) for n in range(1, tables))
    return header.ljust(512, b"\xff") + b"".join(sectors) + written
