"""Disguises in which a canary, a key or the department's rules could leave with an answer.

Rules:
- The answer is read as one text, however the provider cut it, in several views: letters and digits alone, hexadecimal
  digits alone, words backwards. What stands between the letters (spaces, dots, line ends) hides nothing.
- A canary is found whole: as it is, in either case, backwards, in base64 at each of its three alignments, in hex.
- Hex is a pair of digits for each byte, with "0" or "00" before it as well: 0x73, \\u0073.
- A key is found by decoding what begins like one in base64 or hex and asking `holds_key`; backwards by turning round.
- The rules are found as a run of 60 letters and digits that stands in them, too. A department that shows its rules to
  everybody passes "" for them.
- Text is held back only from where a disguise could have begun. A reversed key shows its beginning last, so a word of
  `LONG_WORD` characters is held from there on, and of the rules `RULES_DOUBT` letters are seen before holding starts.
- Letters that read like others count as those (departments/prompts/alike.py). In rules neither accents nor case count.
- Letters of a key or canary never give + or / in base64, so views without them lose nothing.

The forms: https://datatracker.ietf.org/doc/html/rfc4648 for base64 (both alphabets) and hex.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

from departments.prompts.alike import FOLDING, UNSHOWN, folded

MEMORY = 1_200  # characters of a view that are kept: more than the longest disguise needs
LONGEST_KEY = 230  # characters from "sk-" after which a text is a key or is none
LONGEST_DISGUISE = 4_000  # characters, those between the letters included: a key as numbers in hex takes half of it
MOST_HELD = 4 * LONGEST_KEY  # characters of a word that are looked at, those included that a page does not show
LONG_WORD = 16
RULES_RUN = 60  # letters and digits in a row that make a leak
RULES_DOUBT = 24

# "sk-" in base64 by alignment, with the first bits of what follows, and the letters that complete the first group
_BASE64_START = re.compile("c2st|NrL[T-X]|zay[01]")
_BASE64_PADS = {"c": "", "N": "AH", "z": "AAB"}
_BASE64_BEGINNING = re.compile(r"(?:c(?:2s?)?|N(?:rL?)?|z(?:ay?)?)\Z")
# digits for each byte -> "sk-" in them; only the last two of each say anything
_HEX_STARTS = {2: "736b2d", 3: "07306b02d", 4: "0073006b002d"}
_KEY_TAIL = re.compile(rf"[A-Za-z0-9_-]{{{LONG_WORD},{LONGEST_KEY}}}\Z")
_NOT_OF_A_KEY = re.compile(rb"[^A-Za-z0-9_-]")

_NO_LETTER = re.compile("[^0-9A-Za-z]+")
_NO_HEX = re.compile("[^0-9A-Fa-f]+")


class Leaks:
    """Reads an answer piece by piece. `rules` is the text that must not be repeated; "" allows it."""

    def __init__(self, canary: str, holds_key: Callable[[str], bool], rules: str = "") -> None:
        self._holds_key = holds_key
        self._letters = _View(_NO_LETTER, base64_forms(canary))
        self._folded = _View(_NO_LETTER, [canary, canary[::-1]], fold=True)
        spelled = [in_hex(text, width) for text in (canary, canary.upper()) for width in _HEX_STARTS]
        self._hex = _View(_NO_HEX, spelled, fold=True)
        self._recent = ""
        self._rules = _Run(rules)

    def found(self, piece: str) -> str:
        """Takes the next piece; the label of what the answer now holds, or ""."""
        self._rules.add(piece)
        piece = folded(piece)
        self._recent = (self._recent + UNSHOWN.sub("", piece))[-max(LONGEST_KEY + 1, len(piece) + LONGEST_KEY) :]
        marks = sum(view.add(piece) for view in (self._letters, self._folded, self._hex))  # each must take the piece
        if marks:
            return "canary"
        if self._holds_encoded_key() or ("-ks" in self._recent and self._holds_key(self._recent[::-1])):
            return "key"
        return "rules" if self._rules.is_leak else ""

    def doubtful(self, held: str) -> int:
        """How many characters at the end of `held`, the text not shown yet, could belong to something forbidden.

        At most `LONGEST_DISGUISE`: a letter and endless blanks must not keep the answer back, nor the processor busy.
        """
        held = held[-LONGEST_DISGUISE:]
        read = folded(held)
        return max(
            characters(read, self._letters_in_doubt(), _NO_LETTER),
            characters(read, self._folded.overlap(), _NO_LETTER),
            characters(read, self._hex_in_doubt(), _NO_HEX),
            self._rules.in_doubt(held),
            characters(read[-MOST_HELD:], self._word_in_doubt(), UNSHOWN),
        )

    def _word_in_doubt(self) -> int:
        """The letters of the last word where it may be a key backwards; a longer one than any key hides none."""
        word = _KEY_TAIL.search(self._recent)
        before = self._recent[word.start() - 1 : word.start()] if word and word.start() else ""
        goes_on = before.isascii() and (before.isalnum() or before in {"-", "_"})
        return len(word.group()) if word and not goes_on else 0

    def _holds_encoded_key(self) -> bool:
        decoded = [*_from_base64(self._letters.text), *_from_hex(self._hex.text)]
        # the second look is for a key right behind a letter, where the pattern would not take it for the beginning
        return any(self._holds_key(text) or self._holds_key(text.replace("sk-", " sk-")) for text in decoded)

    def _letters_in_doubt(self) -> int:
        text = self._letters.text
        for start in _BASE64_START.finditer(text, max(0, len(text) - LONGEST_KEY * 4 // 3)):
            if _could_be_key(_base64_from(text, start)):
                return max(len(text) - start.start(), self._letters.overlap())
        beginning = _BASE64_BEGINNING.search(text, max(0, len(text) - 3))
        return max(len(beginning.group()) if beginning else 0, self._letters.overlap())

    def _hex_in_doubt(self) -> int:
        return max(self._hex.overlap(), *(_hex_key_in_doubt(self._hex.text, width) for width in _HEX_STARTS))


def base64_forms(canary: str) -> list[str]:
    """The parts of a text's base64 that do not depend on what stands before and after it, by alignment and case."""
    forms = []
    for text in (canary.lower(), canary.upper()):
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + text.encode() + b"\0\0\0").decode()
            first, last = -(-before * 4 // 3), (before + len(text)) * 4 // 3
            forms.append(encoded[first:last])
    return forms


def in_hex(text: str, width: int) -> str:
    """Each byte of an ASCII text in `width` hexadecimal digits."""
    return "".join(f"{byte:0{width}x}" for byte in text.encode())


def overlap(text: str, mark: str) -> int:
    """The longest end of `text` that begins `mark` without being all of it."""
    at = text.find(mark[0], max(0, len(text) - len(mark) + 1))
    while at >= 0:
        if text.startswith(mark[: len(text) - at], at):
            return len(text) - at
        at = text.find(mark[0], at + 1)
    return 0


class _View:
    """The latest of the answer without what `dropped` matches; `marks` must not come up in it."""

    def __init__(self, dropped: re.Pattern[str], marks: list[str], *, fold: bool = False) -> None:
        self.text = ""
        self._dropped = dropped
        self._marks = marks
        self._fold = fold

    def add(self, piece: str) -> bool:
        """Takes the next piece; whether a mark has come up."""
        kept = self._dropped.sub("", piece)
        self.text = self.text[-MEMORY:] + (kept.lower() if self._fold else kept)
        return any(mark in self.text for mark in self._marks)

    def overlap(self) -> int:
        return max(overlap(self.text, mark) for mark in self._marks)


class _Run:
    """How long the end of the answer has been repeating the rules, in letters and digits."""

    def __init__(self, rules: str) -> None:
        self._rules = plain(rules)
        self._pieces = _pieces_of(self._rules) if len(self._rules) >= RULES_RUN else frozenset[str]()
        self._recent = ""
        self._length = 0
        self.is_leak = False

    def add(self, piece: str) -> None:
        if not self._pieces:
            return
        for letter in plain(piece):
            self._recent = self._recent[1 - RULES_RUN :] + letter
            repeats = self._recent[-RULES_DOUBT:] in self._pieces
            self._length = max(self._length + 1, RULES_DOUBT) if repeats else 0
            if self._length >= RULES_RUN and self._recent in self._rules:
                self.is_leak = True

    def in_doubt(self, held: str) -> int:
        """The characters of `held` that a run has reached after its first `RULES_DOUBT` letters, and the rest."""
        wanted = self._length - RULES_DOUBT + 1 if self._length else 0
        if wanted <= 0:
            return 0
        for back, letter in enumerate(reversed(held), start=1):
            wanted -= len(plain(letter))
            if wanted <= 0:
                return back
        return len(held)


@lru_cache(maxsize=64)
def _pieces_of(rules: str) -> frozenset[str]:
    """Every `RULES_DOUBT` letters in a row. A function of the text alone, so departments can share an entry."""
    return frozenset(rules[at : at + RULES_DOUBT] for at in range(len(rules) - RULES_DOUBT + 1))


def longest_run(answer: str, rules: str) -> int:
    """How many letters and digits in a row of an answer stand in the rules, too."""
    said, written, longest = plain(answer), plain(rules), 0
    for at in range(len(said)):
        while at + longest < len(said) and said[at : at + longest + 1] in written:
            longest += 1
    return longest


def plain(text: str) -> str:
    """Letters and digits alone, in lower case: what a disguise by spaces and punctuation cannot change.

    Neither can one by accents or by letters that read like others. The plain text of a text is that of its letters.
    """
    if text.isascii():
        return "".join(filter(str.isalnum, text.lower()))
    letters = unicodedata.normalize("NFKD", text.casefold()).translate(FOLDING).casefold()
    return "".join(filter(str.isalnum, letters))


def characters(held: str, count: int, dropped: re.Pattern[str]) -> int:
    """How many characters of `held` hold its last `count` that `dropped` does not match."""
    if not count:
        return 0
    end = len(held)
    for start, stop in reversed([run.span() for run in dropped.finditer(held)]):
        if end - stop >= count:
            break
        count -= end - stop
        end = start
    return len(held) - max(0, end - count)


def _places(mark: str, text: str, start: int = 0) -> Iterable[int]:
    return (match.start() for match in re.compile(mark).finditer(text, start))


def _from_base64(text: str) -> Iterable[str]:
    """What the text says in base64 from the first key-like beginning of each alignment on."""
    starts = {_place_in_group(start): start for start in reversed(list(_BASE64_START.finditer(text)))}
    return (_base64_from(text, start).decode("latin-1") for start in starts.values())


def _from_hex(text: str) -> Iterable[str]:
    for width, mark in _HEX_STARTS.items():
        starts = {at % width: at for at in reversed(list(_places(mark, text)))}
        yield from (_hex_from(text, at, width).decode("latin-1") for at in starts.values())


def _hex_key_in_doubt(text: str, width: int) -> int:
    """How many digits at the end could be the beginning of a key that has so many for each letter."""
    mark = _HEX_STARTS[width]
    for at in _places(mark, text, max(0, len(text) - LONGEST_KEY * width)):
        if _could_be_key(_hex_from(text, at, width)):
            return len(text) - at
    return overlap(text, mark)


def _place_in_group(start: re.Match[str]) -> int:
    return (start.start() - len(_BASE64_PADS[start.group()[0]])) % 4


def _base64_from(text: str, start: re.Match[str]) -> bytes:
    """What base64 that begins with "sk-" says, whole groups of it only."""
    pad = _BASE64_PADS[start.group()[0]]
    encoded = pad + text[start.start() :]
    return base64.b64decode(encoded[: len(encoded) // 4 * 4])[(len(pad) + 1) // 2 :]


def _hex_from(text: str, at: int, width: int) -> bytes:
    """What the digits from `at` on say, whole groups of `width` only."""
    ends = range(at + width, len(text) + 1, width)
    return bytes.fromhex("".join(text[end - 2 : end] for end in ends))


def _could_be_key(decoded: bytes) -> bool:
    """Whether more text could still make a key of it."""
    return len(decoded) < LONGEST_KEY - 3 and not _NOT_OF_A_KEY.search(decoded)
