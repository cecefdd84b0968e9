"""A mail: subject, body, the names of its attachments, and the text of those that we can read.

Who wrote to whom, when and by which servers is not kept. An attachment that cannot be read becomes a warning, never a
failure of the mail. Attachments share the limits of the mail; mails inside mails are read to `DEEPEST` only.
"""

from __future__ import annotations

import binascii
import io
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_binary_file, policy
from email.message import EmailMessage, MIMEPart
from typing import Any, BinaryIO

from departments.documents.detect import detect_file
from departments.documents.extracted import SENTENCES, ZIP_KINDS, Block, ExtractionFailed, Kind, Reason
from departments.documents.extractors.collect import draft_of
from departments.documents.extractors.decode import decode
from departments.documents.extractors.draft import Draft, Options, one_line, too_large
from departments.documents.extractors.html import decode_html, read_html
from departments.documents.extractors.text import read_text
from departments.documents.unpacked import check_unpacked_size

DEEPEST = 2
MOST_ATTACHMENTS = 100
TOO_DEEP = "It is a mail inside a mail inside a mail. Save it by itself and upload it."
LOCKED = "This mail is encrypted, or signed so that only a mail program opens it. Save its text and upload that."
LOCKED_TYPES = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def extract(file: BinaryIO, options: Options, depth: int = 1) -> Draft:
    message = message_from_binary_file(file, policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - that is what the policy makes
    if message.get_content_type() in LOCKED_TYPES:
        raise ExtractionFailed(Reason.ENCRYPTED, LOCKED)
    subject = one_line(str(message.get("Subject", "")))
    draft = Draft((), title=subject or None)
    draft.blocks = _blocks(message, subject, options, draft.warnings, depth)
    return draft


def _blocks(message: EmailMessage, subject: str, options: Options, warnings: list[str], depth: int) -> Iterator[Block]:
    if subject:
        yield Block(subject, heading_path=(subject,), kind="heading")
    path = (subject,) if subject else ()
    yield from (replace(block, heading_path=path + block.heading_path) for block in _body(message))
    parts = [part for part in message.iter_attachments() if isinstance(part, EmailMessage)]
    if len(parts) > MOST_ATTACHMENTS:
        raise too_large("attachments", MOST_ATTACHMENTS)
    names = [_name(part, number) for number, part in enumerate(parts, start=1)]
    if names:
        yield Block(f"Attachments: {', '.join(names)}", heading_path=path)
    for name, part in zip(names, parts, strict=True):
        yield from _attachment(name, part, options, warnings, depth)


def _body(message: EmailMessage) -> Iterator[Block]:
    body = message.get_body(("plain", "html"))
    if body is None:
        return iter(())
    data, declared = _payload(body), body.get_content_charset()
    if body.get_content_subtype() == "html":
        return read_html(decode_html(data, declared))[1]
    return read_text(decode(data, declared))


def _payload(part: MIMEPart) -> bytes:
    """The bytes of a part; for a mail inside the mail, that mail as it would be saved."""
    if part.get_content_maintype() == "message":
        inner: Any = part.get_payload()
        return _unpacked(bytes(inner[0]), part) if isinstance(inner, list) and inner else b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _unpacked(mail: bytes, part: MIMEPart) -> bytes:
    """A mail that a server packed as base64, which the standard forbids for it, as it was before."""
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() != "base64":
        return mail
    try:
        return b64decode(mail, validate=False)
    except binascii.Error:
        return mail


def _name(part: EmailMessage, number: int) -> str:
    default = f"attachment {number}" + (".eml" if part.get_content_maintype() == "message" else "")
    return one_line(part.get_filename() or "") or default


def _attachment(name: str, part: EmailMessage, options: Options, warnings: list[str], depth: int) -> list[Block]:
    """Blocks of one attachment, under its name; none if it cannot be read to its end."""
    try:
        draft = _read(name, _payload(part), options, depth)
        blocks = list(draft.blocks)
    except ExtractionFailed as failure:
        warnings.append(f"The attachment {name} was left out. {failure.sentence}")
        return []
    except MemoryError:
        raise
    except Exception:
        # A damaged file makes a library raise whatever it likes; the uploader reads this warning.
        warnings.append(f"The attachment {name} was left out. {SENTENCES[Reason.CORRUPT]}")
        return []
    warnings.extend(draft.warnings)
    return [_under_name(block, name) for block in blocks]


def _under_name(block: Block, name: str) -> Block:
    return replace(block, locator=replace(block.locator, section=name), heading_path=(name, *block.heading_path))


def _read(name: str, data: bytes, options: Options, depth: int) -> Draft:
    file = io.BytesIO(data)
    kind = detect_file(file, name)
    if kind in ZIP_KINDS:
        check_unpacked_size(file, options.limits)
    inner = replace(options, kind=kind)
    if kind is not Kind.EML:
        return draft_of(file, inner)
    if depth >= DEEPEST:
        raise ExtractionFailed(Reason.UNSUPPORTED, TOO_DEEP)
    return extract(file, inner, depth + 1)
