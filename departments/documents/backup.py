"""Backing up a department's store and bringing it back, with PostgreSQL's own pg_dump and pg_restore.

Rules:
- One file holds one store, in pg_dump's custom format. It names its database, and no other store takes it.
- Both programs enter as the department's own role, with the credential of the secret manager: a backup can neither read
  nor write more than the department. They never see the provisioner.
- A restore is one transaction: before it is done everybody sees the store as it was, after it as it was backed up.
- What was deleted since stays deleted. The record knows every deletion; what a backup brings back is deleted again.
- Originals are files and are backed up as files; login roles and passwords are not in a backup.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast
from uuid import UUID

import psycopg
from django.conf import settings
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from departments.documents import statements
from departments.documents.credentials import Credential, credential_name, parse_credential
from departments.documents.deletion import finish_deletions
from departments.documents.schema import upgrade, version_of
from departments.documents.store import open_store
from departments.keys.reader import current_vault, record_secret_read
from departments.loop import run
from departments.models import Department

CLEAR = Path(__file__).parent / "sql" / "clear.sql"
PIECE = 1 << 20
NOBODY = UUID(int=0)

# Lines of `pg_restore --list` that belong to the server or to the template; the store's role could not make them.
NOT_OURS = re.compile(r"^\d+; \d+ \d+ (?:ACL|COMMENT|DATABASE|EXTENSION|SCHEMA)\b")


class BackupFailed(Exception):
    """A backup or a restore did not happen, and the store is as it was; the message says why and what to do."""


@dataclass(frozen=True)
class BackupReceipt:
    """What was written. `schema` is the number of the store's schema, `size` in bytes, `sha256` of the whole file."""

    database: str
    schema: int
    size: int
    sha256: str
    at: datetime


@dataclass(frozen=True)
class RestoreReceipt:
    """What was brought back. `deleted_again` are the documents of the backup that had been deleted since."""

    database: str
    schema: int
    documents: int
    deleted_again: tuple[str, ...]
    sha256: str
    at: datetime


def back_up_store(department: Department, file: Path, *, reason: str = "", name: str = "") -> BackupReceipt:
    """Writes the department's store into `file`, which must not exist yet and only its owner may read.

    Raises BackupFailed, VaultError, psycopg.Error, OSError; what was begun of the file is removed.
    """
    credential = _credential(department, "a store is backed up")
    with psycopg.connect(credential.conninfo(), autocommit=True) as store:
        schema = version_of(store)
    file.touch(mode=0o600, exist_ok=False)
    try:
        _run(credential, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    receipt = BackupReceipt(credential.database, schema, file.stat().st_size, _sha256(file), timezone.now())
    _note(department, Event.STORE_BACKED_UP, asdict(receipt), reason, name)
    return receipt


def restore_store(department: Department, file: Path, *, reason: str = "", name: str = "") -> RestoreReceipt:
    """Replaces everything in the department's store by what `file` holds and deletes again what was deleted since.

    The store must be there; an empty one will do. The schema of an older backup is brought up to date. May be repeated.
    Raises BackupFailed, VaultError, StoreDown, psycopg.Error, OSError.
    """
    credential = _credential(department, "a store is restored")
    contents = _contents(file, credential)
    with tempfile.NamedTemporaryFile("w", suffix=".list") as wanted:
        wanted.write("\n".join(line for line in contents if not NOT_OURS.match(line)))
        wanted.flush()
        _replace(credential, file, wanted.name)
    with psycopg.connect(credential.conninfo(), autocommit=True) as store:
        schema = upgrade(store)
    documents, again = run(_delete_again(department))
    receipt = RestoreReceipt(credential.database, schema, documents, again, _sha256(file), timezone.now())
    _note(department, Event.STORE_RESTORED, asdict(receipt), reason, name)
    return receipt


def _contents(file: Path, credential: Credential) -> list[str]:
    """The table of contents. BackupFailed for what is no backup, or one of another store."""
    lines = _run(credential, "pg_restore", "--list", str(file)).splitlines()
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(";     dbname:")), "")
    if named != credential.database:
        raise BackupFailed(f"This is a backup of {named or 'no store'}, not of {credential.database}.")
    return lines


