"""Letters that read like others: fullwidth, mathematical, circled, raised, and those of other scripts that look Latin.

Rules:
- `folded` changes one letter into one letter, so a place in a folded text is the same place in the text.
- `bare` leaves out what a page does not show: marks of emphasis, backslashes that escape, characters without a width.
- Both are for looking only: nobody is shown what they return.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import chain

from departments.prompts.clean import GROUPS, LOOKALIKES

_RANGES = (
    range(0xAA, 0xBB),
    range(0x2070, 0x209D),
    range(0x2100, 0x2150),
    range(0x2460, 0x24EB),
    range(0xFF01, 0xFF5F),
    range(0x1D400, 0x1D800),
)
_HYPHENS = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")


def _folding() -> dict[int, str]:
    plain = {chr(point): unicodedata.normalize("NFKC", chr(point)) for point in chain(*_RANGES)}
    one_for_one = {letter: other for letter, other in plain.items() if len(other) == 1 and other.isascii()}
    return str.maketrans(one_for_one | LOOKALIKES | _HYPHENS)


FOLDING = _folding()
# what Markdown takes away around or before a letter, line ends that a browser does not break at, what nobody can see
UNSHOWN = re.compile(f"[\\\\*`~\r\x0b\x85\u2028\u2029{''.join(GROUPS.values())}]")


def folded(text: str) -> str:
    """The text with every such letter as the ASCII letter that it reads like."""
    return text if text.isascii() else text.translate(FOLDING)


def bare(text: str) -> str:
    """The folded text as far as a page shows it."""
    return UNSHOWN.sub("", folded(text))
