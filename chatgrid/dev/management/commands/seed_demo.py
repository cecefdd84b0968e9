"""`manage.py seed_demo`: the demo companies, as often as you like, and who can sign in to them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from chatgrid.dev.demo.company import COMPANIES, Person
from chatgrid.dev.seed import demo_password, seed

ROLES = {"it": "IT", "auditor": "auditor", "member": ""}


class Command(BaseCommand):
    help = "Makes the demo companies with people, stores, keys and handbooks; what stands is left alone."

    def handle(self, *args: Any, **options: Any) -> None:
        seed()
        for company in COMPANIES:
            self.stdout.write(company.name)
            for person in company.people:
                self.stdout.write(f"  {person.email:<36} {person.name:<20} {describe(person)}")
        self.stdout.write(f"\nThe password of everybody: {demo_password()}")


def describe(person: Person) -> str:
    """Such as "IT; admin of it" or "member of hr, admin of onboarding"."""
    memberships = ", ".join(f"{role} of {department}" for department, role in person.memberships)
    return "; ".join(part for part in (ROLES[person.organization_role], memberships) if part)
