"""From an extractor's draft to the result: cleaned, counted against the limits, with a title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import BinaryIO

from departments.documents.extracted import Block, Extracted, ExtractionFailed, Kind, Limits, Locator, Reason
from departments.documents.extractors.draft import Draft, Options, one_line, too_large
from departments.prompts.clean import clean, hidden_in

# a heading further down is a section, not the title of the file
TITLE_WITHIN_BLOCKS = 3
LONGEST_TITLE = 300
MOST_WARNINGS = 20


class Collector:
    """Cleans blocks one by one and keeps the counts of the whole file."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._characters = 0
        self._rows = 0
        self.removed: Counter[str] = Counter()
        self.flags: set[str] = set()

    def clean(self, text: str) -> str:
        cleaned = clean(text)
        self.removed.update(cleaned.removed)
        self.flags.update(cleaned.flags)
        return cleaned.text.strip()

    def blocks(self, draft: Draft) -> Iterator[Block]:
        for block in draft.blocks:
            text = self.clean(block.text)
            self._count(block, text)
            if text:
                locator, path = self._locator(block.locator), self._path(block)
                unclean = block.text if hidden_in(block.text) else ""
                yield replace(block, text=text, locator=locator, heading_path=path, unclean=unclean)

    def _count(self, block: Block, text: str) -> None:
        self._characters += len(text)
        self._rows += block.kind == "table"
        if self._characters > self._limits.characters:
            raise too_large("characters of text", self._limits.characters)
        if self._rows > self._limits.rows:
            raise too_large("table rows", self._limits.rows)

    def _locator(self, locator: Locator) -> Locator:
        if not (locator.sheet or locator.section):
            return locator
        sheet, section = (self.clean(name or "") or None for name in (locator.sheet, locator.section))
        return replace(locator, sheet=sheet, section=section)

    def _path(self, block: Block) -> tuple[str, ...]:
        # not counted: the heading itself was
        return tuple(filter(None, (one_line(clean(heading).text) for heading in block.heading_path)))


def draft_of(file: BinaryIO, options: Options) -> Draft:
    """The draft by the extractor of this kind; modules are named after kinds, and CSV is a sheet."""
    name = "xlsx" if options.kind is Kind.CSV else options.kind.value
    module = import_module(f"departments.documents.extractors.{name}")
    draft: Draft = module.extract(file, options)
    return draft


def read(file: BinaryIO, options: Options) -> Extracted:
    """Raises ExtractionFailed, or whatever a library raises on a damaged file."""
    collector = Collector(options.limits)
    draft = draft_of(file, options)
    blocks = list(collector.blocks(draft))
    if not blocks:
        raise ExtractionFailed(Reason.EMPTY)
    title = draft.title or _first_heading(blocks)
    return Extracted(
        kind=options.kind,
        title=one_line(collector.clean(title))[:LONGEST_TITLE] or None,
        pages=draft.pages,
        blocks=blocks,
        warnings=[clean(warning).text for warning in draft.warnings[:MOST_WARNINGS]],
        removed=dict(collector.removed),
        flags=sorted(collector.flags),
    )


def _first_heading(blocks: list[Block]) -> str:
    return next((block.text for block in blocks[:TITLE_WITHIN_BLOCKS] if block.kind == "heading"), "")
