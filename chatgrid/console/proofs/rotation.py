"""Control 7: keys are exchanged in time. Their ages, their ends, exchanges that wait for a person, and the last one."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from chatgrid.console.proofs.base import Evidence, counted, named
from departments.keys.models import KeyReference
from departments.keys.rotation_models import Rotation
from departments.models import Organization

GRACE = timedelta(days=1)  # an exchange begins at the age and takes its time


def look(organization: Organization) -> list[Evidence]:
    rows = KeyReference.objects.filter(department__organization=organization, department__is_active=True)
    keys = list(rows.select_related("department").order_by("installed_at"))
    if not keys:
        return [Evidence("There is no key yet", holds=None)]
    return [_ages(keys), *_refused(keys), *_ends(keys), *_waiting(organization), _last(organization)]


def _ages(keys: list[KeyReference]) -> Evidence:
    oldest = timezone.now() - timedelta(days=settings.KEY_ROTATION_DAYS) - GRACE
    old = [key.department.name for key in keys if key.installed_at < oldest]
    if old:
        return Evidence(f"Older than {settings.KEY_ROTATION_DAYS} days: {named(old)}", False, _keys())
    age, most = timesince(keys[0].installed_at, depth=1), settings.KEY_ROTATION_DAYS
    return Evidence(f"{counted(len(keys), 'key')}; the oldest is {age} old, {most} days are allowed")


def _refused(keys: list[KeyReference]) -> list[Evidence]:
    broken = [key.department.name for key in keys if key.state == KeyReference.State.BROKEN]
    return [Evidence(f"Refused by the provider: {named(broken)}", False, _keys())] if broken else []


def _ends(keys: list[KeyReference]) -> list[Evidence]:
    ended = [key.department.name for key in keys if key.expires_at and key.expires_at <= timezone.now()]
    return [Evidence(f"Ended by themselves: {named(ended)}", False, _keys())] if ended else []


def _waiting(organization: Organization) -> list[Evidence]:
    rows = Rotation.objects.filter(organization=organization, closed_at=None).exclude(problem="")
    waiting = [row.place for row in rows.select_related("department", "organization")]
    return [Evidence(f"An exchange does not get on: {named(waiting)}", False, _keys())] if waiting else []


def _last(organization: Organization) -> Evidence:
    closed = Rotation.objects.filter(organization=organization).exclude(closed_at=None)
    last = closed.select_related("department", "organization").order_by("-closed_at").first()
    if last is None or last.closed_at is None:
        return Evidence("No key was exchanged here yet", url=_keys())
    holds = last.result != Rotation.Result.OUTAGE
    when = timesince(last.closed_at, depth=1)
    return Evidence(f"Last exchange: {last.place}, {when} ago. {last.get_result_display()}", holds, _keys())


def _keys() -> str:
    return reverse("admin:keys_keyreference_changelist")
