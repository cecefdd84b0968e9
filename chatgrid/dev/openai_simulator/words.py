"""What a lexical stand-in for a language model knows about English: stop words, stems and everyday synonyms.

Only general office English belongs here, since a real model knows that too. Nothing may be tuned to any document.
"""

from __future__ import annotations

import functools
import re

WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")

STOP_WORD_LIST = """a about actually after again all already also am an and any anybody anyone anything are as at be
because been being both but by can can't could describe did do does doesn't doing don't each ever explain find for
from get gets getting give given go goes had happen happens has have having he her here hers him his how i i'm if im
in into is it it's its ive just know let like many may me mean might mine more most much must my need needs no nor not
now of off on once one only or other our ours out over own per please really same shall she should so some somebody
someone something soon still such take tell than that the their theirs them then there there's these they thing things
think this those through to too under until up us very want was we were what what's when where which while who whom
whose why will with within would you your yours"""
STOP_WORDS = frozenset(STOP_WORD_LIST.split())

PHRASES = (
    (re.compile(r"\b(?:paid )?time off\b|\bdays? off\b|\bpto\b", re.IGNORECASE), "vacation"),
    (re.compile(r"\b(?:work(?:ing)? (?:from|at) home|home[ -]?office|tele-?work(?:ing)?)\b", re.IGNORECASE), "remote"),
    (re.compile(r"\b(?:log|sign)(?:ging|ing)?[ -](?:in|on)\b", re.IGNORECASE), "login"),
    (re.compile(r"\be-mail", re.IGNORECASE), "email"),
)

SYNONYM_GROUPS = (
    "holiday vacation leave",
    "sick ill illness sickness unwell",
    "laptop notebook computer pc macbook",
    "phone telephone mobile smartphone cellphone",
    "pay paid payment salary wage wages remuneration compensation payroll",
    "raise increase rise",
    "buy bought purchase order procure procurement",
    "expense expenses cost costs spending",
    "reimburse refund repay reclaim",
    "trip travel journey",
    "flight fly plane airline",
    "hotel accommodation lodging",
    "meal food lunch dinner breakfast subsistence",
    "car vehicle automobile",
    "boss manager supervisor superior",
    "employee staff worker colleague personnel",
    "hire recruit recruitment",
    "dismiss dismissal terminate termination",
    "resign quit resignation",
    "begin start commence",
    "end finish conclude",
    "parent parental maternity paternity",
    "remote remotely telecommute",
    "meeting conference",
    "error mistake fault bug defect",
    "repair fix mend",
    "broken damaged faulty defective",
    "stolen theft steal lost loss",
    "client customer",
    "supplier vendor",
    "invoice bill",
    "contract agreement",
    "deadline cutoff",
    "approve approval authorise authorize permission",
    "allowed permitted",
    "forbidden prohibited banned disallowed",
    "limit maximum cap ceiling",
    "minimum least",
    "form template",
    "training course education learning",
    "bonus premium incentive",
    "insurance insured coverage",
    "pension retirement",
    "doctor physician medical",
    "child children kid kids",
    "password passphrase passcode",
    "login account",
    "secret confidential",
    "complaint grievance",
    "rule policy regulation guideline",
    "year annual yearly annually",
    "month monthly",
    "week weekly",
    "day daily",
    "rent lease",
    "send sent submit",
    "request apply ask application",
    "quick fast",
    "contact reach",
    "help assistance support",
    "document file",
    "office workplace",
)

SUFFIXES = (
    ("ements", 4), ("ement", 4), ("ments", 4), ("ment", 4), ("ations", 3), ("ation", 3), ("ingly", 4), ("edly", 4),
    ("ings", 3), ("ing", 3), ("ied", 3), ("ies", 3), ("ed", 3), ("es", 3), ("ly", 4), ("s", 3),
)  # fmt: skip


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers in order; `1,500` and `1500` are one number, `holiday's` is `holiday`."""
    for pattern, word in PHRASES:
        text = pattern.sub(word, text)
    return [_plain(word) for word in WORD.findall(_joined_numbers(text.lower()))]


def terms_of(text: str) -> list[str]:
    """The words that carry meaning, stemmed, with synonyms made one."""
    return [term_of(word) for word in words_of(text) if word not in STOP_WORDS]


@functools.lru_cache(maxsize=200_000)
def term_of(word: str) -> str:
    stemmed = stem(word)
    return _synonyms().get(stemmed, stemmed)


@functools.lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """A light English stem: endings off, then a final e, then a doubled consonant. Consistent rather than correct."""
    if len(word) <= 3 or not word.isalpha():
        return word
    base = _without_suffix(word)
    shorter = base.rstrip("e") if len(base.rstrip("e")) >= 3 else base
    if len(shorter) > 3 and shorter[-1] == shorter[-2]:
        return shorter[:-1]
    return shorter[:-1] + "i" if len(shorter) > 3 and shorter.endswith("y") else shorter


def _without_suffix(word: str) -> str:
    if word.endswith(("ss", "us", "is")):
        return word
    for suffix, least in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= least:
            return word[: -len(suffix)] + ("y" if suffix in ("ies", "ied") else "")
    return word


@functools.cache
def _synonyms() -> dict[str, str]:
    return {stem(word): f"~{group.split()[0]}" for group in reversed(SYNONYM_GROUPS) for word in group.split()}


def _joined_numbers(text: str) -> str:
    return re.sub(r"(?<=\d)[,.'’ ](?=\d{3}\b)", "", text)


def _plain(word: str) -> str:
    return re.sub(r"['’]s$", "", word)
