"""A mail: subject, body, the names of its attachments, and the text of those that we can read.

Rules
- Mail programs and lists nest parts as they like: the body is every text that is no attachment, in order, and
  everything else is an attachment, wherever it stands. Only signatures and the pictures of a page are passed by.
- Of alternatives the plainest is read, unless another says far more; what only another holds is an attachment.
- Who wrote to whom, when and by which servers is not kept.
- An attachment that cannot be read becomes a warning, never a failure of the mail. Attachments share the limits of the
  mail; mails inside mails are read to `DEEPEST` only.
"""

from __future__ import annotations

import binascii
import io
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email import message_from_binary_file, policy
from email.message import EmailMessage, MIMEPart
from itertools import chain
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
SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
BODY_TYPES = frozenset(f"text/{name}" for name in ("plain", "html", "enriched", "richtext", "x-amp-html"))
FAR_MORE = 3  # times the letters: "Your mail program does not show this page"


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
    everything = list(_parts(message))
    texts = chain.from_iterable(_text(part) for part in everything if _is_text(part))
    yield from (replace(block, heading_path=path + block.heading_path) for block in texts)
    parts = [part for part in everything if not _is_text(part)]
    if len(parts) > MOST_ATTACHMENTS:
        raise too_large("attachments", MOST_ATTACHMENTS)
    names = [_name(part, number) for number, part in enumerate(parts, start=1)]
    if names:
        yield Block(f"Attachments: {', '.join(names)}", heading_path=path)
    for name, part in zip(names, parts, strict=True):
        yield from _attachment(name, part, options, warnings, depth)


def _parts(part: MIMEPart) -> Iterator[MIMEPart]:
    """What a mail holds, in order, out of all containers."""
    if not _is_container(part):
        if not _is_passed_by(part):
            yield part
        return
    inside = [list(_parts(each)) for each in part.iter_parts() if isinstance(each, MIMEPart)]
    chosen = _plainest(inside) if part.get_content_subtype() == "alternative" else None
    for parts in inside:
        yield from (each for each in parts if chosen is None or parts is chosen or not _is_text(each))


def _is_container(part: MIMEPart) -> bool:
    is_open = part.get_content_maintype() == "multipart" and part.get_content_type() not in LOCKED_TYPES
    return is_open and part.is_multipart()


def _is_passed_by(part: MIMEPart) -> bool:
    """A signature, or a picture that a page of the mail shows."""
    is_shown = part.get_content_maintype() == "image" and "Content-ID" in part and not part.is_attachment()
    return is_shown or part.get_content_type() in SIGNATURES


def _is_text(part: MIMEPart) -> bool:
    return part.get_content_type() in BODY_TYPES and not part.is_attachment() and not part.get_filename()


def _plainest(alternatives: Sequence[list[MIMEPart]]) -> list[MIMEPart] | None:
    """The first, which is the plainest by the standard, that does not say far less than another."""
    letters = [sum(map(_letters, parts)) for parts in alternatives]
    return next(
        (parts for parts, said in zip(alternatives, letters, strict=True) if said * FAR_MORE >= max(letters)), None
    )


def _letters(part: MIMEPart) -> int:
    try:
        return sum(len(block.text) for block in _text(part)) if _is_text(part) else 0
    except ExtractionFailed:
        return 0  # in an encoding that nobody knows: another one may be read


def _text(part: MIMEPart) -> Iterator[Block]:
    data, declared = _payload(part), part.get_content_charset()
    if "html" in part.get_content_subtype():
        return read_html(decode_html(data, declared))[1]
    return read_text(decode(data, declared))


def _payload(part: MIMEPart) -> bytes:
    """The bytes of a part; for a mail inside the mail, that mail as it would be saved."""
    if part.get_content_maintype() == "message":
        inner: Any = part.get_payload()
        # a report of a delivery has a part for each recipient
        return _unpacked(b"\n".join(map(bytes, inner)), part) if isinstance(inner, list) else b""
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


def _name(part: MIMEPart, number: int) -> str:
    default = f"attachment {number}" + (".eml" if part.get_content_maintype() == "message" else "")
    return one_line(part.get_filename() or "") or default


def _attachment(name: str, part: MIMEPart, options: Options, warnings: list[str], depth: int) -> list[Block]:
    """Blocks of one attachment, under its name; none if it cannot be read to its end."""
    try:
        if part.get_content_type() in LOCKED_TYPES:
            raise ExtractionFailed(Reason.ENCRYPTED, LOCKED)
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