def _replace(credential: Credential, file: Path, wanted: str) -> None:
    """One transaction of psql's, from pg_restore's statements as they come. It ends only if every one of them came."""
    read = [_program("pg_restore"), "--no-owner", "--no-privileges", f"--use-list={wanted}", "--file=-", str(file)]
    write = [_program("psql"), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--file=-"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(read, stdout=subprocess.PIPE, stderr=said) as reading,
        subprocess.Popen(
            write, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=_entry_of(credential)
        ) as writing,
    ):
        complete = _hand_on(reading, writing)
        if not complete:
            writing.kill()  # before its input ends, which it would take for the end of the work
        if writing.wait() or not complete:
            said.seek(0)
            raise BackupFailed(f"The store is as it was. {_complaint(said.read().decode(errors='replace'))}")


def _hand_on(reading: subprocess.Popen[bytes], writing: subprocess.Popen[bytes]) -> bool:
    """Clears the store, then hands the statements on; whether all of them were read and written."""
    source, target = cast("IO[bytes]", reading.stdout), cast("IO[bytes]", writing.stdin)
    try:
        target.write(CLEAR.read_bytes())
        shutil.copyfileobj(source, target, PIECE)
        target.flush()
    except BrokenPipeError:  # psql has met an error and says which
        reading.kill()
        with suppress(BrokenPipeError):
            target.close()
    if reading.wait():
        return False
    target.close()
    return True


async def _delete_again(department: Department) -> tuple[int, tuple[str, ...]]:
    """Deletes what the record says was deleted, in the name of whoever did it: how many stay, and which went."""
    async with open_store(department) as store:
        async with store.connection() as held:
            there = {str(row["id"]) for row in await (await held.execute(statements.DOCUMENT_IDS)).fetchall()}
        deletions = AuditEvent.objects.filter(
            department_id=department.pk, event=Event.DOCUMENT_DELETED, subject_id__in=there
        )
        gone = {event.subject_id: event async for event in deletions}
        for document, event in gone.items():
            await store.withdraw(UUID(document), event.actor_id or NOBODY, event.actor_name)
        await finish_deletions(store)
    return len(there) - len(gone), tuple(sorted(gone))


def _run(credential: Credential, program: str, *arguments: str) -> str:
    """What a program prints. BackupFailed with the last line that it complained with."""
    command = [_program(program), *arguments]
    done = subprocess.run(command, env=_entry_of(credential), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupFailed(_complaint(done.stderr))
    return done.stdout


def _program(name: str) -> str:
    found = shutil.which(name, path=settings.POSTGRES_PROGRAMS or None)
    if found is None:
        raise BackupFailed(f"There is no {name} here: install PostgreSQL's client, or set CHATGRID_POSTGRES_PROGRAMS.")
    return found


def _entry_of(credential: Credential) -> dict[str, str]:
    """How PostgreSQL's programs enter the store: by their environment, which no other user of the machine can read."""
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("PGSSL")},
        "PGHOST": credential.host,
        "PGPORT": str(credential.port),
        "PGDATABASE": credential.database,
        "PGUSER": credential.login,
        "PGPASSWORD": credential.password.reveal(),
        "PGAPPNAME": "chatgrid-backup",
        **({"PGSSLMODE": credential.tls} if credential.tls else {}),
    }


def _credential(department: Department, why: str) -> Credential:
    if not department.store_ready:
        raise BackupFailed("This department has no store: make it first with `manage.py provision_departments apply`.")
    name = credential_name(department)
    version = current_vault().get_current(name)
    record_secret_read(name, version, why)
    return parse_credential(version)


def _complaint(said: str) -> str:
    """The first error that a program printed, without the lines on where it met it."""
    lines = [line for line in said.splitlines() if re.search(r"\b(?:error|FATAL):", line, re.IGNORECASE)]
    return next(iter(lines or said.splitlines()), "It did not say why.")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _note(department: Department, event: Event, receipt: dict[str, Any], reason: str, name: str) -> None:
    details = {key: value for key, value in receipt.items() if key not in ("database", "at")} | {"reason": reason}
    entry = Entry(
        event=event,
        **department.in_record,
        actor_name=name,
        subject_kind="store",
        subject_id=department.store_name,
        details=details,
    )
    record(entry)
