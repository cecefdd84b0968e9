"""What a person types that looks like a secret: seen before anything is sent, and dealt with as the department wants.

Rules:
- A department warns (the default), blocks or redacts (`Department.typed_secrets`). The answer is given before the
  question goes anywhere: not to the provider, not into a conversation, not into the record.
- Warned, a person may send it all the same: `confirmed`. Blocked, they may not. Redacted, the secret is replaced and
  the rest goes on.
- What is kept beside a question (the title of its conversation, what nobody could answer) never holds one.
- A sentence names the kind of thing that was seen and never the thing.
- Letters and digits that read like others (fullwidth, of other scripts) hide nothing.
- Every pattern is bounded, so the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from departments.calls.booking import record_not_made
from departments.calls.caller import CallEndedEarly, Caller, Purpose
from departments.keys.patterns import STRICT
from departments.models import Department, TypedSecrets
from departments.prompts.alike import folded
from departments.prompts.clean import clean

_LABEL = (
    r"(?:api[_ -]?key|secret[_ -]?(?:access[_ -]?)?key|client[_ -]?secret"
    r"|password|passwd|passwort|kennwort|mot de passe)"
)
# kind -> what it looks like; the first that matches names a place that several match
PATTERNS = {
    "private key": re.compile(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s\\:,.]|-(?!----)){0,8000}"
        r"(?:-----END [A-Z ]{0,40}-----)?"
    ),
    "key": STRICT,
    "AWS key": re.compile(r"(?<![A-Za-z0-9])A(?:KIA|SIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    "access token": re.compile(
        r"(?<![\w-])(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|xox[abeprs]-[A-Za-z0-9-]{10,255}"
        r"|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}(?:\.[\w-]{0,2000})?)"
    ),
    "password in an address": re.compile(
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/?#@\[\]]{1,128}:[^\s/\"'<>@]{1,256}@[^\s\"'<>]{0,256}"
    ),
    # only what has a digit: "the password: must be changed" is a sentence
    "password": re.compile(
        _LABEL + r"[\"']?\s{0,3}(?:[:=]|is\b|ist\b)\s{0,3}[\"']?(?=[^\s\d]{0,60}\d)[^\s\"',;]{8,200}", re.IGNORECASE
    ),
    "card number": re.compile(r"(?<![\d.,-])[2-6](?:[ -]?\d){12,18}(?![\d-])"),
}
# networks by their first digits and their lengths, so that an account or an order is rarely taken for a card
_NETWORKS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|6(?:011|4\d\d|5\d\d)\d{12}"
)
ARTICLES = {"AWS key": "an", "access token": "an"}


@dataclass(frozen=True)
class Typed:
    """A secret in a text: what kind of thing it is and where it stands."""

    kind: str
    start: int
    end: int


class SecretTyped(CallEndedEarly):
    """A question that looks as if it held a secret. Nothing was sent. `may_confirm`: the person decides."""

    title = "Not sent"

    def __init__(self, kinds: list[str], *, may_confirm: bool) -> None:
        seen = " and ".join(f"{ARTICLES.get(kind, 'a')} {kind}" for kind in kinds)
        end = "Take it out, or send it anyway." if may_confirm else "Your department does not allow that: take it out."
        super().__init__(f"This looks as if it held {seen}. {end}")
        self.kinds = kinds
        self.may_confirm = may_confirm


def find_secrets(text: str) -> list[Typed]:
    """Everything that looks like a secret, in order and without overlaps."""
    found: list[Typed] = []
    for each in sorted(_found(folded(text)), key=lambda typed: (typed.start, -typed.end)):
        if not found or each.start >= found[-1].end:
            found.append(each)
    return found


def redacted(text: str, found: list[Typed]) -> str:
    """The text with what was found replaced by its kind: "[card number removed]"."""
    for each in reversed(found):
        text = f"{text[: each.start]}[{each.kind} removed]{text[each.end :]}"
    return text


def without_secrets(text: str) -> str:
    """The text as it may be kept beside the question it came from, where others or other pages show it."""
    seen = clean(text).text
    found = find_secrets(seen)
    return redacted(seen, found) if found else text


async def allow_typed(department: Department, caller: Caller, text: str, *, confirmed: bool = False) -> str:
    """The text as it may be sent. Raises SecretTyped, which the record then holds without the text."""
    seen = clean(text).text  # invisible characters between the digits hide nothing
    found = find_secrets(seen)
    if not found or (confirmed and department.typed_secrets == TypedSecrets.WARN):
        return text
    if department.typed_secrets == TypedSecrets.REDACT:
        return redacted(seen, found)
    kinds = list(dict.fromkeys(each.kind for each in found))
    await record_not_made(department, caller, Purpose.CHAT, "secret_typed")
    raise SecretTyped(kinds, may_confirm=department.typed_secrets == TypedSecrets.WARN)


def _found(text: str) -> Iterator[Typed]:
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            if kind != "card number" or _is_card(match.group()):
                yield Typed(kind, match.start(), match.end())


def _is_card(text: str) -> bool:
    """A number of a card network whose check digit fits (Luhn, ISO/IEC 7812-1), and not one digit over and over."""
    number = "".join(filter(str.isdigit, text))
    digits = [int(digit) for digit in number]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return bool(_NETWORKS.fullmatch(number)) and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
