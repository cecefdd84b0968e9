"""Folders and files that only their owner may read, and the checks a data folder must pass before anything starts."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatgrid.dev.services import ServiceError

MEGABYTE = 1_000_000
KEPT_LOGS = 3


def make_private(folder: Path) -> Path:
    """Makes `folder` (mode 700) where it is missing. Raises ServiceError where nothing can be written in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ServiceError(
            f"Nothing can be written in {folder} ({error.strerror}): make it writable, or set CHATGRID_DATA to a "
            "folder that is."
        ) from error


def require_space(folder: Path, megabytes: int) -> None:
    """Raises ServiceError when the disk of `folder` has less than `megabytes` left."""
    free = shutil.disk_usage(folder).free // MEGABYTE
    if free < megabytes:
        raise ServiceError(
            f"Only {free} MB are free on the disk of {folder}: free at least {megabytes} MB, or set CHATGRID_DATA "
            "to a folder on another disk."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when there is none yet or when a crash left half of one."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Replaces `path` (mode 600) in one step, so that a crash leaves the old text or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def secret(path: Path, name: str) -> str:
    """The secret `name` of the private file `path`: 256 random bits in URL-safe letters, made at its first use."""
    known = read_json(path)
    if name not in known:
        known[name] = secrets.token_urlsafe(32)
        write_private(path, json.dumps(known, indent=2))
    return str(known[name])


def rotate_log(path: Path) -> Path:
    """Moves the log of the last run to `.1` (and `.1` to `.2`, up to KEPT_LOGS); returns `path`, now free."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(KEPT_LOGS, 0, -1):
        older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
    return path


def last_line(path: Path) -> str:
    """The last line of a log that holds any text, for an error message."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`; the kernel lets go of it however this process ends.

    Raises ServiceError when another process holds it, with the process id that this one left in the file.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            file.seek(0)
            raise ServiceError(
                f"ChatGrid already runs on {path.parent} (process {file.read().strip()}): stop it with Ctrl-C there, "
                "or set CHATGRID_DATA to another folder."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)  # so that `make reset` takes no later process for this one
