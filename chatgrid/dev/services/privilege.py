"""How PostgreSQL, which refuses to run as root, is started by root.

Not root: plainly. Root: in a user namespace of its own (see launch.py); where the container forbids that, as `nobody`,
which works only where nobody may enter the checkout; else a sentence that says what to do.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chatgrid.dev.services import ServiceError
from chatgrid.dev.services.launch import command_line


@dataclass(frozen=True)
class Runner:
    """How a command is run without root's rights."""

    new_user: bool = False
    user: str | None = None

    def wrap(self, command: list[str], leash: signal.Signals | None = None) -> list[str]:
        """`command` as it is to be started. `leash` is the signal it gets when its starter dies."""
        # `nobody` may be unable to read this interpreter, so there is no leash then.
        return command if self.user else command_line(command, new_user=self.new_user, leash=leash)

    @property
    def group(self) -> int | None:
        return pwd.getpwnam(self.user).pw_gid if self.user else None

    def give(self, path: Path) -> None:
        """Hands `path`, just made, to the user the server runs as, and lets that user pass the two folders above.

        Passing is not listing, and what lies there is readable by its owner alone.
        """
        if self.user is None:
            return
        shutil.chown(path, self.user, self.group)
        for folder in path.parents[:2]:
            folder.chmod(folder.stat().st_mode | 0o011)


def runner(binary: Path, folder: Path) -> Runner:
    """The first way that can run `binary` inside `folder`, an empty folder of ours; ServiceError when none can."""
    if os.geteuid() != 0:
        return Runner()
    return next((way for way in ways() if works(way, binary, folder)), None) or refuse()


def ways() -> list[Runner]:
    spaces = [Runner(new_user=True)] if sys.platform == "linux" else []
    return [*spaces, Runner(user="nobody")]


def works(way: Runner, binary: Path, folder: Path) -> bool:
    """Tries it out. A shell changes into the folder, because a starter that is root could always enter it."""
    try:
        way.give(folder)
        return run_as(way, ["/bin/sh", "-c", 'cd "$1" && exec "$2" --version', "sh", str(folder), str(binary)]) == 0
    except (OSError, KeyError):  # no such user, or no right to become it
        return False


def run_as(
    way: Runner, command: list[str], *, log: IO[bytes] | None = None, env: Mapping[str, str] | None = None
) -> int:
    """Runs `command` to its end that way and returns its exit code; what it prints goes to `log`."""
    done = subprocess.run(
        way.wrap(command),
        stdin=subprocess.DEVNULL,
        stdout=log or subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        env=env,
        cwd="/",
        user=way.user,
        group=way.group,
        extra_groups=[] if way.user else None,
        check=False,
    )
    return done.returncode


def refuse() -> Runner:
    raise ServiceError(
        "PostgreSQL refuses to run as root, and this machine allows neither a user namespace nor `nobody` in this "
        "folder: run it as a plain user, or set CHATGRID_DATABASE_URL to a server of your own."
    )
