"""How a department's documents are used: how often answers cite them, and which questions found nothing.

Rules:
- Nothing here knows a person: no name, no id, no time of day. A day is one of the organization's time zone.
- A question's text is kept as the department's policy for the record says, and always without addresses, numbers of
  accounts and keys. Where the policy is a keyed hash, only their number is kept; when it becomes one, texts go.
- Citations are kept for `KEPT`; questions as long as the organization keeps conversations, and no longer than that.
- What cannot be noted is lost: an answer never waits for it, and never fails for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils import timezone

from departments.calls.personal_data import redact
from departments.documents.store import Store
from departments.models import Department, QueryPolicy

KEPT = timedelta(days=365)
LONGEST_QUESTION = 500
ORDERS = {"most": "DESC", "least": "ASC"}

_CITE = """
    INSERT INTO citing (document_id, day, answers)
    SELECT id, %(day)s, 1 FROM document WHERE id = ANY(%(ids)s) AND deleted_at IS NULL ORDER BY id
    ON CONFLICT (document_id, day) DO UPDATE SET answers = citing.answers + 1
"""
_MISS = "INSERT INTO unanswered (day, question, narrowed) VALUES (%s, %s, %s)"
_CITED = """
    SELECT
        document.id AS document_id, document.title, document.created_at::date AS added_on,
        coalesce(sum(citing.answers), 0)::integer AS answers, max(citing.day) AS latest_on,
        count(*) OVER () AS total
    FROM shown_document AS document
    LEFT JOIN citing ON citing.document_id = document.id AND citing.day >= %(since)s
    WHERE document.live
    GROUP BY document.id, document.title, document.created_at
    ORDER BY
        CASE WHEN %(order)s = 'DESC' THEN coalesce(sum(citing.answers), 0) END DESC,
        CASE WHEN %(order)s = 'ASC' THEN coalesce(sum(citing.answers), 0) END,
        document.created_at, document.id
    OFFSET %(offset)s LIMIT %(limit)s
"""
# the same question in other spacing or capitals is one
_MISSED = """
    SELECT
        min(question) AS question, count(*)::integer AS times, max(day) AS latest_on, bool_and(narrowed) AS narrowed,
        count(*) OVER () AS total
    FROM unanswered WHERE day >= %(since)s AND question <> ''
    GROUP BY lower(question)
    ORDER BY count(*) DESC, max(day) DESC, lower(min(question)) OFFSET %(offset)s LIMIT %(limit)s
"""
_COUNT_MISSED = """
    SELECT count(*)::integer AS all, count(*) FILTER (WHERE question = '')::integer AS untold
    FROM unanswered WHERE day >= %(since)s
"""
_PRUNE = (
    "DELETE FROM citing WHERE day < %(citing)s",
    "DELETE FROM unanswered WHERE day < %(unanswered)s",
)
_HUSH = "UPDATE unanswered SET question = '' WHERE question <> ''"


@dataclass(frozen=True)
class Cited:
    """How many answers cited a document in a span of days; `latest_on` is None where none did."""

    document_id: UUID
    title: str
    added_on: date
    answers: int
    latest_on: date | None


@dataclass(frozen=True)
class Missed:
    """A question that found nothing. `narrowed`: each time only a part of the documents was looked at."""

    question: str
    times: int
    latest_on: date
    narrowed: bool


@dataclass(frozen=True)
class MissedPage:
    """Questions of a span of days: some of `different` ones. `untold` of `times` have no text that could be shown."""

    questions: list[Missed]
    different: int
    times: int
    untold: int


async def note_citations(store: Store, documents: Collection[UUID]) -> None:
    """An answer cited these documents. Raises StoreDown."""
    if not documents:
        return
    async with store.connection() as held:
        await held.execute(_CITE, {"ids": list(documents), "day": local_day(store.department)})


async def note_unanswered(store: Store, question: str, *, narrowed: bool) -> None:
    """A question found nothing to answer from. Raises StoreDown."""
    text = kept_question(store.department, question)
    async with store.connection() as held:
        await held.execute(_MISS, [local_day(store.department), text, narrowed])


async def list_cited(store: Store, since: date, order: str, *, offset: int, limit: int) -> tuple[list[Cited], int]:
    """Documents that the chat answers from, by how many answers cited them since a day; and how many there are.

    `order` is a key of ORDERS.
    """
    asked = {"since": since, "order": ORDERS[order], "offset": offset, "limit": limit}
    async with store.connection() as held:
        rows = await (await held.execute(_CITED, asked)).fetchall()
    total = rows[0]["total"] if rows else 0
    return [Cited(**{name: row[name] for name in row if name != "total"}) for row in rows], total


async def list_unanswered(store: Store, since: date, *, offset: int, limit: int) -> MissedPage:
    """Questions that found nothing since a day, the most frequent first."""
    asked = {"since": since, "offset": offset, "limit": limit}
    async with store.connection() as held:
        count = await (await held.execute(_COUNT_MISSED, asked)).fetchone() or {"all": 0, "untold": 0}
        rows = await (await held.execute(_MISSED, asked)).fetchall()
    shown = [Missed(**{name: row[name] for name in row if name != "total"}) for row in rows]
    return MissedPage(shown, rows[0]["total"] if rows else 0, count["all"], count["untold"])


async def keep_up(store: Store) -> None:
    """Forgets what has been kept long enough, and texts that the department does not keep any more."""
    today, days = local_day(store.department), store.department.organization.conversation_days
    questions = min(KEPT, timedelta(days=days)) if days else KEPT
    async with store.connection() as held:
        for statement in _PRUNE:
            await held.execute(statement, {"citing": today - KEPT, "unanswered": today - questions})
        if not keeps_questions(store.department):
            await held.execute(_HUSH)


def keeps_questions(department: Department) -> bool:
    """Whether a question's text is kept for the department's admins."""
    return department.query_policy != QueryPolicy.HASHED


def kept_question(department: Department, question: str) -> str:
    """What is kept of a question; empty where the department keeps no text."""
    if not keeps_questions(department):
        return ""
    return redact(" ".join(question.replace("\x00", " ").split()))[:LONGEST_QUESTION]


def local_day(department: Department) -> date:
    """Today, where the department's organization is."""
    return timezone.now().astimezone(ZoneInfo(department.organization.time_zone)).date()
