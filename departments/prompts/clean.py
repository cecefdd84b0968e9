"""Layer L3: what a person cannot see does not reach the model.

Used at two entries: text that a person types, and text that comes out of a document at ingest.

Rules
- Removed: tag characters, variation selectors used as bytes, bidi embeddings, overrides and isolates, zero-width and
  other invisible characters, private use, control characters, non-characters, lone surrogates, endless stacks of marks.
- Kept, because languages need them: one joiner inside Persian, Arabic, Indic and similar words; one zero-width space
  between Thai, Lao, Khmer, Burmese or Tibetan letters; joiners and selectors of emoji; a selector after a Han sign; a
  braille blank beside braille; one direction mark that touches right-to-left text. Embeddings, overrides and isolates
  go even from right-to-left text: they only steer the display of mixed lines, which text for a model does not need.
- Line ends become a line feed. The result is in NFC; compatibility forms stay as written (`for_matching` folds them).
- Look-alike letters stay, since replacing them would spoil honest words, but the word is flagged.
- Cleaning twice changes nothing more, and the time is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field


def _combining_ranges() -> str:
    """Every mark that normalisation reorders, as the inside of a character class; the planes above hold none."""
    marks = [point for point in range(0x300, 0x20000) if unicodedata.combining(chr(point))]
    starts = [point for point in marks if not unicodedata.combining(chr(point - 1))]
    ends = [point for point in marks if not unicodedata.combining(chr(point + 1))]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


TAGS = "\U000e0020-\U000e007f"
SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f"
BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
JOINERS = "\u200c\u200d"
ZERO_WIDTH = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u2800\u3164\ufeff\uffa0"
    "\ufff0-\ufffc\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
PLANE_ENDS = "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
NONCHARACTERS = f"\ufdd0-\ufdef{PLANE_ENDS}"
SURROGATES = "\ud800-\udfff"

GROUPS = {
    "tags": TAGS,
    "variation_selectors": SELECTORS,
    "bidi": BIDI,
    "joiners": JOINERS,
    "zero_width": ZERO_WIDTH,
    "private_use": PRIVATE,
    "controls": CONTROLS,
    "noncharacters": NONCHARACTERS,
    "surrogates": SURROGATES,
}
GROUP_PATTERNS = {name: re.compile(f"[{characters}]") for name, characters in GROUPS.items()}
UNSEEN = re.compile(f"[{''.join(GROUPS.values())}]+")
LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# a flag of a region as Unicode spells it: a black flag, a code of letters and digits, the cancel tag
EMOJI_FLAG_TAGS = re.compile("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")

JOINING_SCRIPTS = re.compile(
    "[\u0600-\u07ff\u0840-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f\ufb50-\ufdff\ufe70-\ufefc]"
)
UNSPACED_SCRIPTS = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f]")
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
MONGOLIAN = re.compile("[\u1800-\u18af]")
BRAILLE = re.compile("[\u2801-\u28ff]")
EMOJI_LIKE_PUNCTUATION = "‼⁉〰〽ℹ#*0123456789"

# Unicode's stream-safe format allows 30 marks on a letter; longer runs make normalisation quadratic.
MAX_MARKS = 30
MARK_RUN = re.compile(f"[{_combining_ranges()}]{{{MAX_MARKS + 1},}}")

CYRILLIC_LOOKALIKES = dict(zip("асԁеһіјӏорԛѕԝхуАВСЕНІЈКМОРԚЅТԜХУ", "acdehijlopqswxyABCEHIJKMOPQSTWXY", strict=True))
GREEK_LOOKALIKES = dict(zip("ονρΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ovpABEZHIKMNOPTYX", strict=True))
LOOKALIKES = CYRILLIC_LOOKALIKES | GREEK_LOOKALIKES
LOOKALIKE_TABLE = str.maketrans(LOOKALIKES)
LATIN = "A-Za-z\u00c0-\u024f"
ALIKE = "".join(LOOKALIKES)
ANY_ALIKE = re.compile(f"[{ALIKE}]")  # asked first: most texts have none, and looking at every word takes long
MIXED_WORD = re.compile(rf"(?<!\w)(?=[{ALIKE}]*[{LATIN}])(?=[{LATIN}]*[{ALIKE}])[{LATIN}{ALIKE}]{{3,}}(?!\w)")
# a whole word of look-alikes is folded only where no other letter shows that the text really is Cyrillic or Greek
TRULY_FOREIGN = re.compile(f"(?![{ALIKE}])[\u0370-\u03ff\u0400-\u052f]")


@dataclass(frozen=True)
class Cleaned:
    """A text without what cannot be seen.

    `removed` counts removed characters by group (the keys of `GROUPS`, and `marks`). `flags` names, sorted, what a scan
    should report: every group that has no honest use where it stood, and `mixed_script` for look-alike words.
    """

    text: str
    removed: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def clean(text: str) -> Cleaned:
    """`text` as it may be stored, shown and sent, and what was taken out of it."""
    removed: Counter[str] = Counter()
    flags: set[str] = set()
    lines = LINE_ENDS.sub("\n", text.removeprefix("\ufeff"))
    seen = UNSEEN.sub(lambda run: _keep(run, removed, flags), lines)
    short = MARK_RUN.sub(lambda run: _shorten(run.group(), removed, flags), seen)
    if ANY_ALIKE.search(short) and MIXED_WORD.search(short):
        flags.add("mixed_script")
    return Cleaned(unicodedata.normalize("NFC", short), dict(removed), tuple(sorted(flags)))


def for_matching(text: str, *, fold_case: bool = True) -> str:
    """The text as a scanner should read it: clean, in NFKC, look-alike letters in Latin, and lower case if asked.

    Never shown and never sent to a model.
    """
    folded = clean(unicodedata.normalize("NFKC", clean(text).text)).text
    latin = _in_latin(folded) if ANY_ALIKE.search(folded) else folded
    return latin.casefold() if fold_case else latin


def hidden_in(text: str) -> list[tuple[int, int]]:
    """Where `clean` takes characters out of a text that nobody can see: from, and up to but without."""
    unwanted: set[str] = set()
    runs = UNSEEN.finditer(text)
    return [run.span() for run in runs if not _keep(run, Counter(), unwanted) and run.group() != "\ufeff"]


def _in_latin(text: str) -> str:
    """The text with the look-alikes of disguised words, or all of them where nothing else is Cyrillic or Greek."""
    latin = MIXED_WORD.sub(lambda word: word.group().translate(LOOKALIKE_TABLE), text)
    return latin if TRULY_FOREIGN.search(latin) else latin.translate(LOOKALIKE_TABLE)


def _keep(run: re.Match[str], removed: Counter[str], flags: set[str]) -> str:
    """What stays of a run of unseen characters, given its neighbours; the rest is counted."""
    unseen = run.group()
    before = run.string[run.start() - 1 : run.start()]
    after = run.string[run.end() : run.end() + 1]
    if _is_needed(unseen, before, after):
        return unseen
    groups = Counter(_group_of(character) for character in unseen)
    removed.update(groups)
    if not (before == "\U0001f3f4" and EMOJI_FLAG_TAGS.fullmatch(unseen)):
        flags.update(groups)
    return ""


def _group_of(character: str) -> str:
    return next(name for name, pattern in GROUP_PATTERNS.items() if pattern.match(character))


def _is_needed(unseen: str, before: str, after: str) -> bool:
    """Whether a language or an emoji needs exactly this run here."""
    if not before:
        return False
    if unseen == "\ufe0f\u200d":
        return _is_emoji(before) and _is_emoji(after)
    if len(unseen) > 1:
        return False
    if unseen in JOINERS:
        return bool(JOINING_SCRIPTS.match(before)) or (unseen == "\u200d" and _is_emoji(before) and _is_emoji(after))
    if unseen == "\u200b":
        return bool(UNSPACED_SCRIPTS.match(before) and UNSPACED_SCRIPTS.match(after))
    if unseen == "\u2800":
        return bool(BRAILLE.match(before) or BRAILLE.match(after))
    if unseen in "\u061c\u200e\u200f":
        return _is_right_to_left(before) or _is_right_to_left(after)
    return _is_honest_selector(unseen, before)


def _is_emoji(character: str) -> bool:
    """Pictures are "other symbols"; skin tones are "modifier symbols"."""
    return bool(character) and unicodedata.category(character) in {"So", "Sk"}


def _is_right_to_left(character: str) -> bool:
    return bool(character) and unicodedata.bidirectional(character) in {"R", "AL"}


def _is_honest_selector(unseen: str, before: str) -> bool:
    if "\ufe00" <= unseen <= "\ufe0f":
        is_symbol = unicodedata.category(before).startswith("S") or before in EMOJI_LIKE_PUNCTUATION
        return is_symbol or bool(HAN.match(before))
    if unseen >= "\U000e0100":
        return bool(HAN.match(before))
    return "\u180b" <= unseen <= "\u180f" and bool(MONGOLIAN.match(before))


def _shorten(marks: str, removed: Counter[str], flags: set[str]) -> str:
    removed["marks"] += len(marks) - MAX_MARKS
    flags.add("marks")
    return marks[:MAX_MARKS]
