"""The sealer's process: the real commands on the product's own record, with the key from the secret manager."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from audit.events import Event
from audit.models import AuditEvent, AuditLeaf, AuditSeal
from audit.roles import SEALER, connect
from audit.sealer import PAUSE, Sealer
from audit.signing import Ed25519Signer, SignerUnavailable
from audit.writer import Entry, record
from departments.keys.sealing import SealKeyLost, current_signer
from departments.keys.vaults.names import seal_key_name

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> str:
    said = StringIO()
    call_command(*command, stdout=said)
    return said.getvalue()


def verify() -> tuple[int, str]:
    said = StringIO()
    try:
        call_command("verify_audit", stdout=said)
    except SystemExit as ended:
        return int(str(ended.code)), said.getvalue()
    return 0, said.getvalue()


def written(event: Event) -> str:
    entry = Entry(event=event, actor_name="Mara")
    record(entry)
    return str(entry.id)


def is_sealed(event_id: str) -> bool:
    return AuditLeaf.objects.filter(event_id=event_id).exists()


def wait_for(condition: object, seconds: float = 20) -> float:
    started = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


class Process:
    """`manage.py run_sealer` as an operator starts it."""

    started: subprocess.Popen[bytes]

    def start(self) -> None:
        self.started = subprocess.Popen(
            [sys.executable, "manage.py", "run_sealer"], cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE
        )

    def is_running(self) -> bool:
        return hasattr(self, "started") and self.started.poll() is None

    def end(self, number: signal.Signals) -> int:
        self.started.send_signal(number)
        self.started.communicate(timeout=20)
        return self.started.returncode


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    made = Process()
    yield made
    if made.is_running():
        made.end(signal.SIGKILL)


@pytest.fixture
def sealer(process: Process) -> Process:
    """A sealer at work: the one of the test before, unless that test has killed it."""
    if not process.is_running():
        first = written(Event.SIGNED_IN)
        process.start()
        wait_for(lambda: is_sealed(first), 60)
    return process


def test_one_command_seals_what_waits_and_the_record_verifies() -> None:
    event = written(Event.SIGNED_IN)
    assert "events sealed, up to seal" in run("seal_audit")
    assert is_sealed(event)
    status, said = verify()
    assert status in {0, 2}, said
    assert "verified with ed25519-" in said


def test_reading_the_signing_key_is_in_the_record() -> None:
    run("seal_audit")
    read = AuditEvent.objects.filter(event=Event.SECRET_READ, subject_id=seal_key_name(settings.ENVIRONMENT)).first()
    assert read is not None
    assert read.key_fingerprint.startswith("ed25519-")


def test_a_rolled_key_is_announced_and_signs_from_then_on() -> None:
    run("seal_audit")
    old = current_signer().public_key
    assert "signs from now on" in run("roll_seal_key")
    run("seal_audit")
    new = current_signer().public_key
    assert new != old
    newest = AuditSeal.objects.first()
    assert newest is not None
    assert bytes(newest.public_key) == new
    status, said = verify()
    assert status in {0, 2}, said


def test_a_lost_key_is_never_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    run("seal_audit")
    monkeypatch.setattr("departments.keys.sealing.seal_key_name", lambda environment: "chatgrid/test/lost")
    with pytest.raises(SealKeyLost, match="restore it"):
        current_signer()


def test_a_critical_event_is_sealed_at_once_and_others_wait(sealer: Process) -> None:
    before = written(Event.ADMIN_CHANGED)
    wait_for(lambda: is_sealed(before))
    # a pass for an earlier test's event may have sealed it, and the one for this event is still to come
    time.sleep(PAUSE + 0.5)
    ordinary = written(Event.SIGNED_IN)
    time.sleep(PAUSE + 0.5)
    assert not is_sealed(ordinary)
    critical = written(Event.ADMIN_CHANGED)
    assert wait_for(lambda: is_sealed(critical), 40) < 30, "half of the minute after which others are sealed"
    assert is_sealed(ordinary)


def sealers() -> int:
    with connect("owner") as owner:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chatgrid-sealer'"
        row = owner.execute(query + " AND datname = current_database()").fetchone()
    return int(row[0]) if row else 0


def test_a_second_sealer_takes_over_when_the_first_is_killed_and_stops_when_it_is_told_to(sealer: Process) -> None:
    second = Process()
    second.start()
    try:
        wait_for(lambda: sealers() == 2, 60)
        sealer.end(signal.SIGKILL)
        critical = written(Event.ADMIN_CHANGED)
        wait_for(lambda: is_sealed(critical), 30)
        assert verify()[0] in {0, 2}
    finally:
        assert second.end(signal.SIGTERM) == 0


def test_it_waits_for_a_signing_key_that_cannot_be_read_and_then_seals(process: Process) -> None:
    if process.is_running():
        process.end(signal.SIGKILL)  # or that one would seal the event
    tries: list[int] = []

    def signer() -> Ed25519Signer:
        tries.append(1)
        if len(tries) == 1:
            raise SignerUnavailable("the secret manager is away")
        return current_signer()

    event = written(Event.ADMIN_CHANGED)
    stop = threading.Event()
    running = threading.Thread(target=Sealer(lambda: connect(SEALER), signer, []).run, args=(stop,))
    running.start()
    try:
        wait_for(lambda: is_sealed(event), 30)
    finally:
        stop.set()
        running.join()
    assert len(tries) >= 2  # a lock that the sealer before has not let go of costs a try, too
