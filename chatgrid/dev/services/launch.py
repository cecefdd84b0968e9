"""Runs a command after giving up what it must not have: `python -I -S launch.py [--new-user] [--leash N] COMMAND...`

`--new-user` enters a fresh user namespace: PostgreSQL, which refuses to run as root, then sees a plain user while its
files stay root's. `--leash N` asks the kernel to send signal N when the starter dies, so that a killed test run leaves
no server behind. Both are Linux's. It is a program of its own because Python advises against running code between
fork and exec in a process that has threads. Imports only the standard library, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def command_line(command: list[str], *, new_user: bool = False, leash: signal.Signals | None = None) -> list[str]:
    """`command` as it is to be started; unchanged where neither is wanted. There is no leash outside Linux."""
    options = ["--new-user"] if new_user else []
    if leash is not None and sys.platform == "linux":
        options += ["--leash", str(int(leash))]
    return [sys.executable, "-I", "-S", __file__, *options, *command] if options else command


def enter_user_namespace(libc: ctypes.CDLL) -> None:
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit(f"A new user namespace was refused: {os.strerror(ctypes.get_errno())}")


def main(arguments: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if arguments[0] == "--new-user":
        enter_user_namespace(libc)
        arguments = arguments[1:]
    if arguments[0] == "--leash":
        libc.prctl(PR_SET_PDEATHSIG, int(arguments[1]))
        arguments = arguments[2:]
    os.execv(arguments[0], arguments)  # noqa: S606 no shell is wanted: the command is ours


if __name__ == "__main__":
    main(sys.argv[1:])
