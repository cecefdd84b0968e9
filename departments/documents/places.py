"""What lies in a folder or a bucket that is synchronised, and how to read it without leaving it.

Rules:
- Roots come from settings, the operator's word; a source names one of them and a folder inside.
- In a folder every step is opened relative to the one before and never through a symbolic link (O_NOFOLLOW), so that
  nobody who writes there leads us elsewhere, not even between the listing and the reading. Only plain files are read.
- A prefix of a bucket ends at a slash: "policies" never means "policies-of-others".
- Names that begin with a dot are not documents.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from departments.documents.models import DocumentSource
from departments.documents.names import shown_path

PIECE = 1 << 20
LISTED_AT_ONCE = 1000  # objects in one answer of a bucket; it allows no more
DEEPEST = 100  # folders in folders
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a named pipe must not hold us


UNCHANGED = "Nothing was changed. Ask IT to look at it."
CHANGING = "It changed while it was read. It is taken at the next look, when nobody writes to it."
# what a bucket answers, in words; the SDK's other names stand as they are
REFUSALS = {
    "AccessDenied": "we have no right to read it",
    "403": "we have no right to read it",
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "it is not there any more",
    "InvalidAccessKeyId": "our credentials are not known there",
    "ExpiredToken": "our credentials have expired",
}


class PlaceDown(Exception):
    """The folder or bucket cannot be read now; the message says which and what to do."""


@dataclass(frozen=True)
class Entry:
    """A file in a place. `path` is relative to the source; another `fingerprint` means another content."""

    path: str
    bytes: int
    fingerprint: str


class Place(Protocol):
    """What is synchronised."""

    def entries(self) -> Iterator[Entry]:
        """Every file, in no order. Raises PlaceDown."""

    def read(self, entry: Entry, target: IO[bytes]) -> None:
        """Writes a file's content. Raises PlaceDown, also where it is no plain file any more."""


def place_of(source: DocumentSource) -> Place:
    """The place of a source. Raises PlaceDown where settings do not name it any more."""
    if source.kind == DocumentSource.Kind.FOLDER:
        root = settings.SOURCE_FOLDERS.get(source.place)
        if root:
            return Folder(str(root), source.path)
    elif options := settings.SOURCE_BUCKETS.get(source.place):
        return Bucket(options, source.path)
    raise PlaceDown(f"The settings do not name {source.place} any more. Ask IT.")


@contextmanager
def fetched(place: Place, entry: Entry) -> Iterator[UploadedFile[Any]]:
    """A file as an upload would bring it, for as long as the block lasts."""
    with tempfile.TemporaryFile(prefix="chatgrid-") as target:
        place.read(entry, target)
        size = target.tell()
        if size != entry.bytes:
            raise PlaceDown(CHANGING)
        target.seek(0)
        yield UploadedFile(target, PurePosixPath(entry.path).name, size=size)


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or of a share that is mounted on it."""

    root: str
    path: str

    def entries(self) -> Iterator[Entry]:
        try:
            with self._opened() as top:
                yield from _walk(top, "")
        except OSError as error:
            raise PlaceDown(
                f"The folder cannot be read ({error.strerror}). Nothing was changed. Ask IT to look at it."
            ) from error

    def read(self, entry: Entry, target: IO[bytes]) -> None:
        *folders, name = entry.path.split("/")
        try:
            with self._opened(folders) as folder, os.fdopen(os.open(name, FILE_FLAGS, dir_fd=folder), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise PlaceDown("It is no plain file.")
                _copy(file, target, entry.bytes)
        except OSError as error:
            raise PlaceDown(f"It cannot be read ({error.strerror}).") from error

    @contextmanager
    def _opened(self, folders: list[str] | None = None) -> Iterator[int]:
        """The folder's descriptor, reached step by step from the root."""
        steps = [step for step in self.path.split("/") if step] + (folders or [])
        held = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps:
                if step == "..":
                    raise PlaceDown("The folder leads out of its place.")
                deeper = os.open(step, FOLDER_FLAGS, dir_fd=held)
                os.close(held)
                held = deeper
            yield held
        finally:
            os.close(held)


def _walk(folder: int, above: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        names = sorted(each.name for each in found if not each.name.startswith("."))
    for name in names:
        path = f"{above}{name}"
        try:
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue  # it went while we looked: the next run sees the same
        if stat.S_ISREG(about.st_mode):
            yield Entry(path, about.st_size, f"{about.st_size}-{about.st_mtime_ns}")
        elif stat.S_ISDIR(about.st_mode):
            yield from _walk_below(folder, name, path)


def _walk_below(folder: int, name: str, path: str) -> Iterator[Entry]:
    """A folder in a folder. Where it cannot be read the whole run ends: its files must not be taken for gone."""
    if path.count("/") >= DEEPEST:
        raise PlaceDown(f"The folder {shown_path(path)} lies in more than {DEEPEST} others. {UNCHANGED}")
    try:
        deeper = os.open(name, FOLDER_FLAGS, dir_fd=folder)
    except OSError as error:
        raise PlaceDown(f"The folder {shown_path(path)} cannot be read ({error.strerror}). {UNCHANGED}") from error
    try:
        yield from _walk(deeper, f"{path}/")
    finally:
        os.close(deeper)


def _copy(source: Any, target: IO[bytes], expected: int) -> None:
    """Piece by piece, and one byte more than expected at most: a file that grows must not fill the disk."""
    left = expected + 1
    while left > 0 and (piece := source.read(min(PIECE, left))):
        target.write(piece)
        left -= len(piece)


def _refusal(error: Exception) -> str:
    """Why a bucket did not answer, from what the SDK's errors carry."""
    answer = getattr(error, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", "")) or type(error).__name__
    return REFUSALS.get(code, code)


class Bucket:
    """A prefix of an S3 bucket, through django-storages with the options of the settings."""

    def __init__(self, options: dict[str, Any], path: str) -> None:
        from storages.backends.s3 import S3Storage  # loads the SDK, which most processes never need

        self._storage = S3Storage(**options)
        self._prefix = f"{path}/" if path else ""

    def entries(self) -> Iterator[Entry]:
        try:
            for found in self._storage.bucket.objects.filter(Prefix=self._prefix).page_size(LISTED_AT_ONCE):
                path = found.key.removeprefix(self._prefix)
                if path and not path.endswith("/") and not any(part.startswith(".") for part in path.split("/")):
                    yield Entry(path, found.size, found.e_tag.strip('"'))
        except Exception as error:
            # the SDK's own errors, which this package may not import; whoever looks at the run sees the sentence
            raise PlaceDown(
                f"The bucket cannot be read: {_refusal(error)}. Nothing was changed. Ask IT to look at it."
            ) from error

    def read(self, entry: Entry, target: IO[bytes]) -> None:
        try:
            with closing(self._storage.bucket.Object(self._prefix + entry.path).get()["Body"]) as body:
                _copy(body, target, entry.bytes)
        except Exception as error:
            # as above: one file's line among the run's problems
            raise PlaceDown(f"It cannot be read: {_refusal(error)}.") from error
