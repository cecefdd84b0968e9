"""The end of a month of the record.

Months are shared by all organizations, so two things end at different times:
- The texts of questions end per organization: `erase_texts` deletes them as soon as the organization's own retention is
  over. Their events stay, with the hash, and still verify.
- A month of events ends as a whole, when the longest retention of the organizations in it is over: `end_months`.

Rules for a month:
- never before 90 days after its last day, whatever a policy says; never under a legal hold of an organization in it;
- whole seals only, which holds because a seal covers events of one month;
- it is archived first: every event with its leaf's number as Parquet, and the seals over them as JSON lines, in the
  storage `archive`, read back and verified against the seals before anything else happens;
- then `record:month_dropped` is written, with the archive's digest, the counts and the seals; and only once that event
  is itself sealed the archive is read back once more, and the month is dropped, by a database function that checks all
  but the archive again. An archive that is damaged by then is made and announced anew.
Each step can be repeated; a crash leaves the month standing, and the next run goes on from there. What stops one month
does not stop the others.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from django.core.files.storage import Storage, storages
from psycopg import Connection, sql
from psycopg.errors import LockNotAvailable

from audit.archive import Archived, ArchiveDamaged, announced, archive, inside, is_place, verify_archive
from audit.events import Event
from audit.models import RetentionPolicy
from audit.writer import Entry, record_with

MONTHS = """
    SELECT substring(relname from 13) AS month FROM pg_inherits
    JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'audit_event'::regclass AND relname ~ '^audit_event_[0-9]{4}_[0-9]{2}$' ORDER BY 1
"""
DUE = """
    SELECT (to_date(%(month)s, 'YYYY_MM') + interval '1 month')::timestamp AT TIME ZONE 'UTC'
        <= audit_now() - make_interval(days => audit_days_kept(%(month)s)) AND NOT audit_is_held(%(month)s)
"""
ERASE = """
    DELETE FROM audit_text t USING audit_event e
    WHERE e.id = t.event_id AND e.organization_id = %(organization)s
        AND e.at < audit_now() - make_interval(days => GREATEST(%(days)s, 90))
        AND t.at < audit_now() - make_interval(days => 90)
"""
PATIENCE = "2s"  # as audit_make_partition has it
logger = logging.getLogger(__name__)


def erase_texts(connection: Connection[Any]) -> int:
    """Erase the texts whose organization's retention is over; how many. `connection` is the retention's role."""
    rows = connection.execute(
        "SELECT e.organization_id, coalesce(p.days, %s) FROM (SELECT DISTINCT organization_id FROM audit_event e"
        " JOIN audit_text t ON t.event_id = e.id WHERE t.at < audit_now() - interval '90 days') e"
        " LEFT JOIN audit_retention_policy p USING (organization_id) WHERE NOT EXISTS ("
        " SELECT FROM audit_legal_hold h WHERE h.organization_id = e.organization_id AND h.lifted_at IS NULL)",
        [RetentionPolicy.DEFAULT_DAYS],
    ).fetchall()
    return sum(_erase_of(connection, organization, days) for organization, days in rows)


def _erase_of(connection: Connection[Any], organization: Any, days: int) -> int:
    with connection.transaction():
        erased = connection.execute(ERASE, {"organization": organization, "days": days}).rowcount
        if erased:
            details = {"texts": erased, "days": days}
            record_with(connection, Entry(event=Event.TEXTS_ERASED, organization_id=organization, details=details))
    return erased


def end_months(connection: Connection[Any], storage: Storage | None = None) -> list[str]:
    """Take every month that is due a step towards its end; the months dropped in this run.

    Run it again after the next seal: a month is archived and announced in one run and dropped in a later one.
    """
    dropped: list[str] = []
    failed: list[Exception] = []
    for (month,) in connection.execute(MONTHS).fetchall():
        try:
            if _is_due(connection, month) and _end(connection, month, storage or storages["archive"]):
                dropped.append(month)
        # a storage is somebody else's class: the operator reads the month here and the error where the run ends
        except Exception as error:
            logger.error("the record of %s stands: %s: %s", month, type(error).__name__, error)
            failed.append(error)
    if failed:
        raise failed[0]
    return dropped


def _end(connection: Connection[Any], month: str, storage: Storage) -> bool:
    """One step; whether it was the last."""
    archived = _announced(connection, month)
    if archived is None:
        _announce(connection, month, archive(connection, month, storage))
        return False
    if not _is_announcement_sealed(connection, month):
        return False
    try:
        verify_archive(storage, archived)
    except (ArchiveDamaged, FileNotFoundError) as error:
        logger.error("the archive of %s is made anew: %s", month, error)
        _announce(connection, month, archive(connection, month, storage))
        return False
    try:
        count = _drop(connection, month)
    except LockNotAvailable:
        logger.warning("the record of %s stands: an export or a verification reads it; the next run drops it", month)
        return False
    logger.warning("the record of %s was dropped: %d events", month, count)
    return True


def _drop(connection: Connection[Any], month: str) -> int:
    """How many events went. It needs the whole record for a moment, and behind a long export that moment would not come
    while every call waits in the queue: so it gives up soon, with LockNotAvailable."""
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
        return int(_one(connection, "SELECT audit_drop_month(%s)", [month]))


def _announce(connection: Connection[Any], month: str, archived: Archived) -> None:
    earlier, archives = announced(connection)
    held = {name: value for name, value in asdict(archived).items() if name != "seals"}
    details = {
        "events": archived.events,
        "seals": ranges(archived.seals),
        "earlier": earlier,
        "archives": {**archives, month: held},
    }
    record_with(connection, Entry(event=Event.MONTH_DROPPED, subject_kind="month", subject_id=month, details=details))


def ranges(numbers: list[int]) -> list[list[int]]:
    """[1, 2, 3, 7] as [[1, 3], [7, 7]]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _is_due(connection: Connection[Any], month: str) -> bool:
    return bool(_one(connection, DUE, {"month": month}))


def _announced(connection: Connection[Any], month: str) -> Archived | None:
    """The newest announcement with as many events as there are: one that came late means a new archive and another."""
    query = sql.SQL(
        "SELECT details->'archives'->{1} FROM audit_event WHERE event = {0} AND subject_id = {1} AND"
        " details->'events' = to_jsonb((SELECT count(*) FROM audit_event WHERE {2})) ORDER BY at DESC LIMIT 1"
    ).format(sql.Literal(Event.MONTH_DROPPED.value), sql.Literal(month), inside(month, "at"))
    held = _one(connection, query, [])
    return Archived(**held, seals=[]) if is_place(held) else None


def _is_announcement_sealed(connection: Connection[Any], month: str) -> bool:
    query = (
        "SELECT bool_and(l.event_id IS NOT NULL) FROM audit_event e"
        " LEFT JOIN audit_leaf l ON l.event_id = e.id AND l.at = e.at WHERE e.event = %s AND e.subject_id = %s"
    )
    return bool(_one(connection, query, [Event.MONTH_DROPPED, month]))


def _one(connection: Connection[Any], query: str | sql.Composed, values: Any) -> Any:
    row = connection.execute(query, values).fetchone()
    return row and row[0]
