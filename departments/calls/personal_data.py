"""Takes personal data out of a text before the record keeps it: e-mail, phone, account and card numbers, keys.

- These are patterns with the check digits that such numbers carry, not an understanding of the text: names, addresses
  and what somebody tells about themselves stay. Who needs more chooses the keyed hash, which keeps no text at all.
- The larger libraries load language models at run time, which a self-hosted server cannot count on.
- Every repeat is bounded, so that the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import re

from departments.keys.patterns import REDACT

_EMAIL = re.compile(r"[\w.+-]{1,64}[@＠][\w-]{1,63}(?:[.．][\w-]{1,63}){1,8}")
# Latin neighbours alone end a number: Chinese and Japanese are written without spaces around it
_IBAN = re.compile(
    r"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Z0-9])", re.ASCII | re.IGNORECASE
)
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
# a leading + or 0 and at least eight digits, in groups that people write; `\d` stands for the digits of every script
_PHONE = re.compile(r"(?<![0-9A-Za-z_+])(?:[+＋]|[0٠۰０]{1,2})(?![0٠۰０])\d(?:[ ./()-]{0,2}\d){7,14}(?![0-9A-Za-z_])")
# without either: North America in its groups, and the mobile numbers of China
_PHONE_AT_HOME = re.compile(
    r"(?<![\w+-])(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])\d{3}[-.]\d{4}(?![\w-])"
    r"|(?<![0-9A-Za-z_.-])1[3-9]\d{9}(?![0-9A-Za-z_-])"
)


def redact(text: str) -> str:
    """The text with a word in square brackets in place of each find."""
    text = REDACT.sub("[key]", text)
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(_without_iban, text)
    text = _CARD.sub(lambda found: "[card]" if _is_card(found.group()) else found.group(), text)
    return _PHONE_AT_HOME.sub("[phone]", _PHONE.sub("[phone]", text))


def _without_iban(found: re.Match[str]) -> str:
    """A short word behind a number looks like one more group of it, so the longest part that is one counts."""
    text = found.group()
    ends = [len(text), *(place for place in range(len(text) - 1, 14, -1) if text[place] == " ")]
    end = next((end for end in ends if _is_iban(text[:end])), 0)
    return "[account]" + text[end:] if end else text


def _is_iban(text: str) -> bool:
    """ISO 13616: the first four characters at the end, letters as numbers from 10 on, remainder 1 by 97."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    """ISO/IEC 7812: every second digit from the right doubled, the sum of all digits divisible by ten (Luhn)."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
