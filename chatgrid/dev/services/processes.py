"""Child processes that leave nothing behind.

- A child runs in a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone.
- A note on disk says who it is (process id and start time), so that a child whose supervisor was killed is found and
  ended at the next start. A process that only carries the same id by now is left alone.
- Stopping is a signal, a bounded wait, then SIGKILL for the whole group.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import psutil  # type: ignore[import-untyped]

from chatgrid.dev.services.files import read_json, write_private

POLL_SECONDS = 0.05

# Linux works a start time out from the boot time, which moves a little when the clock is set.
SAME_START_SECONDS = 2.0

# After SIGKILL a process is gone as soon as the kernel has freed its memory.
KILL_SECONDS = 10.0

NEVER = Event()


class Service(Protocol):
    """What the supervisor keeps running."""

    name: str

    def start(self) -> None: ...

    def stop(self, hurry: Event = NEVER) -> None: ...

    def alive(self) -> bool: ...


class Child:
    """One child process: its note `notes/<name>.json`, its log, and how it is asked to stop."""

    def __init__(
        self,
        name: str,
        *,
        notes: Path,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience: float = 10.0,
    ) -> None:
        """`patience` is in seconds, from the stop signal to SIGKILL."""
        self.name = name
        self.log = log
        self._note = notes / f"{name}.json"
        self._stop_signal = stop_signal
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        stdin: bytes = b"",
        user: str | None = None,
        group: int | None = None,
    ) -> None:
        """Starts `command`, once whatever is left of an earlier one is gone. `stdin` is fed to it and closed."""
        self.clear()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=[] if user else None,
            )
        write_private(self._note, json.dumps(note_of(self._process.pid, self._stop_signal, self._patience)))
        feed(self._process, stdin)

    def clear(self) -> None:
        """Ends whatever is left of an earlier start, of ours or of a supervisor that was killed."""
        self._sweep()
        end_noted(self._note)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_for(self, answers: Callable[[], bool], deadline: float) -> bool:
        """Waits until `answers` says yes. False, with the child stopped, when it died or the (monotonic) time is up."""
        while self.alive() and time.monotonic() < deadline:
            if answers():
                return True
            time.sleep(POLL_SECONDS)
        self.stop()
        return False

    def stop(self, hurry: Event = NEVER) -> None:
        """Asks, waits up to the patience (or until `hurry` is set), then kills. Quiet when nothing runs."""
        if self.alive():
            self._send(self._stop_signal)
            self._wait(hurry)
        self._sweep()
        self._note.unlink(missing_ok=True)

    def _wait(self, hurry: Event) -> None:
        deadline = time.monotonic() + self._patience
        while self.alive() and time.monotonic() < deadline and not hurry.is_set():
            time.sleep(POLL_SECONDS)

    def _sweep(self) -> None:
        """Kills what is left of the child's group: a worker's children may outlive the worker."""
        if self._process is None:
            return
        kill_group(self._process.pid)
        self._process.wait()
        self._process = None

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class Command:
    """A program of ours that the supervisor keeps running: the web server, a worker, the simulator."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        notes: Path,
        log: Path,
        patience: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._cwd = cwd
        self._child = Child(name, notes=notes, log=log, patience=patience)

    def start(self) -> None:
        self._child.start(self._command, environment=self._environment, cwd=self._cwd)

    def stop(self, hurry: Event = NEVER) -> None:
        self._child.stop(hurry)

    def alive(self) -> bool:
        return self._child.alive()


def feed(process: subprocess.Popen[bytes], text: bytes) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(text)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once; whoever waits for it to answer finds its log


def start_time(pid: int) -> float | None:
    """When process `pid` started, in seconds since 1970; None when it is gone or a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def note_of(pid: int, stop_signal: signal.Signals, patience: float) -> dict[str, Any]:
    """Who process `pid` is and how it is asked to stop."""
    return {"pid": pid, "started": start_time(pid), "stop_signal": int(stop_signal), "patience": patience}


def is_noted(note: Mapping[str, Any]) -> bool:
    """Whether the process of a note still runs, and is not a stranger with the same id."""
    started = start_time(note["pid"]) if "pid" in note else None
    if started is None or note.get("started") is None:
        return False
    return abs(started - float(note["started"])) < SAME_START_SECONDS


def end_if_alive(note: Mapping[str, Any]) -> bool:
    """Ends the process of a note: its signal, its patience, then SIGKILL for its group. Says whether it ran."""
    if not is_noted(note):
        return False
    try:
        os.kill(note["pid"], note["stop_signal"])
    except ProcessLookupError:
        return True
    wait_until_gone(note, float(note["patience"]))
    kill_group(note["pid"])
    wait_until_gone(note, KILL_SECONDS)
    return True


def wait_until_gone(note: Mapping[str, Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while is_noted(note) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def end_noted(path: Path) -> bool:
    """Ends the process that the note at `path` tells of, if it still runs, and removes the note. Says if it ran."""
    ran = end_if_alive(read_json(path))
    path.unlink(missing_ok=True)
    return ran


def end_orphans(notes: Path) -> list[str]:
    """Ends every child that a killed supervisor left running, youngest first; returns their names."""
    paths = sorted(notes.glob("*.json"), key=lambda path: read_json(path).get("started") or 0.0, reverse=True)
    return [path.stem for path in paths if end_noted(path)]


def kill_group(pid: int) -> None:
    """SIGKILL for all of the session that `pid` leads; quiet when nobody is left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # a Mac answers PermissionError when only zombies are left in the group


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy without what would lead a child astray.

    OPENAI_* (the SDK would read a key or an address from it), DJANGO_SETTINGS_MODULE of another project, and PG*,
    which libpq reads behind a URL's back.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("OPENAI_", "PG")) and name != "DJANGO_SETTINGS_MODULE"
    }
