"""What extraction gives: blocks of text that know where they stand, or one sentence that says why there are none.

Everything here crosses the pipe from the child process as JSON, and the child has read a hostile file: `from_json`
trusts nothing and raises ValueError for any other shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, cast, get_args


class Kind(StrEnum):
    """The kinds of file we read."""

    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    CSV = "csv"
    HTML = "html"
    MARKDOWN = "markdown"
    TEXT = "text"
    EML = "eml"
    EPUB = "epub"
    JSON = "json"


ZIP_KINDS = frozenset({Kind.DOCX, Kind.PPTX, Kind.XLSX, Kind.EPUB})

BlockKind = Literal["heading", "paragraph", "table", "list", "code"]


class Reason(StrEnum):
    """Why a file gave no text."""

    UNSUPPORTED = "unsupported"
    EMPTY = "empty"
    ENCRYPTED = "encrypted"
    CORRUPT = "corrupt"
    SCANNED = "scanned_without_text"
    TOO_LARGE = "too_large"
    TOO_MANY_PAGES = "too_many_pages"
    TIMEOUT = "timeout"
    MEMORY = "memory"


# One sentence a reason, each with the next step. A raiser may give a closer one.
SENTENCES = {
    Reason.UNSUPPORTED: "This kind of file cannot be read. Save it as PDF, DOCX or text and upload it again.",
    Reason.EMPTY: "There is no text in this file. Check that it is the right one and upload it again.",
    Reason.ENCRYPTED: "This file is protected with a password. Remove the password and upload it again.",
    Reason.CORRUPT: "This file could not be read, it seems damaged. Open it, save it anew and upload it again.",
    Reason.SCANNED: "The pages are pictures without text. Run text recognition (OCR) on the file and upload it again.",
    Reason.TOO_LARGE: "This file unpacks to more than can be read. Split it or remove pictures and upload it again.",
    Reason.TOO_MANY_PAGES: "This file has too many pages. Split it and upload the parts.",
    Reason.TIMEOUT: "Reading this file took too long. Split it or save it in a simpler form and upload it again.",
    Reason.MEMORY: "Reading this file needs too much memory. Split it or remove pictures and upload it again.",
}


class ExtractionFailed(Exception):
    """The file gave no text: `reason` for programs, `sentence` for the person who uploaded it."""

    def __init__(self, reason: Reason, sentence: str = "") -> None:
        self.reason = reason
        self.sentence = sentence or SENTENCES[reason]
        super().__init__(self.sentence)


class UnsupportedFile(ExtractionFailed):
    """The file is of a kind that we do not read, or its beginning already shows that we cannot."""

    def __init__(self, sentence: str = "", reason: Reason = Reason.UNSUPPORTED) -> None:
        super().__init__(reason, sentence)


@dataclass(frozen=True)
class Limits:
    """What one extraction may cost. Beyond a limit there is a refusal, never a part of the text."""

    seconds: int = 60  # wall clock, and as much processor time
    memory_bytes: int = 1 << 30  # address space of the child; not reliable on macOS
    unpacked_bytes: int = 300 << 20  # sum of the sizes in a ZIP directory
    unpacked_ratio: int = 150  # unpacked to packed, looked at above 10 MiB
    entries: int = 20_000  # files inside a ZIP
    pages: int = 5_000  # pages, slides, chapters
    rows: int = 200_000  # rows of all tables together
    characters: int = 10_000_000
    output_bytes: int = 160 << 20  # what the child may send back

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Limits:
        return cls(**value)

    def to_json(self) -> dict[str, int]:
        return asdict(self)


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Locator:
    """Where a block stands, as far as its kind of file can say. Pages, slides and rows count from 1.

    `section` names a place that is neither page nor slide: a chapter, an attachment, a path inside JSON.
    """

    page: int | None = None
    sheet: str | None = None
    row_from: int | None = None
    row_to: int | None = None
    slide: int | None = None
    section: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: object) -> Locator:
        fields = _mapping(value)
        names = {"sheet", "section"}
        checked: dict[str, Any] = {name: (_text if name in names else _count)(item) for name, item in fields.items()}
        return cls(**checked)


NOWHERE = Locator()


@dataclass(frozen=True)
class Block:
    """One heading, paragraph, table row, list item or piece of code. A heading's path ends with the heading itself.

    `unclean` is the text as the file has it, where cleaning took out something that nobody can see; "" else.
    """

    text: str
    locator: Locator = NOWHERE
    heading_path: tuple[str, ...] = ()
    kind: BlockKind = "paragraph"
    unclean: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "locator": self.locator.to_json(),
            "heading_path": list(self.heading_path),
            "kind": self.kind,
            "unclean": self.unclean,
        }

    @classmethod
    def from_json(cls, value: object) -> Block:
        fields = _mapping(value)
        kind = fields["kind"]
        if kind not in get_args(BlockKind):
            raise ValueError(f"A block cannot be a {kind!r}.")
        path = tuple(_text(heading) for heading in _list(fields["heading_path"]))
        locator, unclean = Locator.from_json(fields["locator"]), _text(fields["unclean"])
        return cls(_text(fields["text"]), locator, path, cast(BlockKind, kind), unclean)


@dataclass(frozen=True)
class Extracted:
    """The text of a file, cleaned.

    `pages` counts pages or slides where the kind has them. `warnings` are sentences about parts left out. `removed` and
    `flags` sum up what cleaning found (departments/prompts/clean.py).
    """

    kind: Kind
    title: str | None
    pages: int | None
    blocks: list[Block]
    warnings: list[str] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        shallow = {name: value for name, value in vars(self).items() if name != "blocks"}
        return {**shallow, "blocks": [block.to_json() for block in self.blocks]}

    @classmethod
    def from_json(cls, value: object) -> Extracted:
        """Raises ValueError for anything that `to_json` would not have written."""
        try:
            return cls._from_mapping(_mapping(value))
        except (KeyError, TypeError) as error:
            raise ValueError(f"This is not an extraction: {error}") from error

    @classmethod
    def _from_mapping(cls, fields: Mapping[str, object]) -> Extracted:
        title, pages = fields["title"], fields["pages"]
        return cls(
            kind=Kind(_text(fields["kind"])),
            title=None if title is None else _text(title),
            pages=None if pages is None else _count(pages),
            blocks=[Block.from_json(block) for block in _list(fields["blocks"])],
            warnings=[_text(warning) for warning in _list(fields["warnings"])],
            removed={_text(name): _count(count) for name, count in _mapping(fields["removed"]).items()},
            flags=[_text(flag) for flag in _list(fields["flags"])],
        )


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("Text was expected.")


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("A count was expected.")


def _list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    raise ValueError("A list was expected.")


def _mapping(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise ValueError("An object was expected.")
