"""What may be said of a department's key on a page: everything but a character of it.

Rules:
- Read from our database and the record only; no page asks the secret manager or the provider for this.
- `used` is the last call in our own record; `used_at_provider` is what the provider said at the last hourly comparison.
- A call is in flight from its request event to its answer event, for as long as a call may take.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Exists, OuterRef
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from departments.keys.models import KeyReference
from departments.keys.rotation_models import Rotation
from departments.models import Department

BEFORE_EXPIRY = timedelta(days=14)  # a key is exchanged so long before it ends by itself
SHOWN = 20


@dataclass(frozen=True)
class InFlight:
    """Calls under way with one version of the key."""

    version: str
    calls: int
    is_current: bool


@dataclass(frozen=True)
class Standing:
    """A department's key, or the lack of one, with what is being done about it."""

    department: Department
    key: KeyReference | None
    used: datetime | None
    next_rotation: datetime | None
    in_flight: list[InFlight]
    rotation: Rotation | None
    history: list[Rotation]

    @property
    def sentence(self) -> str:
        """How it stands, in one sentence, with the next step where there is one."""
        if self.rotation is not None:
            return (
                f"A new key is on its way: {self.rotation.get_step_display().lower()}. {self.rotation.problem}".strip()
            )
        if self.key is None:
            return "There is no key yet, so nobody in this department gets an answer."
        if self.key.state == KeyReference.State.BROKEN:
            return "The provider refuses this key. A new one is needed before anybody gets an answer."
        return "The key works."


def standing_of(department: Department) -> Standing:
    """How the department's key stands now. Half a dozen queries, each answered by an index."""
    key = KeyReference.objects.filter(department=department).first()
    rotations = list(Rotation.objects.filter(department=department, what=Rotation.What.KEY)[:SHOWN])
    return Standing(
        department=department,
        key=key,
        used=last_use(key) if key else None,
        next_rotation=next_rotation(key) if key else None,
        in_flight=in_flight(department, key),
        rotation=next((one for one in rotations if one.closed_at is None), None),
        history=rotations,
    )


def last_use(key: KeyReference) -> datetime | None:
    """When our own record last shows a call with this key."""
    calls = AuditEvent.objects.filter(
        department_id=key.department_id,
        event=Event.CALL_REQUESTED,
        key_fingerprint=key.fingerprint,
        at__gte=key.installed_at - timedelta(hours=1),  # it was tried shortly before it became current
    )
    return calls.order_by("-at").values_list("at", flat=True).first()


def next_rotation(key: KeyReference) -> datetime:
    """When the clock exchanges it: at its age, or before it ends by itself, whichever comes first."""
    by_age = key.installed_at + timedelta(days=settings.KEY_ROTATION_DAYS)
    return min(by_age, key.expires_at - BEFORE_EXPIRY) if key.expires_at else by_age


def in_flight(department: Department, key: KeyReference | None) -> list[InFlight]:
    """Calls that were requested and not yet answered, by the version of the key they were given."""
    answered = AuditEvent.objects.filter(call_id=OuterRef("call_id"), event=Event.CALL_ANSWERED)
    since = timezone.now() - timedelta(seconds=settings.ANSWER_SECONDS)
    open_calls = AuditEvent.objects.filter(
        ~Exists(answered), department_id=department.pk, event=Event.CALL_REQUESTED, at__gte=since
    ).exclude(key_version="")
    counted = open_calls.order_by().values("key_version").annotate(calls=Count("pk")).order_by("key_version")
    current = key.version if key else ""
    return [InFlight(row["key_version"], row["calls"], row["key_version"] == current) for row in counted]
