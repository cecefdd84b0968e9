"""Takes personal data out of a text before the record keeps it: e-mail, phone, account and card numbers, keys.

- These are patterns with the check digits that such numbers carry, not an understanding of the text: names, addresses
  and what somebody tells about themselves stay. Who needs more chooses the keyed hash, which keeps no text at all.
- The larger libraries load language models at run time, which a self-hosted server cannot count on.
- Every repeat is bounded, so that the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import re

from departments.keys.patterns import REDACT

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
# a leading + or 0 and at least eight digits, in groups that people write
_PHONE = re.compile(r"(?<![\w+])(?:\+|00?)[1-9](?:[ ./()-]{0,2}\d){7,14}(?!\w)")


def redact(text: str) -> str:
    """The text with a word in square brackets in place of each find."""
    text = REDACT.sub("[key]", text)
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(lambda found: "[account]" if _is_iban(found.group()) else found.group(), text)
    text = _CARD.sub(lambda found: "[card]" if _is_card(found.group()) else found.group(), text)
    return _PHONE.sub("[phone]", text)


def _is_iban(text: str) -> bool:
    """ISO 13616: the first four characters at the end, letters as numbers from 10 on, remainder 1 by 97."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    """ISO/IEC 7812: every second digit from the right doubled, the sum of all digits divisible by ten (Luhn)."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
