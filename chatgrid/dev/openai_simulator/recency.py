"""Which of two passages is the newer, by the dates and versions they name, and which document another one replaces."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatgrid.dev.openai_simulator.prompt import Passage
from chatgrid.dev.openai_simulator.words import terms_of

YEAR = re.compile(r"\b(?:19|20)\d\d\b")
ISO_DATE = re.compile(r"\b((?:19|20)\d\d)-(\d\d)(?:-(\d\d))?\b")
VERSION = re.compile(r"\b(?:version|revision|edition|v)\.?\s?(\d+(?:\.\d+)*)", re.IGNORECASE)
MONTH_NAMES = "january february march april may june july august september october november december"
MONTHS = MONTH_NAMES.split()
MONTH_YEAR = re.compile(rf"\b({'|'.join(MONTHS)})\s+(?:\d{{1,2}},?\s+)?((?:19|20)\d\d)\b", re.IGNORECASE)
SAME_TITLE = 0.6
NO_DATE = (0, 0, 0)
NO_VERSION: tuple[int, ...] = (0,)

Recency = tuple[tuple[int, int, int], tuple[int, ...]]


def recency(passage: Passage) -> Recency:
    """The newest date (year, month, day) and the highest version a passage names; zeros where it names none."""
    return _newest(f"{passage.document}\n{passage.section}\n{passage.text}")


def superseded(passages: Sequence[Passage]) -> set[str]:
    """Titles of documents of which a newer version is among the passages: alike but for a later date or version."""
    texts: dict[str, str] = {}
    for passage in passages:
        texts[passage.document] = f"{texts.get(passage.document, '')}\n{passage.text}"
    return {old for old in texts if any(_alike(new, old) and _is_newer(new, old, texts) for new in texts)}


def _alike(one: str, other: str) -> bool:
    mine, theirs = _subject(one), _subject(other)
    return len(mine & theirs) >= SAME_TITLE * max(1, len(mine | theirs))


def _is_newer(one: str, other: str, texts: dict[str, str]) -> bool:
    """By what both titles name, a date or else a version; failing that, by the dates in both texts."""
    (date, version), (other_date, other_version) = _newest(one), _newest(other)
    if date > NO_DATE and other_date > NO_DATE:
        return date > other_date
    if version > NO_VERSION and other_version > NO_VERSION:
        return version > other_version
    date, other_date = _newest(f"{one}\n{texts[one]}")[0], _newest(f"{other}\n{texts[other]}")[0]
    return date > other_date > NO_DATE


def _subject(title: str) -> frozenset[str]:
    named = VERSION.sub("", title)
    return frozenset(term for term in terms_of(named) if not term[0].isdigit() and term not in MONTHS)


def _newest(text: str) -> Recency:
    dates = [(int(year), 0, 0) for year in YEAR.findall(text)]
    dates += [(int(year), int(month), int(day or 0)) for year, month, day in ISO_DATE.findall(text)]
    dates += [(int(year), MONTHS.index(month.lower()) + 1, 0) for month, year in MONTH_YEAR.findall(text)]
    versions = [tuple(map(int, version.split("."))) for version in VERSION.findall(text)]
    return max(dates, default=NO_DATE), max(versions, default=NO_VERSION)
