"""Children and their supervisor: nothing is left behind, nobody else is touched, what dies comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from chatgrid.dev.services import ServiceError
from chatgrid.dev.services.files import locked, make_private, require_space, rotate_log, secret
from chatgrid.dev.services.processes import Child, end_orphans, note_of, start_time
from chatgrid.dev.services.supervisor import Supervisor

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
PARENT = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); {SLEEP}"


class Machine:
    """A child whose program is chosen by the test."""

    def __init__(self, folder: Path, patience: float = 10.0) -> None:
        self.folder = folder
        self.child = Child("child", notes=folder, log=folder / "child.log", patience=patience)

    def start(self, program: str) -> dict[str, float]:
        self.child.start([sys.executable, "-c", program], environment=os.environ, cwd=self.folder)
        wait_for(lambda: "ready" in (self.folder / "child.log").read_text())
        return json.loads((self.folder / "child.json").read_text())


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, patience=0.3)
    yield machine
    machine.child.stop()


def test_a_child_has_a_session_of_its_own_and_a_note(machine: Machine) -> None:
    note = machine.start(SLEEP)
    assert os.getsid(note["pid"]) == note["pid"] != os.getsid(0)
    machine.child.stop()
    assert start_time(note["pid"]) is None
    assert not (machine.folder / "child.json").exists()


def test_a_child_that_ignores_the_signal_is_killed_after_its_patience(machine: Machine) -> None:
    note = machine.start(STUBBORN)
    before = time.monotonic()
    machine.child.stop()
    assert 0.3 <= time.monotonic() - before < 5
    assert start_time(note["pid"]) is None


def test_a_hurried_stop_does_not_wait(tmp_path: Path) -> None:
    machine = Machine(tmp_path, patience=60)
    note = machine.start(STUBBORN)
    hurry = Event()
    hurry.set()
    machine.child.stop(hurry)
    assert start_time(note["pid"]) is None


def test_grandchildren_go_with_a_child_that_was_killed(machine: Machine) -> None:
    note = machine.start(PARENT)
    grandchild = int((machine.folder / "child.log").read_text().split()[0])
    assert start_time(grandchild) is not None
    os.kill(note["pid"], signal.SIGKILL)
    wait_for(lambda: not machine.child.alive())
    machine.child.stop()
    wait_for(lambda: start_time(grandchild) is None)


def test_an_orphan_is_found_by_its_note_and_ended(machine: Machine) -> None:
    note = machine.start(STUBBORN)
    assert end_orphans(machine.folder) == ["child"]
    assert start_time(note["pid"]) is None
    assert end_orphans(machine.folder) == []


def test_a_stranger_with_the_same_process_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL) as stranger:
        note = note_of(stranger.pid, signal.SIGKILL, 1)
        note["started"] -= 3600
        (tmp_path / "child.json").write_text(json.dumps(note))
        assert end_orphans(tmp_path) == []
        assert stranger.poll() is None
        stranger.kill()


class Fragile:
    """A service that runs until the test breaks it, and says what was done to it."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.runs = False
        self.broken: str | None = None

    def start(self) -> None:
        if self.broken:
            raise ServiceError(self.broken)
        self.runs = True
        self.story.append(f"start {self.name}")

    def stop(self, hurry: Event) -> None:
        self.runs = False
        self.story.append(f"stop {self.name}")

    def alive(self) -> bool:
        return self.runs


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_stops_in_the_reverse_of_the_order_of_starting() -> None:
    story: list[str] = []
    supervisor = Supervisor(lambda line: None)
    for name in ("postgres", "worker", "web"):
        supervisor.start(Fragile(name, story))
    supervisor.stop(Event())
    assert story[3:] == ["stop web", "stop worker", "stop postgres"]


def test_what_dies_is_started_again_later_and_later() -> None:
    said: list[str] = []
    clock, service = Clock(), Fragile("web", [])
    supervisor = Supervisor(said.append, clock)
    supervisor.start(service)
    waits = []
    for _ in range(7):
        service.runs = False
        supervisor.look()
        fell_at = clock.now
        while not service.runs:
            clock.now += 0.5
            supervisor.look()
        waits.append(clock.now - fell_at)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert len(said) == 7
    assert said[1] == "web ended by itself; starting it again in 2 s."


def test_one_that_held_for_a_minute_is_started_again_soon() -> None:
    said: list[str] = []
    clock, service = Clock(), Fragile("web", [])
    supervisor = Supervisor(said.append, clock)
    supervisor.start(service)
    for seconds in (1, 5, 61):
        clock.now += seconds
        service.runs = False
        supervisor.look()
        clock.now += 5
        supervisor.look()
        assert service.runs
    assert [line.rpartition(" in ")[2] for line in said] == ["1 s.", "2 s.", "1 s."]


def test_a_restart_that_fails_is_said_and_tried_again() -> None:
    said: list[str] = []
    clock, service = Clock(), Fragile("valkey", [])
    supervisor = Supervisor(said.append, clock)
    supervisor.start(service)
    service.runs, service.broken = False, "Port 5 is taken."
    supervisor.look()
    clock.now += 1
    supervisor.look()
    assert said[-1] == "valkey: Port 5 is taken. Trying again in 2 s."
    service.broken = None
    clock.now += 2
    supervisor.look()
    assert service.runs


def test_a_second_holder_of_the_lock_is_told_who_has_it(tmp_path: Path) -> None:
    refused = pytest.raises(ServiceError, match=rf"already runs .*process {os.getpid()}")
    with locked(tmp_path / "lock"), refused, locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    first, other = secret(file, "one"), secret(file, "two")
    assert first != other
    assert len(first) >= 43
    assert secret(file, "one") == first
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_and_a_folder_that_cannot_be_made_are_said(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(ServiceError, match="free at least"):
        require_space(tmp_path, 10**12)
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="CHATGRID_DATA"):
        make_private(tmp_path / "file" / "folder")


def test_logs_of_three_earlier_runs_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "web.log"
    for number in range(6):
        rotate_log(log).write_text(str(number))
    assert {path.name: path.read_text() for path in log.parent.iterdir()} == {
        "web.log": "5",
        "web.log.1": "4",
        "web.log.2": "3",
        "web.log.3": "2",
    }
