"""What an extractor is given and what it gives, before cleaning. Each module has `extract(file, options) -> Draft`.

Extractors run in the child process only (extract_child.py). They may raise whatever their library raises: that is
"could not be read". They raise ExtractionFailed where they know better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from departments.documents.extracted import DEFAULT_LIMITS, Block, ExtractionFailed, Kind, Limits, Reason

LONGEST_HEADING = 200


@dataclass(frozen=True)
class Options:
    """The job: what to read, what it may cost, and the path of tesseract with its languages if it is installed."""

    kind: Kind
    limits: Limits = DEFAULT_LIMITS
    tesseract: str | None = None
    languages: str = "eng"


@dataclass
class Draft:
    """Blocks may come lazily; warnings may be added until the last one has come."""

    blocks: Iterable[Block]
    title: str | None = None
    pages: int | None = None
    warnings: list[str] = field(default_factory=list)


class Headings:
    """The path of headings above the place that is being read."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._open)

    def enter(self, level: int, text: str) -> tuple[str, ...]:
        """Closes headings of this level and below, opens this one, and returns the new path."""
        self._open = [(other, above) for other, above in self._open if other < level]
        self._open.append((level, one_line(text)[:LONGEST_HEADING]))
        return self.path


def one_line(text: str) -> str:
    return " ".join(text.split())


def too_large(what: str, limit: int) -> ExtractionFailed:
    """The refusal of a file that has more of `what` than the limit."""
    sentence = f"This file has more than {limit:,} {what}. Split it and upload the parts."
    return ExtractionFailed(Reason.TOO_LARGE, sentence)


def check_pages(count: int, limits: Limits) -> int:
    """The count, if it is within the limit; otherwise ExtractionFailed with both numbers."""
    if count <= limits.pages:
        return count
    sentence = f"This file has {count:,} pages, {limits.pages:,} are allowed. Split it and upload the parts."
    raise ExtractionFailed(Reason.TOO_MANY_PAGES, sentence)
