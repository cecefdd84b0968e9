"""`make scan`: looks for keys in the repository's files and in the pages' files as they are served.

- Every file that is tracked, or would be with the next `git add`, and everything `collectstatic` puts together,
  compressed copies included. Also what lies in zip files (wheels and office documents are such), text of two bytes a
  character, and the names of files. A file that is too large to read is a finding: nobody knows what is in it.
- Prints file, line and kind of what it finds, never the text itself. Exit code 1 if there is anything.
- There is no list of exceptions: test keys are built at run time from parts.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from departments.keys.patterns import STRICT
from departments.keys.redaction import without_keys

CHECKOUT = Path(__file__).resolve().parents[2]
LARGEST = 20 * 1024 * 1024
TOO_LARGE = "place for keys: too large to be looked through"
ENCRYPTED = 1  # in a zip member's flags

PATTERNS: dict[str, re.Pattern[str]] = {
    "key of OpenAI": STRICT,
    "key of AWS": re.compile(r"(?<![A-Za-z0-9])A(?:KIA|SIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    "token of GitHub": re.compile(r"(?<![\w-])(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})"),
    "token of Slack": re.compile(r"(?<![\w-])xox[abeprs]-[A-Za-z0-9-]{20,}"),
    "private key": re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40,}"),
}

# What settings need to be read; nothing connects to any of it.
NOWHERE = {
    "CHATGRID_ENVIRONMENT": "development",
    "CHATGRID_SECRET_KEY": "only for collecting files",
    "CHATGRID_DATABASE_URL": "postgresql://nobody@localhost/nothing",
    "CHATGRID_REDIS_URL": "redis://localhost/0",
}


@dataclass(frozen=True)
class Found:
    """Where something that looks like a key is. The text itself is not kept."""

    place: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: looks like a {self.kind}"


def main(arguments: list[str] | None = None) -> int:
    """The exit code. Arguments: the repository to scan; nothing means this one, with its collected static files."""
    given = sys.argv[1:] if arguments is None else arguments
    repository = Path(given[0]).resolve() if given else CHECKOUT
    with tempfile.TemporaryDirectory(prefix="chatgrid-scan-") as folder:
        built = Path(folder)
        if not given:
            collect(built)
        files = [(name, repository / name) for name in repository_files(repository)]
        files += [(f"static/{path.relative_to(built)}", path) for path in sorted(built.rglob("*")) if path.is_file()]
        found = list(scan(files))
    for one in found:
        print(one)
    print(f"{len(files)} files scanned, {len(found)} findings.")
    return 1 if found else 0


def scan(files: Iterable[tuple[str, Path]]) -> Iterator[Found]:
    """What is found in these files, each with the name to show for it."""
    for plain, path in files:
        name = without_keys(plain)  # what is printed
        yield from scan_text(name, plain)
        if path.is_symlink():
            continue
        if path.stat().st_size > LARGEST:
            yield Found(name, 0, TOO_LARGE)
            continue
        for part, content in parts_of(path):
            yield from scan_text(f"{name}{part}", content)


def scan_text(name: str, text: str) -> Iterator[Found]:
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield Found(name, text.count("\n", 0, match.start()) + 1, kind)


def repository_files(repository: Path) -> list[str]:
    """Tracked files and those that are neither tracked nor ignored: a key must be found before it is committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout
    return sorted({name for name in listed.decode().split("\0") if name and (repository / name).is_file()})


def parts_of(path: Path) -> Iterator[tuple[str, str]]:
    """The file as text, unpacked where it is packed, each part with a suffix for the name to show."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    yield "", as_text(content)
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as packed:
        for member in packed.infolist():
            if member.file_size <= LARGEST and not member.flag_bits & ENCRYPTED:
                yield f"!{member.filename}", as_text(packed.read(member))


def as_text(content: bytes) -> str:
    """Latin-1 reads any file, and keys are plain ASCII; in UTF-16 there is a zero beside each character."""
    return content.replace(b"\0", b"").decode("latin-1")


def collect(folder: Path) -> None:
    """The files of the pages, as `collectstatic` puts them together for a browser."""
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        cwd=CHECKOUT,
        check=True,
        env={**os.environ, **NOWHERE, "CHATGRID_STATIC_ROOT": str(folder), "CHATGRID_DATA": str(folder.parent)},
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(main())
