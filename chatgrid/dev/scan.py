"""`make scan`: looks for keys in the repository's files and in the pages' files as they are served.

- Every file that is tracked, or would be with the next `git add`, and everything `collectstatic` puts together,
  compressed copies included.
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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from departments.keys.patterns import STRICT

CHECKOUT = Path(__file__).resolve().parents[2]
LARGEST = 20 * 1024 * 1024

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
    for name, path in files:
        yield from scan_text(name, read(path))


def scan_text(name: str, text: str) -> Iterator[Found]:
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield Found(name, text.count("\n", 0, match.start()) + 1, kind)


def repository_files(repository: Path) -> list[str]:
    """Tracked files and those that are neither tracked nor ignored: a key must be found before it is committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout
    return sorted({name for name in listed.decode().split("\0") if name and (repository / name).is_file()})


def read(path: Path) -> str:
    """The file as text, unpacked where it is packed. Latin-1 reads any file, and keys are plain ASCII."""
    if path.is_symlink() or path.stat().st_size > LARGEST:
        return ""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("latin-1")


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
