"""Deciding upon a held document: a person reads its text, says yes or no and why, and the record holds it.

Rules:
- Approved, the file is read again and goes its usual way; the same labels do not hold it a second time.
- Rejected, it stays unsearched until it is deleted; its text can still be looked at.
- A decision is made once: of two people who decide at the same time the second is told.
- The event is written in the transaction of the decision: there is none without it.
"""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from audit.events import Event
from audit.writer import arecord
from departments.documents.events import document_entry
from departments.documents.publishing import publish_due
from departments.documents.records import DocumentVersion
from departments.documents.store import Store, open_store
from departments.http import Person
from departments.models import Department

LONGEST_REASON = 500
NO_REASON = "Write why, in a few words: whoever looks at this document later should know."
REJECTED = "{name} looked at it and decided that the chat should not answer from it: {reason}"

_DECIDE = """
    UPDATE review SET
        decision = %(decision)s, decided_at = clock_timestamp(), decided_by_id = %(person)s, decided_by_name = %(name)s,
        reason = %(reason)s
    WHERE version_id = %(id)s AND decision = ''
"""
_APPROVE = """
    UPDATE version SET
        state = 'received', sentence = '', attempts = 0, postponed = 0, queued = 0, retry_at = NULL, finished_at = NULL,
        queue_again_at = clock_timestamp()
    WHERE id = %(id)s AND state = 'held'
"""
_REJECT = """
    UPDATE version SET state = 'rejected', sentence = %(sentence)s, finished_at = clock_timestamp()
    WHERE id = %(id)s AND state = 'held'
"""


class ReasonMissing(Exception):
    """A decision needs a reason. `sentence` is for the person."""

    sentence = NO_REASON


async def approve(department: Department, person: Person, version_id: UUID, reason: str, *, address: str = "") -> bool:
    """Lets a held version be read and searched; False if it does not wait any more.

    Raises ReasonMissing, StoreDown or DatabaseDown.
    """
    async with open_store(department) as store:
        decided = await _decide(store, person, version_id, reason, address, Event.DOCUMENT_APPROVED)
        if decided:
            await publish_due(store)
    return decided


async def reject(department: Department, person: Person, version_id: UUID, reason: str, *, address: str = "") -> bool:
    """Keeps a held version out of the search for good; otherwise like `approve`."""
    async with open_store(department) as store:
        return await _decide(store, person, version_id, reason, address, Event.DOCUMENT_REJECTED)


async def _decide(store: Store, person: Person, version_id: UUID, reason: str, address: str, event: Event) -> bool:
    reason = " ".join(reason.replace("\x00", " ").split())[:LONGEST_REASON]
    if not reason:
        raise ReasonMissing
    version = await store.get_version(version_id)
    if version is None:
        return False
    entry = document_entry(event, store.department, version, person=person, address=address, details={"reason": reason})
    async with store.connection() as held, held.transaction():
        for statement, values in _steps(event, person, version, reason):
            if (await held.execute(statement, values)).rowcount == 0:
                return False  # the first statement: somebody else was quicker, and nothing has changed
        await arecord(entry)
    return True


def _steps(
    event: Event, person: Person, version: DocumentVersion, reason: str
) -> list[tuple[LiteralString, dict[str, Any]]]:
    """The version first: two decisions wait for each other there, and the second finds nothing to change."""
    who = {"person": person.id, "name": person.name, "reason": reason, "id": version.id}
    if event is Event.DOCUMENT_APPROVED:
        return [(_APPROVE, who), (_DECIDE, who | {"decision": "approved"})]
    sentence = REJECTED.format(name=person.name, reason=reason)
    return [(_REJECT, who | {"sentence": sentence}), (_DECIDE, who | {"decision": "rejected"})]
