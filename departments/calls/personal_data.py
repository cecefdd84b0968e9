"""Takes personal data out of a text before the record keeps it: e-mail, phone, account, card, identity numbers, keys.

- These are forms, and python-stdnum knows which numbers of a form are real ones (check digits, lengths of a country):
  it is no understanding of the text. Names, addresses and what somebody tells about themselves stay. Who needs more
  chooses the keyed hash, which keeps no text at all.
- The larger libraries load language models at run time, which a self-hosted server cannot count on.
- Every repeat is bounded, so that the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.ch import ssn as ahv
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.us import ssn

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
# numbers of a person that have a form of their own; shorter bare runs of digits stay, for too many of them pass a check
_IDENTITY: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (re.compile(rf"(?<![0-9A-Za-z.-])(?:{form})(?![0-9A-Za-z-])", re.ASCII | re.IGNORECASE), is_valid)
    for form, is_valid in (
        (r"\d{3}-\d\d-\d{4}", ssn.is_valid),
        (r"756\.\d{4}\.\d{4}\.\d\d", ahv.is_valid),
        (r"\d{3}\.\d{3}\.\d{3}-\d\d", cpf.is_valid),
        (r"[12] ?\d\d ?\d\d ?[0-9AB]{2} ?\d{3} ?\d{3} ?\d\d", nir.is_valid),
        (r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]", codicefiscale.is_valid),
        (r"\d{8}-?[A-Z]", dni.is_valid),
        (r"[XYZ]-?\d{7}-?[A-Z]", nie.is_valid),
    )
)


def redact(text: str) -> str:
    """The text with a word in square brackets in place of each find."""
    text = REDACT.sub("[key]", text)
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(_without_iban, text)
    for form, is_valid in _IDENTITY:
        text = form.sub(_where(is_valid, "[identity number]"), text)
    text = _CARD.sub(_where(_is_card, "[card]"), text)
    return _PHONE_AT_HOME.sub("[phone]", _PHONE.sub("[phone]", text))


def _where(is_valid: Callable[[str], bool], instead: str) -> Callable[[re.Match[str]], str]:
    """A replacement for the finds that are valid; the others stay."""
    return lambda found: instead if is_valid(found.group()) else found.group()


def _without_iban(found: re.Match[str]) -> str:
    """A short word behind a number looks like one more group of it, so the longest part that is one counts."""
    text = found.group()
    ends = [len(text), *(place for place in range(len(text) - 1, 14, -1) if text[place] == " ")]
    end = next((end for end in ends if iban.is_valid(text[:end], check_country=False)), 0)
    return "[account]" + text[end:] if end else text


def _is_card(text: str) -> bool:
    return luhn.is_valid(re.sub(r"\D", "", text))
