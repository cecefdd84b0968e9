"""The cast of the tests. Who is who, in every company made here:

- Alice  member and admin of HR
- Bob    member of HR
- Carol  member of Finance, and of HR
- Dave   member of Finance
- Ivan   IT, in no department
- Ada    auditor, in no department

A second company has people of the same names: they must get nothing of the first.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.test import AsyncClient
from django.urls import reverse

from chatgrid.accounts.models import User
from departments.keys.reader import store_provider_key
from departments.keys.secret import Secret
from departments.limits.models import Limit
from departments.models import Department, Membership, Organization
from departments.roles import DepartmentRole, OrganizationRole

PASSWORD = "a long enough phrase"


@dataclass(frozen=True)
class Company:
    organization: Organization
    hr: Department
    finance: Department
    alice: User
    bob: User
    carol: User
    dave: User
    ivan: User
    ada: User

    @property
    def people(self) -> tuple[User, ...]:
        return (self.alice, self.bob, self.carol, self.dave, self.ivan, self.ada)


def make_company() -> Company:
    """Two departments with neither key nor store: add what a test needs with the functions below."""
    mark = secrets.token_hex(4)
    organization = Organization.objects.create(slug=f"acme-{mark}", name=f"Acme {mark}", time_zone="Europe/Berlin")
    hr, finance = (
        Department.objects.create(organization=organization, slug=slug, name=name)
        for slug, name in (("hr", "Human Resources"), ("finance", "Finance"))
    )

    def person(name: str, role: OrganizationRole, **departments: tuple[Department, DepartmentRole]) -> User:
        email = f"{name.lower()}@{mark}.example"
        user = User.objects.create_user(email, PASSWORD, name=name, organization=organization, role=role)
        for department, its_role in departments.values():
            Membership.objects.create(user=user, department=department, role=its_role)
        return user

    member, employee = DepartmentRole.MEMBER, OrganizationRole.MEMBER
    return Company(
        organization=organization,
        hr=hr,
        finance=finance,
        alice=person("Alice", employee, hr=(hr, DepartmentRole.ADMIN)),
        bob=person("Bob", employee, hr=(hr, member)),
        carol=person("Carol", employee, hr=(hr, member), finance=(finance, member)),
        dave=person("Dave", employee, finance=(finance, member)),
        ivan=person("Ivan", OrganizationRole.IT),
        ada=person("Ada", OrganizationRole.AUDITOR),
    )


def make_key() -> Secret:
    """A well-formed provider key that nobody has issued."""
    part = secrets.token_hex(30)
    return Secret("-".join(("sk", "proj", part)) + "T3Blbk" + "FJ" + part)


def give_key(department: Department, key: Secret | None = None) -> Secret:
    """A key of its own for this department, in the vault. Returned so that a provider can be told about it."""
    key = key or make_key()
    store_provider_key(department, key, secrets.token_hex(16))
    department.refresh_from_db()
    return key


def give_store(department: Department) -> None:
    """A database of its own for this department."""
    from departments.documents.provision import provision_store

    provision_store(department)
    department.refresh_from_db()


def set_limit(company: Company, **fields: object) -> Limit:
    """A limit of the company, or of the `department` or `person` given."""
    return Limit.objects.create(organization=company.organization, reason="test", **fields)


async def signed_in(person: User) -> AsyncClient:
    """A browser in which this person is signed in.

    Asynchronous, as the product is: the synchronous test client would make an event loop, and pools of connections,
    for each request.
    """
    client = AsyncClient()
    await client.aforce_login(person)
    return client


async def freshly_signed_in(person: User) -> AsyncClient:
    """The same, and the person has just typed their password once more: what dangerous acts ask for."""
    client = await signed_in(person)
    response = await client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert response.status_code == 302
    return client
