"""Mails as programs and lists nest them: every text is read once, and every attachment is found."""

from __future__ import annotations

import io
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from departments.documents.extracted import Extracted, Kind
from departments.documents.extractors.collect import read
from departments.documents.extractors.draft import Options

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def mail(message: Message) -> Extracted:
    for name, value in {"From": "a@example.org", "To": "b@example.org", "Subject": "The subject"}.items():
        if name not in message:
            message[name] = value
    return read(io.BytesIO(message.as_bytes()), Options(Kind.EML))


def read_of(message: Message) -> list[str]:
    """The blocks below the subject; those of an attachment begin with its name."""
    blocks = mail(message).blocks[1:]
    return [f"{each.locator.section}: {each.text}" if each.locator.section else each.text for each in blocks]


def nested(kind: str, *parts: Message) -> Message:
    message = MIMEMultipart(kind)
    for part in parts:
        message.attach(part)
    return message


def plain(text: str) -> Message:
    return MIMEText(text)


def page(text: str) -> Message:
    return MIMEText(f"<p>{text}</p>", "html")


def attached(how: str = "attachment") -> Message:
    part = MIMEText("ten days")
    part.add_header("Content-Disposition", how, filename="rules.txt")
    return part


RULES = ["Attachments: rules.txt", "rules.txt: ten days"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (nested("mixed", page("the words"), plain("foot of a list")), ["the words", "foot of a list"]),
        (nested("mixed", plain("before"), attached(), plain("after")), ["before", "after", *RULES]),
        (nested("mixed", nested("mixed", plain("inside"), attached()), plain("foot")), ["inside", "foot", *RULES]),
        (nested("alternative", plain("words"), page("words")), ["words"]),
        (nested("alternative", plain(" \n"), page("the words")), ["the words"]),
        (nested("alternative", plain("No HTML?"), page("the words of a whole page")), ["the words of a whole page"]),
    ],
)
def test_every_text_of_a_mail_is_read_and_once(message: Message, expected: list[str]) -> None:
    assert read_of(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        nested("alternative", plain("words"), nested("mixed", page("words"), attached(), page(""))),
        nested("mixed", nested("related", nested("alternative", plain("words"), page("words")), attached("inline"))),
        nested("signed", nested("mixed", plain("words"), attached()), MIMEApplication(b"\x30\x82", "pkcs7-signature")),
    ],
)
def test_an_attachment_is_found_wherever_it_stands(message: Message) -> None:
    assert read_of(message) == ["words", *RULES]
    assert mail(message).warnings == []


def test_a_mail_that_is_nothing_but_a_file_is_read_as_that_file() -> None:
    table = MIMEText("name;days\nAnna;20\n", "csv")
    table.add_header("Content-Disposition", "attachment", filename="days.csv")
    assert read_of(table) == ["Attachments: days.csv", "days.csv: name: Anna; days: 20"]


def test_an_invitation_beside_the_text_is_not_lost() -> None:
    invitation = MIMEText("BEGIN:VCALENDAR\nSUMMARY:Fire drill\nEND:VCALENDAR", "calendar")
    assert "SUMMARY:Fire drill" in read_of(nested("alternative", page("See the invitation"), invitation))[-1]


def test_a_picture_of_the_page_is_passed_by_and_one_that_is_sent_is_named() -> None:
    logo, scan = MIMEImage(PNG, "png"), MIMEImage(PNG, "png")
    logo["Content-ID"] = "<logo>"
    scan.add_header("Content-Disposition", "inline", filename="scan.png")
    found = mail(nested("mixed", nested("related", page("words"), logo), scan))
    assert [block.text for block in found.blocks[1:]] == ["words", "Attachments: scan.png"]
    [warning] = found.warnings
    assert "scan.png was left out" in warning


def test_a_locked_part_among_others_is_named() -> None:
    locked = nested("encrypted", MIMEApplication(b"Version: 1", "pgp-encrypted"), MIMEApplication(b"-----BEGIN"))
    found = mail(nested("mixed", plain("words"), locked))
    assert [block.text for block in found.blocks[1:]] == ["words", "Attachments: attachment 1"]
    [warning] = found.warnings
    assert "This mail is encrypted" in warning


def test_a_report_says_whom_a_mail_did_not_reach() -> None:
    report = (
        b"From: a@example.org\nTo: b@example.org\nSubject: Back\nContent-Type: multipart/report; boundary=B\n\n"
        b"--B\nContent-Type: text/plain\n\nIt came back.\n--B\nContent-Type: message/delivery-status\n\n"
        b"Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; c@example.org\nStatus: 5.1.1\n\n--B--\n"
    )
    found = "\n".join(block.text for block in read(io.BytesIO(report), Options(Kind.EML)).blocks)
    assert "It came back." in found
    assert "Status: 5.1.1" in found
