"""Checks that the record is what was sealed, and names the first place that is not.

What is checked, for every seal in its order: the signature and that its key may sign; that its number and its events
follow the seal before, whose digest it names; that each of its leaves has its event; each leaf computed again from the
event; the root computed again. Then: events without a leaf, the anchors outside, the age of the newest seal, and for
months that are gone their sealed end, which must name seals that were old enough by then. Each text of a question that
is still kept is held against the hash that was sealed with its event. At last the sums behind the charts, added up
again from the events.

Trust comes from outside the database: the public keys an operator names, or those the anchors hold. A key that comes
later must be named by an event under a seal of the key before it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from audit.anchors import Anchor, AnchorDown
from audit.events import Event
from audit.findings import Finding, Kind, Report, Severity
from audit.leaves import ABSENT, columns, copy_rows, leaf_of_row
from audit.merkle import root
from audit.rollups import differences, stretches
from audit.signing import NO_PREVIOUS, Announcement, Seal, key_id

PAGE = 20_000  # events that are looked at together
SEAL_PAGE = 2_000
FRESH = timedelta(minutes=3)
LATE = timedelta(minutes=15)
LEAST_KEPT = timedelta(days=90)
# an event is sealed within minutes; the rest is for a sealer that stood still
OLD_ENOUGH = LEAST_KEPT - timedelta(days=30)

# what follows the event in a row: seq, seal, event id and hash of its leaf, each after its length
_TAIL = struct.Struct(">iqiqi16si32s")
_ROWS = sql.SQL("""
    SELECT {columns}, l.seq, l.seal, l.event_id, l.hash
    FROM audit_leaf l LEFT JOIN audit_event e ON e.id = l.event_id AND e.at = l.at
    WHERE l.seq BETWEEN {first} AND {last} ORDER BY l.seq
""")
_SEALS = """
    SELECT n, at, first_seq, last_seq, root, previous, public_key, signature FROM audit_seal
    WHERE n > %s ORDER BY n LIMIT %s
"""
_WITHOUT_LEAF = """
    SELECT e.id, e.at, count(*) OVER () FROM audit_event e
    WHERE e.at < audit_now() - interval '3 minutes'
    AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id AND l.at = e.at) ORDER BY e.at LIMIT 1
"""
_BEYOND = "SELECT min(seq), count(*) FROM audit_leaf WHERE seq > %s"
_ENDS = """
    SELECT e.id, s.at, e.subject_id, e.details FROM audit_event e
    JOIN audit_leaf l ON l.event_id = e.id AND l.at = e.at JOIN audit_seal s ON s.n = l.seal
    WHERE e.event = %s ORDER BY s.n
"""
_OTHER_TEXTS = """
    SELECT l.seal, l.seq, e.id, count(*) OVER () FROM audit_text t JOIN audit_event e ON e.id = t.event_id
    LEFT JOIN audit_leaf l ON l.event_id = e.id AND l.at = e.at
    WHERE e.query_hash <> encode(sha256(t.salt || convert_to(t.text, 'UTF8')), 'hex')
    ORDER BY l.seq LIMIT 1
"""
_MARKS = "SELECT anchor, seal FROM audit_anchor_state ORDER BY anchor"
_LATE = """
    SELECT s.n, s.late, (
        SELECT min(l.at) FROM audit_leaf l WHERE l.seq BETWEEN s.first_seq AND s.last_seq
    ), (SELECT max(p.at) FROM audit_seal p WHERE p.n < s.n) FROM audit_seal s WHERE s.late > 0 ORDER BY s.n
