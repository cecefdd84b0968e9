"""A claim is held for as long as its worker lives, and no longer than seconds after it died."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.utils import timezone

from departments.keys import rotation as rotating
from departments.keys import rotation_claims
from departments.keys.rotation_claims import CLAIM, kept, win_claim
from departments.keys.rotation_models import Rotation
from tests.company import Company, give_key

ROOT = Path(__file__).resolve().parents[3]
# its claims are shorter than the product's, so that nobody has to wait for them
HOLDER = """
import sys, time, uuid
from datetime import timedelta
import django
django.setup()
from django.utils import timezone
from departments.keys import rotation_claims
from departments.keys.rotation_claims import kept, win_claim
rotation_claims.CLAIM, rotation_claims.BEAT = timedelta(seconds=5), 0.5
rotation = uuid.UUID(sys.argv[1])
with kept(rotation, win_claim(rotation, timezone.now()), timezone.now):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def rotation(company: Company, monkeypatch: pytest.MonkeyPatch) -> Rotation:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)
    give_key(company.hr)
    return rotating.start(company.hr, "button")


def end_of(rotation: Rotation) -> float:
    rotation.refresh_from_db()
    assert rotation.claimed_until is not None
    return rotation.claimed_until.timestamp()


def wait_until(true: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        threading.Event().wait(0.05)


def test_a_claim_ends_within_half_a_minute() -> None:
    assert timedelta(seconds=rotation_claims.BEAT * 2) < CLAIM <= timedelta(seconds=30)


def test_a_long_step_keeps_its_claim(rotation: Rotation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_claims, "BEAT", 0.05)
    claim = win_claim(rotation.pk, timezone.now())
    assert claim is not None
    first = end_of(rotation)
    with kept(rotation.pk, claim, timezone.now):
        wait_until(lambda: end_of(rotation) > first)
        assert win_claim(rotation.pk, timezone.now() + CLAIM - timedelta(seconds=1)) is None


def test_a_heartbeat_does_not_take_a_claim_back(rotation: Rotation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_claims, "BEAT", 0.05)
    claim = win_claim(rotation.pk, timezone.now())
    assert claim is not None
    with kept(rotation.pk, claim, timezone.now):
        other = win_claim(rotation.pk, timezone.now() + CLAIM + timedelta(seconds=1))
        assert other is not None
        wait_until(lambda: "rotation-claim" not in {thread.name for thread in threading.enumerate()})
    rotation.refresh_from_db()
    assert rotation.claim == other


def test_a_killed_worker_s_rotation_is_free_within_seconds(rotation: Rotation) -> None:
    code = [sys.executable, "-W", "error", "-c", HOLDER, str(rotation.pk)]
    holder = subprocess.Popen(code, cwd=ROOT, stdout=subprocess.PIPE, env=_environment())
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        first = end_of(rotation)
        wait_until(lambda: end_of(rotation) > first)  # for as long as it lives
        assert win_claim(rotation.pk, timezone.now()) is None
        holder.kill()
        holder.wait()
        assert end_of(rotation) <= timezone.now().timestamp() + 5
        wait_until(lambda: win_claim(rotation.pk, timezone.now()) is not None)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
        connections.close_all()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "DJANGO_SETTINGS_MODULE": "chatgrid.settings"}
