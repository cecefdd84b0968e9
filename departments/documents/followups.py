"""What is searched for, when a question leans on what was asked before: "And for part-timers?", "Until when?".

Rules:
- A question leans if it is nearly without words of its own, begins like a continuation, or is short and points back
  with a pronoun. Then it is searched together with the question it continues; a chain of such questions is followed to
  the one that stands by itself.
- A question that stands by itself is searched alone: the subject may have changed.
- Only what the person asked is used. An answer's words would find again what was found before, right or wrong.
- English words are looked for. In any language a question that finds nothing with confidence is searched once more
  together with the one before it (departments/documents/search.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST_CHAIN = 3
LONGEST_EARLIER = 500  # characters of an earlier question
FEW_WORDS = 2  # words of its own; a question with fewer says nothing by itself
SHORT = 9  # words; a longer question mostly names what its pronouns mean

_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_OPENS_BACK = re.compile(
    r"^\W*(?:and|but|or|so|then|also|what about|how about|what if|in that case|otherwise|why(?: not)?\W*$)\b",
    re.IGNORECASE,
)
_POINTING = """it its it's they them their theirs those these this that he him his she her hers there then same one ones
such former latter both either neither else instead too"""
_GRAMMATICAL = """a an and any are as at be been but by can could did do does for from had has have how i if in into is
may me much many must my need no not of on or our please shall should so than the to us was we were what when where
which while who why will with would you your yes until since about after before long often far"""
_POINTS_BACK = frozenset(_POINTING.split())
_GRAMMAR = frozenset(_GRAMMATICAL.split())


def leans_back(question: str) -> bool:
    """Whether a question needs the one before it to be understood."""
    words = [word.lower() for word in _WORD.findall(question)]
    own = [word for word in words if word not in _GRAMMAR and word not in _POINTS_BACK]
    if _OPENS_BACK.match(question) or len(own) < FEW_WORDS:
        return True
    return len(words) <= SHORT and any(word in _POINTS_BACK for word in words)


def with_earlier(question: str, earlier: Sequence[str]) -> str:
    """The question after those it continues, oldest first; `earlier` are the person's questions in order."""
    chain: list[str] = []
    for asked in reversed(earlier[-LONGEST_CHAIN:]):
        chain.insert(0, asked[:LONGEST_EARLIER])
        if not leans_back(asked):
            break
    return "\n".join([*chain, question])


def searched_text(question: str, earlier: Sequence[str]) -> str:
    """What to search for: the question, with those before it where it leans on them."""
    return with_earlier(question, earlier) if earlier and leans_back(question) else question
