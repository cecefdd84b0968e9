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
  is itself sealed the month is dropped, by a database function that checks all of this again.
Each step can be repeated; a crash leaves the month standing, and the next run goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from psycopg import Connection, sql

from audit.events import Event
from audit.merkle import root
from audit.models import RetentionPolicy
from audit.signing import Seal
from audit.verify_export import leaf_of, parquet_events
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
SEALS_OF = """
    SELECT n, at, first_seq, last_seq, root, previous, public_key, signature FROM audit_seal
    WHERE n IN (SELECT DISTINCT seal FROM audit_leaf WHERE {}) ORDER BY n
"""

logger = logging.getLogger(__name__)


class ArchiveDamaged(Exception):
    """What was read back from the archive is not what the seals cover. Nothing was dropped."""


@dataclass(frozen=True)
class Archived:
    """What lies in the archive: the names of the two objects, their SHA-256, and how much is in them."""

    name: str
    sha256: str
    seals_name: str
    seals_sha256: str
    events: int
    seals: list[int]


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
    dropped = []
    for (month,) in connection.execute(MONTHS).fetchall():
        if not _is_due(connection, month):
            continue
        if not _is_announced(connection, month):
            archived = archive(connection, month, storage or storages["archive"])
            _announce(connection, month, archived)
        elif _is_announcement_sealed(connection, month):
            count = _one(connection, "SELECT audit_drop_month(%s)", [month])
            logger.warning("the record of %s was dropped: %d events", month, count)
            dropped.append(month)
    return dropped


def archive(connection: Connection[Any], month: str, storage: Storage) -> Archived:
    """The month's sealed events as Parquet and its seals as JSON lines, both read back. Raises ArchiveDamaged."""
    seals = _seals_of(connection, month)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as beside:
        events = _write_events(connection, month, file)
        beside.writelines(json.dumps(seal.as_json()).encode() + b"\n" for seal in seals)
        digest, seals_digest = _digest(file), _digest(beside)
        name = _save(storage, f"record/{month}-{digest[:16]}.parquet", file)
        seals_name = _save(storage, f"record/{month}-{digest[:16]}.seals.jsonl", beside)
    archived = Archived(name, digest, seals_name, seals_digest, events, [seal.n for seal in seals])
    verify_archive(storage, archived)
    return archived


def verify_archive(storage: Storage, archived: Archived) -> None:
    """Read an archive to its end: digests, count, every event under the root of its seal, every seal signed.

    Raises ArchiveDamaged.
    """
    with tempfile.TemporaryDirectory() as name:
        events, seals = Path(name, "events"), Path(name, "seals")
        _fetch(storage, archived.name, events, archived.sha256)
        _fetch(storage, archived.seals_name, seals, archived.seals_sha256)
        with seals.open(encoding="utf-8") as lines:
            known = {seal.n: seal for seal in map(Seal.from_json, map(json.loads, lines))}
        by_seal = groupby(parquet_events(events), key=lambda event: int(event["seal"]))
        found = sum(_verify_seal(known, number, group) for number, group in by_seal)
    if found != archived.events:
        raise ArchiveDamaged(f"{found} events are in the archive, {archived.events} were written")


def _fetch(storage: Storage, name: str, place: Path, digest: str) -> None:
    with storage.open(name) as stored, place.open("wb+") as file:
        for chunk in stored.chunks():
            file.write(chunk)
        if _digest(file) != digest:
            raise ArchiveDamaged(f"{name} has another digest than what was written")


def _save(storage: Storage, name: str, file: IO[bytes]) -> str:
    file.seek(0)
    return storage.save(name, File(file))


def _verify_seal(seals: dict[int, Seal], number: int, events: Iterable[dict[str, Any]]) -> int:
    seal, leaves = seals.get(number), [leaf_of(event) for event in events]
    if seal is None or not seal.is_signed() or root(leaves) != seal.root:
        raise ArchiveDamaged(f"what the archive holds under seal {number} is not what was sealed")
    return len(leaves)


def _seals_of(connection: Connection[Any], month: str) -> list[Seal]:
    query = sql.SQL(SEALS_OF).format(_inside(month, "at"))
    return [Seal(*row) for row in connection.execute(query)]


def _write_events(connection: Connection[Any], month: str, file: IO[bytes]) -> int:
    """The month's events as Parquet; how many."""
    from audit.parquet import parquet_of  # a worker that ends no month does not carry the library

    count = 0

    def take(seq: int, seal: int) -> None:
        nonlocal count
        count += 1

    condition = sql.SQL("{} AND {}").format(_inside(month, "l.at"), _inside(month, "e.at"))
    file.writelines(parquet_of(connection, condition, take))
    return count


def _inside(month: str, column: str) -> sql.Composed:
    """The time in this column lies in the month."""
    begins = sql.SQL("to_date({}, 'YYYY_MM')::timestamp AT TIME ZONE 'UTC'").format(sql.Literal(month))
    ends = sql.SQL("(to_date({}, 'YYYY_MM') + interval '1 month')::timestamp AT TIME ZONE 'UTC'").format(
        sql.Literal(month)
    )
    return sql.SQL("{0} >= {1} AND {0} < {2}").format(sql.SQL(column), begins, ends)


def _announce(connection: Connection[Any], month: str, archived: Archived) -> None:
    entry = Entry(
        event=Event.MONTH_DROPPED,
        subject_kind="month",
        subject_id=month,
        details={
            "events": archived.events,
            "seals": ranges(archived.seals),
            "earlier": _earlier(connection),
            "archive": archived.name,
            "sha256": archived.sha256,
            "archive_seals": archived.seals_name,
            "seals_sha256": archived.seals_sha256,
        },
    )
    record_with(connection, entry)


def _earlier(connection: Connection[Any]) -> dict[str, Any]:
    """Months that were announced before: their own events go one day, and what they said must not."""
    row = connection.execute(
        "SELECT subject_id, details FROM audit_event WHERE event = %s ORDER BY at DESC LIMIT 1", [Event.MONTH_DROPPED]
    ).fetchone()
    return {} if row is None else {**row[1]["earlier"], row[0]: row[1]["seals"]}


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


def _is_announced(connection: Connection[Any], month: str) -> bool:
    """With as many events as there are: one that came late means a new archive and a new announcement."""
    query = sql.SQL(
        "SELECT EXISTS (SELECT FROM audit_event WHERE event = {} AND subject_id = {} AND"
        " (details->>'events')::bigint = (SELECT count(*) FROM audit_event WHERE {}))"
    ).format(sql.Literal(Event.MONTH_DROPPED.value), sql.Literal(month), _inside(month, "at"))
    return bool(_one(connection, query, []))


def _is_announcement_sealed(connection: Connection[Any], month: str) -> bool:
    query = (
        "SELECT bool_and(l.event_id IS NOT NULL) FROM audit_event e"
        " LEFT JOIN audit_leaf l ON l.event_id = e.id AND l.at = e.at WHERE e.event = %s AND e.subject_id = %s"
    )
    return bool(_one(connection, query, [Event.MONTH_DROPPED, month]))


def _one(connection: Connection[Any], query: str | sql.Composed, values: Any) -> Any:
    row = connection.execute(query, values).fetchone()
    return row and row[0]


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