"""


Progress = Callable[[int, int], None]


@dataclass
class _Trust:
    """Which keys may sign the next seal: those of the start, then the last one that signed and its successors."""

    allowed: set[bytes]
    announced: list[Announcement] = field(default_factory=list)

    def accepts(self, public_key: bytes) -> bool:
        successors = {each.new for each in self.announced if each.old in self.allowed}
        if public_key not in self.allowed | successors:
            return False
        self.allowed = {public_key}
        return True


_Leaf = tuple[int, bytes, bytes, bytes]
"""A leaf's seal, its event's id, its stored hash, and the hash of the event as it is now (empty without an event)."""


class Verifier:
    """One verification over one connection, which may be any role that reads events, leaves and seals."""

    def __init__(
        self,
        connection: Connection[Any],
        *,
        trusted: Sequence[bytes] = (),
        anchors: Sequence[Anchor] = (),
        anchored_after: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """`trusted`: public keys that may have signed the first seal. Empty: the one of the anchors' first seal.

        Anchors are compared from the seal after `anchored_after` on: a bucket of a year holds half a million objects.
        """
        self._connection, self._anchors, self._anchored_after = connection, anchors, anchored_after
        self._progress = progress or (lambda done, total: None)
        self._report = Report()
        self._trust = _Trust(set(trusted))
        self._anchored: dict[str, dict[int, Seal]] = {}
        self._marks: dict[str, int] = {}  # the newest seal that the sealer says it has carried to each place
        self._ended: dict[int, datetime] = {}  # seals whose months are gone, and when that was announced
        self._ended_months: set[str] = set()
        self._now = datetime.now(UTC)

    def verify(self) -> Report:
        """Everything, in one snapshot of the database."""
        # marks, then places, then the snapshot: each of them holds at least what the one before it did
        self._marks = dict(self._connection.execute(_MARKS).fetchall())
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._read_anchors()
            self._read_ends()
            self._read_announcements()
            self._check_seals()
            self._check_unsealed()
            self._check_texts()
            self._check_late()
            self._check_age()
            self._check_sums()
        self._compare_anchors()
        self._report.findings.sort(key=lambda each: (each.seal or 1 << 62, each.seq or 0))
        return self._report

    def _find(self, kind: Kind, seal: int | None = None, **more: Any) -> None:
        self._report.findings.append(Finding(kind, seal, **more))

    # -- anchors

    def _read_anchors(self) -> None:
        for anchor in self._anchors:
            try:
                held = anchor.read(self._anchored_after)
                if held is None:
                    continue
                self._anchored[anchor.name] = self._oldest_of(anchor, held)
            except AnchorDown as error:
                self._find(Kind.ANCHOR_DOWN, words=str(error))
        if not self._trust.allowed:
            self._trust.allowed = {held[1].public_key for held in self._anchored.values() if 1 in held}

    def _oldest_of(self, anchor: Anchor, held: Iterator[Seal]) -> dict[int, Seal]:
        """One seal a number: the one that was there first. A second, different one is a finding."""
        kept: dict[int, Seal] = {}
        for seal in held:
            if kept.setdefault(seal.n, seal) != seal:
                self._find(Kind.ANCHOR_DIFFERS, seal.n, words=f"{anchor.name} holds two")
        return kept

    def _compare_anchors(self) -> None:
        last = self._report.last
        for name, held in self._anchored.items():
            newest = max(held, default=0)
            self._report.anchors[name] = newest
            reached = last.n if last else 0
            if newest > reached:
                lost = f"{name} holds {newest - reached} more, up to {newest}"
                self._find(Kind.ANCHOR_MISSING, reached + 1, words=lost)
            elif newest < min(reached, self._marks.get(name, 0)):
                self._find(
                    Kind.ANCHOR_BEHIND, newest + 1, words=f"{name} had been given those up to {self._marks[name]}"
                )
            elif last is not None and newest < reached and self._now - last.at > FRESH:
                self._find(Kind.ANCHOR_BEHIND, newest + 1, words=name)
        self._compare_marks(last.n if last else 0)

    def _compare_marks(self, reached: int) -> None:
        """Seals that the sealer has carried somewhere are here, whatever that place shows today."""
        name = max(self._marks, key=lambda each: self._marks[each], default="")
        if name and self._marks[name] > reached:
            self._find(Kind.CUT_OFF, reached + 1, words=f"{name} had been given those up to {self._marks[name]}")

    def _compare_anchored(self, seal: Seal) -> None:
        for name, held in self._anchored.items():
            if seal.n in held and held[seal.n] != seal:
                self._find(Kind.ANCHOR_DIFFERS, seal.n, words=name)
            elif self._anchored_after < seal.n < max(held, default=0) and seal.n not in held:
                self._find(Kind.ANCHOR_BEHIND, seal.n, words=f"{name} skips it")

    # -- months that are gone, keys that came later

    def _read_ends(self) -> None:
        """Only an end that is sealed counts, and its time is the seal's: an event's own could have been chosen."""
        newest = self._connection.execute("SELECT coalesce(max(n), 0) FROM audit_seal").fetchone()
        for event_id, at, month, details in self._connection.execute(_ENDS, [Event.MONTH_DROPPED]):
            try:
                is_old, months, numbers = _end_of(month, details, at, newest[0] if newest else 0)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
                self._find(Kind.MONTH_UNCLEAR, event_id=event_id)
                continue
            if not is_old:
                self._find(Kind.MONTH_TOO_YOUNG, event_id=event_id, words=month)
                continue
            self._ended_months.update(months)
            self._ended.update(dict.fromkeys(numbers, at))

    def _read_announcements(self) -> None:
        rows = self._connection.execute("SELECT old, new, signature FROM audit_seal_key")
        announced = [Announcement(*row) for row in rows]
        self._trust.announced = [each for each in announced if each.is_signed()]

    # -- seals and their events

    def _check_seals(self) -> None:
        row = self._connection.execute("SELECT coalesce(max(last_seq), 0), audit_now() FROM audit_seal").fetchone()
        total, self._now = row or (0, datetime.now(UTC))
        previous: Seal | None = None
        for page in self._pages():
            # numbers that nobody signed may be any numbers, and as many
            signed = [seal for seal in page if seal.is_signed()]
            leaves = self._leaves(signed[0].first, signed[-1].last) if signed else {}
            numbers = {seal.n for seal in signed}
            for seal in page:
                self._check_statement(seal, previous, is_signed=seal.n in numbers)
                self._compare_anchored(seal)
                if seal.n in numbers:
                    self._check_events(seal, leaves)
                previous = seal
            self._progress(min(page[-1].last, total), total)
        self._report.last = previous
        self._report.keys = sorted(map(key_id, self._trust.allowed))
        self._check_beyond(previous.last if previous else 0)

    def _pages(self) -> Iterator[list[Seal]]:
        """Seals in their order, as many at a time as have `PAGE` events together."""
        after, page, events = 0, [], 0
        while rows := self._connection.execute(_SEALS, [after, SEAL_PAGE]).fetchall():
            for row in rows:
                seal = Seal(*row)
                page.append(seal)
                events += seal.count
                if events >= PAGE or len(page) >= SEAL_PAGE:
                    yield page
                    page, events = [], 0
            after = rows[-1][0]
        if page:
            yield page

    def _check_statement(self, seal: Seal, previous: Seal | None, *, is_signed: bool) -> None:
        self._report.seals += 1
        expected = previous.n + 1 if previous else 1
        if seal.n != expected:
            self._find(Kind.SEAL_MISSING, expected, words=f"{seal.n - expected} of them")
        elif seal.previous != (previous.digest if previous else NO_PREVIOUS):
            self._find(Kind.CHAIN, seal.n)
        if seal.first != (previous.last + 1 if previous else 1) and seal.n == expected:
            self._find(Kind.NUMBERS, seal.n)
        if not is_signed:
            self._find(Kind.SIGNATURE, seal.n)
        elif not self._trust.accepts(seal.public_key):
            self._find(Kind.KEY, seal.n, words=seal.key)

    def _leaves(self, first: int, last: int) -> dict[int, _Leaf]:
        query = _ROWS.format(columns=columns("e"), first=sql.Literal(first), last=sql.Literal(last))
        found: dict[int, _Leaf] = {}
        for row in copy_rows(self._connection, query):
            _, seq, _, seal, _, event_id, _, stored = _TAIL.unpack_from(row, len(row) - _TAIL.size)
            now = b"" if row[2:6] == ABSENT else leaf_of_row(row, _TAIL.size)
            found[seq] = (seal, event_id, stored, now)
        return found

    def _check_events(self, seal: Seal, leaves: Mapping[int, _Leaf]) -> None:
        held = [leaves.get(seq) for seq in range(seal.first, seal.last + 1)]
        if seal.n in self._ended and not any(held):
            self._check_expired(seal)
            return
        self._report.events += len(held)
        bad = [finding for seq, leaf in enumerate(held, seal.first) if (finding := _check_leaf(seal, seq, leaf))]
        self._report.findings += bad
        if not bad and root([leaf[3] for leaf in held if leaf]) != seal.root:
            self._find(Kind.ROOT, seal.n)

    def _check_expired(self, seal: Seal) -> None:
        self._report.expired_seals += 1
        if self._ended[seal.n] - seal.at < OLD_ENOUGH:
            words = f"it was made at {seal.at:%Y-%m-%d %H:%M}, and its events are gone"
            self._find(Kind.MONTH_TOO_YOUNG, seal.n, words=words)

    def _check_beyond(self, last: int) -> None:
        row = self._connection.execute(_BEYOND, [last]).fetchone()
        if row and row[1]:
            self._find(Kind.BEYOND, (self._report.last.n if self._report.last else 0) + 1, seq=row[0])

    def _check_unsealed(self) -> None:
        row = self._connection.execute(_WITHOUT_LEAF).fetchone()
        if row:
            self._find(Kind.UNSEALED, event_id=row[0], words=f"{row[2]} of them, the first of {row[1]:%Y-%m-%d %H:%M}")

    def _check_texts(self) -> None:
        row = self._connection.execute(_OTHER_TEXTS).fetchone()
        if row:
            seal, seq, event_id, count = row
            self._find(Kind.TEXT_CHANGED, seal, seq=seq, event_id=event_id, words=f"{count} of them")

    def _check_late(self) -> None:
        """Late events: explained where no seal was made since they happened, else worth a question."""
        for n, late, oldest, before in self._connection.execute(_LATE):
            waited = before is None or oldest is None or oldest >= before - LATE
            words = f"{late} of them" + ("" if waited else f", from {oldest:%Y-%m-%d %H:%M} on, while seals were made")
            self._find(Kind.LATE, n, words=words, severity=Severity.REMARK)

    def _check_age(self) -> None:
        last = self._report.last
        if last is None:
            self._find(Kind.NO_SEAL)
        elif self._now - last.at > FRESH:
            self._find(Kind.STALE, last.n, words=f"the newest is of {last.at:%Y-%m-%d %H:%M}")

    def _check_sums(self) -> None:
        """Month by month, so that whoever watches sees that it goes on; the sums of a month that ended end with it."""
        numbers = self._report.last.last if self._report.last else 0
        with self._connection.cursor() as cursor:
            for first, last in stretches(cursor):
                rows = differences(cursor, first, last)
                days = sorted(day for *_, day in (row[:5] for row in rows) if f"{day:%Y_%m}" not in self._ended_months)
                if days:
                    words = f"{len(days)} rows, the first of {days[0]}; `manage.py roll_up --rebuild` makes them again"
                    self._find(Kind.SUMS, words=words)
                self._progress(numbers, numbers)


def _check_leaf(seal: Seal, seq: int, leaf: _Leaf | None) -> Finding | None:
    if leaf is None:
        return Finding(Kind.LEAF_MISSING, seal.n, seq)
    of_seal, event_id, stored, now = leaf
    if of_seal == seal.n and now == stored:
        return None
    kind = Kind.EVENT_CHANGED if now else Kind.EVENT_MISSING
    return Finding(kind if of_seal == seal.n else Kind.LEAF_FOREIGN, seal.n, seq, UUID(bytes=event_id))


def _end_of(
    month: str, details: Mapping[str, Any], announced: datetime, newest: int
) -> tuple[bool, list[str], Iterator[int]]:
    """Of the announcement of a month's end: whether the month was old enough, the months and the seals it is about.

    Whoever can write events can write this one, with anything in it: ValueError, TypeError, KeyError, AttributeError
    or OverflowError where it says nothing.
    """
    earlier = details.get("earlier", {})
    spans = [(int(first), int(last)) for ranges in (*earlier.values(), details["seals"]) for first, last in ranges]
    numbers = (number for first, last in spans for number in range(max(first, 1), min(last, newest) + 1))
    return announced - end_of_month(month) >= LEAST_KEPT, [month, *earlier], numbers


def end_of_month(month: str) -> datetime:
    """The moment in UTC at which the month `YYYY_MM` is over."""
    year, number = map(int, month.split("_"))
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
