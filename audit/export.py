"""Exports of the record that can be verified with nothing but Python and the public key.

An export is a set of files: the events, a proof for each, the seals that the proofs lead to, a manifest with counts and
digests, a receipt that proves the manifest, and the verifier (which needs a library for Parquet alone). Rules:

- It streams: memory does not grow with the number of events, and there is no limit to that number.
- Only sealed events are exported, in the order of their numbers; the newest minute is not in it yet.
- One organization at a time. Filters make it smaller; the events of others are never needed to verify.
- A cell of a CSV that a spreadsheet would take for a formula begins with an apostrophe, and one that begins with an
  apostrophe gets another, so that the original can be had back.
- An export is two events: one before the first row leaves, so that a broken-off export is known too, and one with the
  digest of the manifest. The sealer signs that event like every other, so the web needs no signing key.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

from psycopg import Connection, sql

from audit import ocsf, verify_export
from audit.events import Event
from audit.export_filters import Filters
from audit.export_zip import Member
from audit.leaves import FIELDS
from audit.merkle import levels, path
from audit.rows import ISO, JOINED, sealed_event
from audit.signing import Seal, key_id
from audit.writer import Entry, record_with

RECEIPT_SECONDS = 10.0
CHUNK = 64 * 1024
WORK_MEMORY = "64MB"  # of the database, for sorting: what is more goes to its disk

# the first characters that a spreadsheet may take for a formula, and the apostrophe that guards them
# (a spreadsheet set to Japanese takes the fullwidth signs, too)
_FORMULA = "ascii({0}) IN (61, 43, 45, 64, 9, 10, 13, 39, 65309, 65291, 65293, 65312)"
_SEAL = "SELECT n, at, first_seq, last_seq, root, previous, public_key, signature FROM audit_seal WHERE n = %s"
_HASHES = "SELECT hash FROM audit_leaf WHERE seq BETWEEN %s AND %s ORDER BY seq"


class Format(StrEnum):
    """How the events are written."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    OCSF = "ocsf"
    PARQUET = "parquet"


