"""A mail -> its text and its attached files: MIME as in .eml and .mht files, and Outlook's .msg files.

The text is the HTML one where a mail has both, since a plain one often lacks its tables. A sentence names what is
neither text nor a file that can be opened.
"""

from __future__ import annotations

import email
import email.policy
import io
import mimetypes
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from extraction.formats import html, plain
from extraction.reading.limits import DocumentError

_SHOWN = ("From", "To", "Date", "Subject")
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_LOCKED = ("application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted")
_PARTS = 1_000  # of a mail, at most
_PHOTO = 300  # pixels of the shorter side: a smaller picture within the text is a logo


@dataclass
class Mail:
    header: str = ""
    pieces: list[str] = field(default_factory=list)  # of its text
    files: list[tuple[str, bytes]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    logos: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join(piece for piece in self.pieces if piece.strip())

    def add_html(self, data: bytes, charset: str | None) -> None:
        text, problems = html.read(data, charset)
        self.pieces.append(text)
        self.problems += problems

    def add_file(self, name: str, data: bytes, within: bool = False) -> None:
        """`within` is a picture that the text shows."""
        if within and _is_logo(data):
            self.logos.append(name)
        else:
            self.files.append((_base(name), data))


def read(data: bytes, kind: str) -> Mail:
    """Raises DocumentError if it is broken."""
    try:
        mail = _outlook(data) if kind == "outlook" else _mime(data)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # the readers let errors of every kind through
        raise DocumentError("the mail is broken") from error
    if mail.logos:
        count = len(mail.logos)
        shown = f"{', '.join(mail.logos[:3])}{', ...' if count > 3 else ''}"
        counted = "1 small picture in the mail was" if count == 1 else f"{count} small pictures in the mail were"
        mail.problems.append(f"{counted} not read: {shown}")
    return mail


def _header(fields: dict[str, Any]) -> str:
    shown = ((name, " ".join(str(fields.get(name) or "").split())) for name in _SHOWN)
    return "\n".join(f"{name}: {value[:500]}" for name, value in shown if value)


def _base(name: str) -> str:
    name = posixpath.basename("".join(c if c.isprintable() else " " for c in name.replace("\\", "/")))
    return name.strip(" .")[-150:] or "attachment"


def _is_logo(data: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return min(picture.size) < _PHOTO
    except Exception:  # what cannot be opened here is told by the reader of pictures
        return False


# --- MIME ----------------------------------------------------------------------------------------------------


def _mime(data: bytes) -> Mail:
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    message = email.message_from_bytes(re.sub(rb"\A>?From [^\r\n]*\r?\n", b"", data), policy=email.policy.default)
    mail = Mail(header=_header({name: _value(message, name) for name in _SHOWN}))
    shown = b"".join(part.get_payload(decode=True) or b"" for part in message.walk() if _is_page(part))
    for number, part in enumerate(_leaves(message)):
        if number == _PARTS:
            mail.problems.append(f"only the first {_PARTS:,} parts of the mail were read")
            break
        _add(mail, part, shown)
    return mail


def _value(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name) or "")
    except Exception:  # a header that breaks the rules in a way that the parser does not expect
        return ""


def _is_page(part: EmailMessage) -> bool:
    return part.get_content_type() == "text/html" and not part.get_filename()


def _leaves(part: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold something; of texts that say the same, the one that is HTML."""
    kind = part.get_content_type()
    if not part.is_multipart() or kind.startswith("message/") or kind in _LOCKED:
        yield part
        return
    inside = [leaf for child in part.iter_parts() for leaf in _leaves(child)]
    if kind == "multipart/alternative" and any(map(_is_page, inside)):
        inside = [leaf for leaf in inside if leaf.get_content_type() != "text/plain" or leaf.get_filename()]
    yield from inside


def _add(mail: Mail, part: EmailMessage, shown: bytes) -> None:
    kind, name = part.get_content_type(), part.get_filename()
    if kind in _SIGNATURES or kind in ("text/calendar", "message/delivery-status"):
        return
    if kind in _LOCKED and part.get_param("smime-type", "enveloped-data") != "signed-data":
        mail.problems.append("a part of the mail is encrypted and was not read")
    elif kind == "message/rfc822":
        inner = part.get_payload(0)
        mail.add_file(f"{name or _value(inner, 'Subject')[:80] or 'forwarded'}.eml".replace(".eml.eml", ".eml"),
                      inner.as_bytes(policy=email.policy.compat32))  # fmt: skip
    elif kind.startswith("message/") or part.is_multipart():
        mail.problems.append(f"a part of the mail was not read: {kind}")
    else:
        data = part.get_payload(decode=True) or b""
        attached = name or part.get_content_disposition() == "attachment"
        if kind == "text/html" and not attached:
            mail.add_html(data, part.get_content_charset())
        elif kind.startswith("text/") and not attached:
            mail.pieces.append(plain.printed(plain.decoded(data, part.get_content_charset())).strip("\n"))
        elif data.strip():
            number = (part.get("Content-ID") or "").strip(" <>").encode("ascii", "replace")
            within = bool(number) and b"cid:" + number in shown and kind.startswith("image/")
            mail.add_file(name or f"attachment{mimetypes.guess_extension(kind) or ''}", data, within)


# --- Outlook -------------------------------------------------------------------------------------------------


def _outlook(data: bytes) -> Mail:
    from oxmsg import Message

    message = Message.load(io.BytesIO(data))
    date = message.sent_date
    people = "; ".join(f"{r.name} <{r.email_address}>" for r in message.recipients)
    values = {"From": message.sender, "To": people, "Date": date and date.isoformat(" ", "minutes")}
    mail = Mail(header=_header(values | {"Subject": message.subject}))
    if message.html_body:
        mail.add_html(message.html_body.encode(), "utf-8")
    elif message.body:
        mail.pieces.append(plain.printed(message.body).strip("\n"))
    else:
        mail.problems.append("the mail has no text, or one in RTF alone, which was not read")
    for number, attachment in enumerate(message.attachments, start=1):
        name = attachment.file_name or f"attachment {number}"
        if attachment.file_bytes:
            mail.add_file(name, attachment.file_bytes, (attachment.mime_type or "").startswith("image/"))
        else:
            mail.problems.append(f"an attachment was not read; save it as a file of its own: {_base(name)}")
    return mail
