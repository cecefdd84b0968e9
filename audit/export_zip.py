"""The files of an export as one ZIP that is sent while it is made: nothing of it is collected anywhere."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

Member = tuple[str, Iterable[bytes]]
"""A file's name and its pieces; each file must be read to its end before the next."""


def stream_zip(members: Iterable[Member]) -> Iterator[bytes]:
    """The files of an export as one ZIP, piece by piece."""
    pipe = _Pipe()
    with zipfile.ZipFile(cast(IO[bytes], pipe), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, chunks in members:
            yield from _member(archive, pipe, name, chunks)
    yield from pipe.take()


def _member(archive: zipfile.ZipFile, pipe: _Pipe, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    with archive.open(name, "w", force_zip64=True) as member:
        for chunk in chunks:
            member.write(chunk)
            yield from pipe.take()


class _Pipe:
    """What a ZIP writer writes to, and what is taken from it as it comes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """A ZIP writer asks for it; nothing waits anywhere."""

    def close(self) -> None:
        """The same."""

    def take(self) -> Iterator[bytes]:
        if self._parts:
            yield b"".join(self._parts)
            self._parts = []