FILES = {Format.CSV: "events.csv", Format.PARQUET: "events.parquet"}


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Who exports, for the record."""

    actor_id: UUID | None = None
    actor_name: str = ""
    organization_name: str = ""
    client_address: str = ""
    reason: str = ""


@dataclass
class _Manifest:
    """What the export is known by at its end."""

    export_id: UUID
    form: Format
    filters: Filters
    events: int = 0
    seals: int = 0
    keys: set[bytes] = field(default_factory=set)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def encode(self) -> bytes:
        held = {
            "version": 1,
            "export_id": str(self.export_id),
            "format": self.form,
            "filters": self.filters.as_json(),
            "events": self.events,
            "seals": self.seals,
            "public_keys": {key_id(key): key.hex() for key in sorted(self.keys)},
            "files": self.files,
        }
        return json.dumps(held, indent=2).encode() + b"\n"


def export(
    rows: Connection[Any], beside: Connection[Any], filters: Filters, form: Format, who: Exporter
) -> Iterator[Member]:
    """The files of an export, in their order: each must be read to its end before the next.

    `rows` is busy with the events meanwhile; `beside` asks for seals and writes the two events. Both may be the
    application's role, in autocommit mode.
    """
    manifest = _Manifest(uuid4(), form, filters)
    rows.execute(f"SET work_mem = '{WORK_MEMORY}'")
    record_with(beside, _entry(Event.EXPORT_BEGUN, manifest, who))
    with tempfile.TemporaryFile() as proofs, tempfile.TemporaryFile() as seals:
        proving = _Proving(beside, proofs, seals, manifest)
        name = FILES.get(form, "events.jsonl")
        yield name, _digested(manifest, name, _events(rows, filters, form, proving))
        proving.finish()
        yield "proofs.jsonl", _digested(manifest, "proofs.jsonl", _read_back(proofs))
        yield "seals.jsonl", _digested(manifest, "seals.jsonl", _read_back(seals))
    verifier = Path(verify_export.__file__).read_bytes()
    yield "verify_export.py", _digested(manifest, "verify_export.py", [verifier])
    encoded = manifest.encode()
    yield "manifest.json", [encoded]
    finished = _entry(Event.EXPORT_FINISHED, manifest, who, manifest=hashlib.sha256(encoded).hexdigest())
    record_with(beside, finished)
    yield "receipt.json", [_receipt(beside, finished.id)]


def write_folder(members: Iterable[Member], folder: Path) -> None:
    """The files of an export in a new folder."""
    folder.mkdir(mode=0o700, parents=True)
    for name, chunks in members:
        with (folder / name).open("wb") as file:
            file.writelines(chunks)


def _events(rows: Connection[Any], filters: Filters, form: Format, proving: _Proving) -> Iterator[bytes]:
    if form is Format.CSV:
        return _in_chunks(_csv(rows, filters, proving))
    if form is Format.PARQUET:
        from audit.parquet import parquet_of  # a web process that never writes Parquet does not carry the library

        return parquet_of(rows, filters.condition(), proving.take)
    return _in_chunks(_lines(rows, filters, form, proving))


def _in_chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines put together: what follows (digest, file, compression) costs by the piece."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _lines(rows: Connection[Any], filters: Filters, form: Format, proving: _Proving) -> Iterator[bytes]:
    for line in sealed_event(rows, filters.condition()):
        # {"seq":12,"seal":3,"id":"…": the two numbers lead, so no line has to be parsed for them
        seq, seal, _ = line.split(b",", 2)
        proving.take(int(seq[7:]), int(seal[7:]))
        yield (ocsf.of_line(line) if form is Format.OCSF else line) + b"\n"


def _csv(rows: Connection[Any], filters: Filters, proving: _Proving) -> Iterator[bytes]:
    yield ("seq,seal," + ",".join(FIELDS) + "\r\n").encode()
    query = sql.SQL("COPY (SELECT l.seq, l.seal, {} FROM {} WHERE {} ORDER BY l.seq) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(_csv_column(name, kind) for name, kind in FIELDS.items()), JOINED, filters.condition()
    )
    with rows.cursor() as cursor, cursor.copy(query) as copy:
        for data in copy:
            line = bytes(data)
            seq, seal, _ = line.split(b",", 2)
            proving.take(int(seq), int(seal))
            yield line


class _Proving:
    """Collects what proves the exported events, seal by seal, into two files."""

    def __init__(self, connection: Connection[Any], proofs: IO[bytes], seals: IO[bytes], manifest: _Manifest) -> None:
        self._connection, self._proofs, self._seals, self._manifest = connection, proofs, seals, manifest
        self._seal = 0
        self._numbers: list[int] = []

    def take(self, seq: int, seal: int) -> None:
        if seal != self._seal:
            self.finish()
            self._seal = seal
        self._numbers.append(seq)

    def finish(self) -> None:
        """Write the proofs of the seal that is over: none per event where all of its events were exported."""
        if not self._numbers:
            return
        seal = Seal(*_one(self._connection, _SEAL, [self._seal]))
        if len(self._numbers) == seal.count:
            self._proofs.write(b'{"seal": %d, "whole": true}\n' % seal.n)
        else:
            self._write_paths(seal)
        self._seals.write(json.dumps(seal.as_json()).encode() + b"\n")
        self._manifest.events += len(self._numbers)
        self._manifest.seals += 1
        self._manifest.keys.add(seal.public_key)
        self._numbers = []

    def _write_paths(self, seal: Seal) -> None:
        """{"seal": 3, "paths": {"12": ["…", …], …}}, written path by path: together they can be many megabytes."""
        hashes = self._connection.execute(_HASHES, [seal.first, seal.last])
        built = levels([each for (each,) in hashes])
        self._proofs.write(b'{"seal": %d, "paths": {' % seal.n)
        for place, number in enumerate(self._numbers):
            steps = json.dumps([step.hex() for step in path(built, number - seal.first)])
            self._proofs.write(f'{", " if place else ""}"{number}": {steps}'.encode())
        self._proofs.write(b"}}\n")


def _receipt(connection: Connection[Any], event_id: UUID) -> bytes:
    """The export's last event with its proof; where the sealer did not run in time, its id, to be exported later."""
    deadline = time.monotonic() + RECEIPT_SECONDS
    condition = sql.SQL("e.id = {}").format(sql.Literal(event_id))
    while not (lines := list(sealed_event(connection, condition))):
        if time.monotonic() > deadline:
            return json.dumps({"unsealed": str(event_id)}).encode() + b"\n"
        time.sleep(0.2)
    seq, number = json.loads(lines[0])["seq"], json.loads(lines[0])["seal"]
    seal = Seal(*_one(connection, _SEAL, [number]))
    built = levels([each for (each,) in connection.execute(_HASHES, [seal.first, seal.last])])
    proof = {"seal": seal.as_json(), "path": [step.hex() for step in path(built, seq - seal.first)]}
    return b'{"event": ' + lines[0] + b', "proof": ' + json.dumps(proof).encode() + b"}\n"


def _one(connection: Connection[Any], query: str, values: Sequence[Any]) -> Any:
    row = connection.execute(query, values).fetchone()
    assert row is not None  # noqa: S101 a leaf names its seal by a number that the sealer wrote beside it
    return row


def _digested(manifest: _Manifest, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Passes on, and notes size and digest in the manifest when all has passed."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    manifest.files[name] = {"bytes": size, "sha256": digest.hexdigest()}


def _read_back(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK):
        yield chunk


def _entry(event: Event, manifest: _Manifest, who: Exporter, /, **details: Any) -> Entry:
    held: Mapping[str, Any] = {"format": manifest.form, "filters": manifest.filters.as_json(), **details}
    if details:
        held = {**held, "events": manifest.events, "seals": manifest.seals}
    elif who.reason:
        held = {**held, "reason": who.reason}
    return Entry(
        event=event,
        organization_id=manifest.filters.organization_id,
        organization_name=who.organization_name,
        actor_id=who.actor_id,
        actor_name=who.actor_name,
        client_address=who.client_address,
        subject_kind="export",
        subject_id=str(manifest.export_id),
        details=held,
    )


def _csv_column(name: str, kind: str) -> sql.Composed:
    column = sql.Identifier("e", name)
    if kind == "time":
        return sql.SQL(ISO).format(column)
    if kind != "text":
        return sql.Composed([column])
    return sql.SQL("CASE WHEN " + _FORMULA + " THEN '''' || {0} ELSE {0} END").format(column)
