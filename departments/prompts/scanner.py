"""Layer L5: says what in a text looks like an attempt to give the model orders. Telemetry, never a gate.

Rules:
- The result is labels: on the record of the call, on the version of a document. Nothing is refused for them; many
  attacks carry no label, and some honest texts do (rates: `python -m tests.bench.injection`).
- A rule is data (departments/prompts/rules/), with an example it must match and one it must not.
- Texts are looked at as they are sent (clean) and with every disguise folded (`for_matching`).
- Time is linear in the length; a text longer than `LONGEST` is looked at in parts that overlap.
- An outside classifier can be named in CHATGRID_CLASSIFIER (departments/prompts/classifier.py).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from departments.prompts.classifier import classify
from departments.prompts.clean import for_matching

RULES = Path(__file__).parent / "rules"
LONGEST = 20_000  # characters looked at in one go: keeps what a fold costs out of the way of other requests
SHARED = 400  # more than the longest match, so that none falls between two parts


@dataclass(frozen=True)
class Rule:
    """`words`: at least one must stand in the text before the pattern is tried; `form` is "matching" or "clean".

    `says` is what a text that meets it does, for people: "it …".
    """

    id: str
    says: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    form: str
    matches: str
    passes: str

    def found_in(self, text: str) -> bool:
        return any(word in text for word in self.words) and self.pattern.search(text) is not None


@cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order of their files."""
    files = sorted(RULES.glob("*.toml"))
    return tuple(_rule(**row) for file in files for row in tomllib.loads(file.read_text(encoding="utf-8"))["rule"])


def scan(text: str) -> list[str]:
    """The ids of the rules that a clean text meets, in the rules' order."""
    met = {rule.id for part in _parts(text) for rule in _met(part)}
    return [rule.id for rule in rules() if rule.id in met]


@lru_cache(maxsize=4096)
def scan_again(text: str) -> tuple[str, ...]:
    """`scan` for passages, which come again and again. It depends on the text alone, so departments share entries."""
    return tuple(scan(text))


def scan_thoroughly(text: str) -> list[str]:
    """The same, and what the outside classifier says. For callers that may wait (departments/prompts/classifier.py)."""
    return [*scan(text), *classify(text)]


def _rule(
    id: str, says: str, words: list[str], pattern: str, matches: str, passes: str, form: str = "matching"
) -> Rule:
    return Rule(id, says, tuple(words), re.compile(pattern), form, matches, passes)


def _parts(text: str) -> Iterator[str]:
    for start in range(0, max(1, len(text)), LONGEST):
        yield text[max(0, start - SHARED) : start + LONGEST]


def _met(part: str) -> Iterator[Rule]:
    # nothing in a clean ASCII text is a disguise, and most texts are one
    forms = {"clean": part, "matching": part.lower() if part.isascii() else for_matching(part)}
    return (rule for rule in rules() if rule.found_in(forms[rule.form]))
