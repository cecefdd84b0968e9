"""What may not leave: the filter on the model's answer, before the page, the database and the record.

Rules:
- The canary of the system message, everything key-shaped and a long run of the department's rules end the answer: what
  came before stays, the rest is withheld. Disguises of them count as well (departments/prompts/leaks.py).
- Only as much text is held back as could still become a forbidden form, so that ordinary words pass at once.
- The filter sees the answer as one text, however the provider cut it.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.crypto import salted_hmac

from departments.prompts.alike import UNSHOWN, bare, folded
from departments.prompts.leaks import LONGEST_KEY, MOST_HELD, Leaks, characters, overlap

# The filter must not let go of a key's beginning while its end may still come. The longest key that the strict pattern
# (departments/keys/patterns.py) takes for one is decided within 230 characters of its "sk-".
LONGEST_DOUBT = LONGEST_KEY
KEY_START = "sk-"


def canary_of(department_id: object, instructions: str) -> str:
    """The token of a department and its present rules, 32 hex characters. It proves a leak; it prevents none."""
    whole = salted_hmac("departments.prompts.canary", f"{department_id}:{instructions}", algorithm="sha256")
    return whole.hexdigest()[:32]


class Withheld(Exception):
    """The answer held something that must not leave. `label` is for the record."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class OutputFilter:
    """Passes an answer on, piece by piece, and stops it where it must not go on.

    `holds_key` says whether a text holds something key-shaped: prompts and keys do not know each other. `rules` are the
    department's own; "" lets them be repeated.
    """

    def __init__(self, canary: str, holds_key: Callable[[str], bool], rules: str = "") -> None:
        self._holds_key = holds_key
        self._leaks = Leaks(canary, holds_key, rules)
        self._before = ""  # the last character shown: whether "sk-" begins a word depends on it
        self._seen = ""  # the last letters shown: a key may begin there, however much that nobody sees stands behind
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that may be shown now. Raises Withheld."""
        self._held += text
        self._refuse(text)
        shown = self._held[: max(0, len(self._held) - self._doubtful())]
        self._held = self._held[len(shown) :]
        self._before = shown[-1:] or self._before
        self._seen = _end_of(self._seen + bare(shown))
        return shown

    def finish(self) -> str:
        """What was held back, now that nothing follows. Raises Withheld."""
        self._refuse("")
        rest, self._held = self._held, ""
        return rest

    def _refuse(self, text: str) -> None:
        label = self._leaks.found(text) or ("key" if self._holds_plain_key() else "")
        if label:
            raise Withheld(label)

    def _holds_plain_key(self) -> bool:
        return self._holds_key(folded(self._before + self._held)) or self._holds_key(self._seen + bare(self._held))

    def _doubtful(self) -> int:
        """How many characters at the end could be the beginning of something forbidden."""
        return max(_key_beginning(self._held), self._leaks.doubtful(self._held))


def _end_of(letters: str) -> str:
    """As much as a key needs to be told from other text. A letter stands for what is cut off: no key begins there."""
    return letters if len(letters) <= LONGEST_DOUBT else f"x{letters[-LONGEST_DOUBT:]}"


def _key_beginning(text: str) -> int:
    """How long the end of `text` is that could be a key as far as it goes: from the first "sk-" of its last word."""
    read = folded(text[-MOST_HELD:])
    word = len(read)
    while word > 0 and _is_of_a_key(read[word - 1]):
        word -= 1
    letters = UNSHOWN.sub("", read[word:])[-LONGEST_DOUBT:]
    start = letters.find(KEY_START)
    return characters(read, len(letters) - start if start >= 0 else overlap(letters, KEY_START), UNSHOWN)


def _is_of_a_key(letter: str) -> bool:
    return (letter.isascii() and (letter.isalnum() or letter in "-_")) or bool(UNSHOWN.match(letter))
