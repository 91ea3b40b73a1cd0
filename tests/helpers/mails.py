"""Mails, made by the tests that read them."""

from collections.abc import Sequence
from email.message import EmailMessage


def mail(text: str = "", page: str = "", files: Sequence[tuple[str, bytes, str]] = (), **header: str) -> bytes:
    """A mail with a text, the same as an HTML page, and attached files of a name, bytes and a disposition."""
    return built(text, page, files, **header).as_bytes()


def built(text: str = "", page: str = "", files: Sequence = (), **header: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {
        "From": "billing@example.com",
        "To": "x@example.com",
        "Subject": "Invoice 77",
        **header,
    }.items():
        message[name] = value
    if text or not page:
        message.set_content(text)
    if page and text:
        message.add_alternative(page, subtype="html")
    elif page:
        message.set_content(page, subtype="html")
    for name, data, disposition in files:
        kind, _, subtype = {"pdf": "application/pdf", "png": "image/png", "zip": "application/zip"}.get(
            name.rpartition(".")[2], "application/octet-stream"
        ).partition("/")
        options = {"cid": f"<{name}>"} if kind == "image" else {}
        message.add_attachment(data, maintype=kind, subtype=subtype, filename=name, disposition=disposition, **options)
    return message
