"""Why a pasted key is not taken although it may work: it is in use here already, or on its way out.

Rules:
- A key belongs to one department (an admin key to one organization). Whoever pastes it a second time would share calls,
  bounds and exchange; and of two holders of one key the first exchange would end the other's.
- A key that is in use, or that an exchange has just put aside, cannot take its own place: the exchange would have to
  prove the key dead that readers get.
- Only a compatible server may know one key for everybody; there the same key may serve several departments.
- Asked of our own rows, by fingerprint: when the key is pasted, and again by the rotator before it is stored.
"""

from __future__ import annotations

from django.conf import settings
from django.db.models import Q

from departments.keys.models import AdminKeyReference, KeyReference
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import Subject

IN_USE = "This key is in use here already. Make a new one at the provider and paste that."
GOING = "This key was exchanged and is on its way out. Make a new one at the provider and paste that."
ELSEWHERE = "This key is in use elsewhere in ChatGrid. Make one at the provider for this place alone and paste that."


def why_not(subject: Subject, fingerprint: str) -> str:
    """A sentence for the person, or nothing where the key may be taken."""
    if _is_in_use(subject, fingerprint):
        return IN_USE
    if _is_going(subject, fingerprint):
        return GOING
    return ELSEWHERE if _is_elsewhere(subject, fingerprint) else ""


def _is_in_use(subject: Subject, fingerprint: str) -> bool:
    if subject.department is None:
        return AdminKeyReference.objects.filter(organization=subject.organization, fingerprint=fingerprint).exists()
    return KeyReference.objects.filter(department=subject.department, fingerprint=fingerprint).exists()


def _is_going(subject: Subject, fingerprint: str) -> bool:
    """What the open exchange replaces, or has still to prove dead for an earlier one."""
    open_one = subject.open_rotation()
    if open_one is None:
        return False
    handed_over = Q(result=Rotation.Result.HANDED_OVER, old_version__in=open_one.also_prove)
    return subject.rotations().filter(Q(pk=open_one.pk) | handed_over, old_fingerprint=fingerprint).exists()


def _is_elsewhere(subject: Subject, fingerprint: str) -> bool:
    coming = Rotation.objects.filter(what=subject.what, closed_at=None, new_fingerprint=fingerprint, giving_up=False)
    if subject.department is None:
        others = AdminKeyReference.objects.filter(fingerprint=fingerprint).exclude(organization=subject.organization)
        return others.exists() or coming.exclude(organization=subject.organization).exists()
    if settings.PROVIDERS.get(subject.department.provider, {}).get("kind") == "compatible":
        return False
    used = KeyReference.objects.filter(fingerprint=fingerprint).exclude(department=subject.department)
    return used.exists() or coming.exclude(department=subject.department).exists()
