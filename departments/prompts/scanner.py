"""Layer L5: says what in a text looks like an attempt to give the model orders. Telemetry, never a gate.

Rules:
- The result is labels: on the record of the call, on the version of a document. Nothing is refused for them; many
  attacks carry no label, and some honest texts do (rates: `python -m tests.bench.injection`).
- A rule is data (departments/prompts/rules/), with an example it must match and one it must not.
- Texts are looked at as they are sent (clean) and with every disguise folded (`for_matching`).
- Time is linear in the length; a text longer than `LONGEST` is looked at in parts that overlap.
- An outside classifier can be named in CHATGRID_CLASSIFIER: a callable that takes the text and gives labels. It may be
  slow, so only callers that may wait use it; one that fails costs its labels and nothing else.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from departments.prompts.clean import for_matching

RULES = Path(__file__).parent / "rules"
LONGEST = 20_000  # characters looked at in one go: keeps what a fold costs out of the way of other requests
SHARED = 400  # more than the longest match, so that none falls between two parts

Classifier = Callable[[str], Sequence[str]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """`words`: at least one must stand in the text before the pattern is tried; `form` is "matching" or "clean"."""

    id: str
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


def scan_thoroughly(text: str) -> list[str]:
    """The same, and what the outside classifier says. For callers that may wait: it can take as long as it likes."""
    return [*scan(text), *(f"classifier:{label}" for label in _classified(text))]


def has_classifier() -> bool:
    return bool(settings.CLASSIFIER)


def _rule(id: str, words: list[str], pattern: str, matches: str, passes: str, form: str = "matching") -> Rule:
    return Rule(id, tuple(words), re.compile(pattern), form, matches, passes)


def _parts(text: str) -> Iterator[str]:
    for start in range(0, max(1, len(text)), LONGEST):
        yield text[max(0, start - SHARED) : start + LONGEST]


def _met(part: str) -> Iterator[Rule]:
    # nothing in a clean ASCII text is a disguise, and most texts are one
    forms = {"clean": part, "matching": part.lower() if part.isascii() else for_matching(part)}
    return (rule for rule in rules() if rule.found_in(forms[rule.form]))


def _classified(text: str) -> Sequence[str]:
    if not has_classifier():
        return ()
    try:
        classifier: Classifier = import_string(settings.CLASSIFIER)
        return [str(label) for label in classifier(text)]
    except Exception as error:
        # somebody else's code: the operator reads that it failed, and the text goes its way without its labels
        logger.error("the classifier %s failed: %s", settings.CLASSIFIER, type(error).__name__)
        return ("failed",)
