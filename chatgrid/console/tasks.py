"""The console's background work: proofs of the controls, by the clock and when somebody asks."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from chatgrid.console.prove import prove, prove_due
from departments.models import Organization


@shared_task(name="chatgrid.console.tasks.prove_controls")
def prove_controls() -> None:
    """Every check that is due, in every organization."""
    prove_due()


@shared_task(name="chatgrid.console.tasks.prove_control")
def prove_control(organization_id: str, control: int) -> None:
    """One control of one organization, because somebody pressed "Check now"."""
    organization = Organization.objects.filter(pk=UUID(organization_id)).first()
    if organization is not None:
        prove(organization, control)
