"""Turns conversations and messages into what the templates show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from chatgrid.chat.markdown import cited_statements, render, source_anchor
from chatgrid.chat.models import Message
from departments.calls.labels import in_words
from departments.documents.use import keeps_questions
from departments.models import Department

SUGGESTIONS = (
    "Which documents do you have, and what are they about?",
    "What changed most recently?",
    "What are the most important deadlines?",
)
# below an answer without a confident match: what the page of documents' use shows (departments/documents/use.py)
TOLD = "The department's admins see that this question found nothing, to fill the gap; not who asked it."


@dataclass(frozen=True)
class ShownCitation:
    """A source below an answer: the number in the text, the document, the place in it, and the way there."""

    number: int
    anchor: str
    title: str
    locator: str
    url: str
    quote: str
    version: int | None
    uploader: str
    uploaded_at: datetime
    is_doubtful: bool
    noticed: list[str]


@dataclass(frozen=True)
class ShownMessage:
    """A message as the template gets it. `html` is escaped or sanitised here and nowhere else.

    `told` says what becomes of a question that found nothing.
    """

    id: object
    role: str
    state: str
    problem: str
    html: SafeString
    citations: list[ShownCitation]
    doubts: str
    nearest: list[ShownCitation]
    told: str
    noticed: list[str]
    can_retry: bool
    stop_url: str


def shown_message(message: Message, department: Department, *, last: bool) -> ShownMessage:
    """One message. Only the last answer can be asked for again."""
    numbers = [each["number"] for each in message.citations]
    answer = message.role == Message.Role.ASSISTANT
    found = message.citation_check or {}
    doubtful = [
        number for place, number in enumerate(_in_order(message, numbers)) if place in found.get("doubtful", ())
    ]
    citations = [_citation(each, message, department, each["number"] in doubtful) for each in message.citations]
    places = found["doubtful"] if found else None
    html = render(message.text, numbers, source_anchor(message.pk), places) if answer else plain(message.text)
    over = message.state not in {Message.State.COMPLETE, Message.State.WRITING}
    return ShownMessage(
        id=message.pk,
        role=message.role,
        state=message.state,
        problem=message.problem,
        html=html,
        citations=citations,
        nearest=[_citation(each, message, department, doubtful=False) for each in found.get("nearest", ())],
        told=TOLD if keeps_questions(department) else "",
        noticed=noticed_in_words(message.labels),
        doubts=doubts_in_words(doubtful, found.get("missing", ())),
        can_retry=answer and last and over,
        stop_url=reverse("chat:stop", args=[message.call_id]) if message.call_id else "",
    )


def shown_messages(messages: Iterable[Message], department: Department) -> list[ShownMessage]:
    """A whole conversation, oldest first."""
    everything = list(messages)
    return [shown_message(each, department, last=each is everything[-1]) for each in everything]


def noticed_in_words(labels: Iterable[str]) -> list[str]:
    """What a scan has seen, each as the end of a sentence that begins with "it"."""
    return list(dict.fromkeys(in_words(f"question:{label}") for label in labels))


def doubts_in_words(doubtful: Sequence[int], missing: Sequence[int]) -> str:
    """What a check of the citations found, for the reader; empty where there is no doubt."""
    parts = []
    if doubtful:
        named = " and ".join(map(str, sorted(set(doubtful))))
        parts.append(
            f"Not confirmed: source {named}. The words or figures of the marked statement do not all stand there. "
            "Read the source before you rely on it."
        )
    if missing:
        named = " and ".join(map(str, missing))
        parts.append(f"The answer names source {named}, which it was not given: do not rely on that statement.")
    return " ".join(parts)


def _in_order(message: Message, numbers: Sequence[int]) -> list[int]:
    """The numbers of an answer's citations in their order in the text."""
    if not (message.citation_check or {}).get("doubtful"):
        return []
    return [number for _, number in cited_statements(message.text, numbers) if number in numbers]


def plain(text: str) -> SafeString:
    """A person's own words: escaped, line ends kept."""
    return mark_safe(escape(text).replace("\n", "<br>"))  # noqa: S308 - escaped on the same line


def place_in_document(locator: dict[str, Any], headings: list[str]) -> str:
    """Where a passage stands, in words: "page 3, Meals" or "sheet Rates, rows 2-14"."""
    parts = []
    if locator.get("page"):
        parts.append(f"page {locator['page']}")
    if locator.get("slide"):
        parts.append(f"slide {locator['slide']}")
    if locator.get("sheet"):
        parts.append(f"sheet {locator['sheet']}")
    if locator.get("row_from"):
        parts.append(f"rows {locator['row_from']}-{locator.get('row_to') or locator['row_from']}")
    if headings:
        parts.append(headings[-1])
    return ", ".join(parts)


def _citation(kept: dict[str, Any], message: Message, department: Department, doubtful: bool) -> ShownCitation:
    page = reverse("documents:detail", args=[department.slug, kept["document"]])
    return ShownCitation(
        number=kept["number"],
        anchor=f"{source_anchor(message.pk)}-{kept['number']}",
        title=kept["title"],
        locator=place_in_document(kept["locator"], kept["headings"]),
        url=f"{page}?{urlencode(_place(kept))}#passage-{kept['ordinal']}",
        quote=kept["quote"],
        version=kept.get("version_number"),
        uploader=kept["uploader"],
        uploaded_at=datetime.fromisoformat(kept["uploaded_at"]),
        is_doubtful=doubtful,
        noticed=noticed_in_words(kept.get("labels", ())),
    )


def _place(kept: dict[str, Any]) -> dict[str, Any]:
    """What leads to the cited passage, also after the document has a newer version or was cut anew."""
    return {"version": kept["version"], "cut": kept.get("generation", 0), "passage": kept["ordinal"]}
