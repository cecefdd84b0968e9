"""A month of the record in object storage: its events as Parquet, its seals as JSON lines, verified by reading it back.

Rules:
- What was written counts for nothing until it was read back to its end: digests, number of events, each event's leaf
  under the root of its seal, each seal's signature.
- The event that announces the end of a month holds names and digests, and those of every month before it, because the
  earlier announcements end with their own months. Whoever can write events can write such a one: none takes away what
  another has said, and what is none of ours is passed over.
- A half-written object is nobody's archive: no event names it, and the next run writes another.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import Storage
from psycopg import Connection, sql

from audit.events import Event
from audit.merkle import root
from audit.signing import Seal
from audit.verify_export import leaf_of, parquet_events

SEALS_OF = """
    SELECT n, at, first_seq, last_seq, root, previous, public_key, signature FROM audit_seal
    WHERE n IN (SELECT DISTINCT seal FROM audit_leaf WHERE {}) ORDER BY n
"""
ENDS = "SELECT subject_id, details FROM audit_event WHERE event = %s ORDER BY at, id"
PLACE = {"name": str, "sha256": str, "seals_name": str, "seals_sha256": str, "events": int}
NAME = re.compile(r"record/\d[\w.-]{1,100}")  # as `archive` names them; a storage may add to a name that is taken


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
        try:
            found = _verified(events, seals)
        except ArchiveDamaged:
            raise
        # whatever a file that is no archive does to its readers
        except Exception as error:
            raise ArchiveDamaged(f"{archived.name} cannot be read: {type(error).__name__}") from error
    if found != archived.events:
        raise ArchiveDamaged(f"{found} events are in the archive, {archived.events} were written")


def _verified(events: Path, seals: Path) -> int:
    """The number of events, each of them under the root of its seal."""
    with seals.open(encoding="utf-8") as lines:
        known = {seal.n: seal for seal in map(Seal.from_json, map(json.loads, lines))}
    by_seal = groupby(parquet_events(events), key=lambda event: int(event["seal"]))
    return sum(_verify_seal(known, number, group) for number, group in by_seal)


def check_archives(connection: Connection[Any], storage: Storage) -> Iterator[tuple[str, str]]:
    """Every month that was ever archived, and what is wrong with its archive; "" where nothing is.

    Read to its end as before the drop: what the record announced is compared with what lies there today.
    """
    _, archives = announced(connection)
    for month, held in sorted(archives.items()):
        try:
            verify_archive(storage, Archived(**held, seals=[]))
            yield month, ""
        except ArchiveDamaged as error:
            yield month, str(error)
        except FileNotFoundError:
            yield month, f"{held['name']} or its seals are not there any more"


def announced(connection: Connection[Any]) -> tuple[dict[str, list[list[int]]], dict[str, dict[str, Any]]]:
    """What all announcements together say: the ranges of seals of each month that ended, and its newest archive."""
    seals: dict[str, list[list[int]]] = {}
    archives: dict[str, dict[str, Any]] = {}
    for month, details in connection.execute(ENDS, [Event.MONTH_DROPPED]):
        try:
            said = {**details.get("earlier", {}), month: details["seals"]}
            ranges = {name: [[int(first), int(last)] for first, last in held] for name, held in said.items()}
            places = {name: held for name, held in details.get("archives", {}).items() if is_place(held)}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        for name, held in ranges.items():
            known = seals.setdefault(name, [])
            known += [each for each in held if each not in known]
        own = {month: places[month]} if month in places else {}
        archives = {**places, **archives, **own}
    return seals, archives


def is_place(held: Any) -> bool:
    """Whether this is where an archive lies, as an announcement of ours holds it."""
    if not isinstance(held, dict) or {name: type(value) for name, value in held.items()} != PLACE:
        return False
    return all(NAME.fullmatch(held[name]) for name in ("name", "seals_name"))


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
    query = sql.SQL(SEALS_OF).format(inside(month, "at"))
    return [Seal(*row) for row in connection.execute(query)]


def _write_events(connection: Connection[Any], month: str, file: IO[bytes]) -> int:
    """The month's events as Parquet; how many."""
    from audit.parquet import parquet_of  # a worker that ends no month does not carry the library

    count = 0

    def take(seq: int, seal: int) -> None:
        nonlocal count
        count += 1

    condition = sql.SQL("{} AND {}").format(inside(month, "l.at"), inside(month, "e.at"))
    file.writelines(parquet_of(connection, condition, take))
    return count


def inside(month: str, column: str) -> sql.Composed:
    """The time in this column lies in the month."""
    begins = sql.SQL("to_date({}, 'YYYY_MM')::timestamp AT TIME ZONE 'UTC'").format(sql.Literal(month))
    ends = sql.SQL("(to_date({}, 'YYYY_MM') + interval '1 month')::timestamp AT TIME ZONE 'UTC'").format(
        sql.Literal(month)
    )
    return sql.SQL("{0} >= {1} AND {0} < {2}").format(sql.SQL(column), begins, ends)


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
