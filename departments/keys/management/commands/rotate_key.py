"""`manage.py rotate_key ORGANIZATION DEPARTMENT [--emergency]`: start a rotation and watch it, step by step.

The work is done by the worker of the queue `rotation`; this command asks for it and shows what the record says.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.events import Event
from audit.models import AuditEvent
from departments.keys.rotation import start
from departments.keys.rotation_models import Rotation
from departments.models import Department

LOOK_EVERY = 0.5  # seconds


class Command(BaseCommand):
    """Exits with an error where the rotation is not closed, or not done, within --wait seconds."""

    help = "Exchange a department's key now. With --emergency the old key is deleted without waiting."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", help="the organization's short name")
        parser.add_argument("department", help="the department's short name, as in /d/finance/")
        parser.add_argument("--emergency", action="store_true", help="the key may be in the wrong hands")
        parser.add_argument("--wait", type=float, default=120.0, help="seconds to watch; 0 only starts it")

    def handle(self, *args: Any, **options: Any) -> None:
        department = _department(options["organization"], options["department"])
        trigger = Rotation.Trigger.LEAK if options["emergency"] else Rotation.Trigger.BUTTON
        rotation = start(department, trigger)
        self.stdout.write(f"Rotation {rotation.pk} of {department}: {rotation.get_mode_display()}")
        self._watch(rotation, options["wait"])

    def _watch(self, rotation: Rotation, seconds: float) -> None:
        told: set[UUID] = set()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tell(rotation, told)
            rotation.refresh_from_db()
            if rotation.closed_at:
                self._tell(rotation, told)
                self.stdout.write(f"{rotation.get_result_display()}.")
                return
            time.sleep(LOOK_EVERY)
        if seconds:
            raise CommandError(f"Not finished: {rotation.get_step_display()}. {rotation.problem}".strip())

    def _tell(self, rotation: Rotation, told: set[UUID]) -> None:
        events = AuditEvent.objects.filter(subject_kind="rotation", subject_id=str(rotation.pk)).order_by("at")
        for event in events:
            if event.pk not in told:
                told.add(event.pk)
                self.stdout.write(f"{_after(rotation.started_at, event.at)}  {Event(event.event).label}")


def _after(start: datetime, at: datetime) -> str:
    return f"{max(0.0, (at - start).total_seconds()):6.1f} s"


def _department(organization: str, slug: str) -> Department:
    found = Department.objects.select_related("organization").filter(organization__slug=organization, slug=slug).first()
    if found is None:
        raise CommandError(f"There is no department {slug} in {organization}.")
    return found
