"""Makes the demo companies: people, departments, keys, stores, limits, and their handbooks on the way to being read.

Everything here can be repeated: what stands is left as it is, so that a laptop keeps what somebody did to it.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from chatgrid.accounts.models import User
from chatgrid.dev.demo.company import COMPANIES, Company, DepartmentPlan, Person
from chatgrid.dev.demo.render import handbook, render
from departments.documents.provision import provision_store
from departments.documents.store import open_store
from departments.documents.uploads import accept_upload
from departments.keys.admin_key import has_admin_key, store_admin_key
from departments.keys.models import ProviderProject
from departments.keys.secret import Secret
from departments.limits.models import Limit
from departments.loop import run
from departments.models import Department, Membership, Organization
from departments.provisioning import apply
from departments.roles import DepartmentRole

ORGANIZATION_TOKENS = 5_000_000
PERSON_TOKENS = 200_000
PERSON_REQUESTS = 20


def demo_password() -> str:
    """The password of every demo person: made up at the first start, kept in the data folder for its owner alone."""
    file = settings.DATA_FOLDER / "run" / "demo-password"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(f"tarnholm-{secrets.token_hex(3)}-{secrets.token_hex(3)}", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def seed() -> None:
    """Both companies, complete."""
    password = demo_password()
    for company in COMPANIES:
        organization = _organization(company)
        departments = {plan.slug: _department(organization, plan) for plan in company.departments}
        people = [_person(organization, person, departments, password) for person in company.people]
        _admin_key(organization)
        for department in departments.values():
            _provision(department)
        _handbook(company, departments, people)


def _organization(company: Company) -> Organization:
    organization, made = Organization.objects.get_or_create(
        slug=company.slug, defaults={"name": company.name, "time_zone": company.timezone}
    )
    if made:
        Limit.objects.create(
            organization=organization,
            tokens_per_day=ORGANIZATION_TOKENS,
            person_tokens_per_day=PERSON_TOKENS,
            person_requests_per_minute=PERSON_REQUESTS,
            reason="Set up with the demo company.",
        )
    return organization


def _department(organization: Organization, plan: DepartmentPlan) -> Department:
    department, _ = Department.objects.get_or_create(
        organization=organization, slug=plan.slug, defaults={"name": plan.name, "instructions": plan.instructions}
    )
    return department


def _person(organization: Organization, person: Person, departments: dict[str, Department], password: str) -> User:
    user = User.objects.filter(email=person.email).first()
    if user is None:
        user = User.objects.create_user(
            person.email, password, name=person.name, organization=organization, role=person.organization_role
        )
        for slug, role in person.memberships:
            Membership.objects.create(user=user, department=departments[slug], role=role)
    return user


def _admin_key(organization: Organization) -> None:
    """An admin key that only the simulator takes, made of parts so that no key lies in the source."""
    if settings.SIMULATED and not has_admin_key(organization):
        half = secrets.token_hex(30)
        key = Secret("-".join(("sk", "admin", half)) + "T3Blbk" + "FJ" + half)
        store_admin_key(organization, key, secrets.token_hex(16))


def _provision(department: Department) -> None:
    """Project, key and store, as IT would; of one that is ready only the store's schema is brought up to date.

    With a real provider nothing is made there: a demo must not open projects in somebody's account.
    """
    ready = ProviderProject.objects.filter(department=department, state=ProviderProject.State.READY).exists()
    if settings.SIMULATED and not ready:
        apply(department, by_name="make run")
        department.refresh_from_db(from_queryset=Department.objects.select_related("organization"))
    else:
        provision_store(department)


def _handbook(company: Company, departments: dict[str, Department], people: list[User]) -> None:
    there = {slug: run(_filenames(department)) for slug, department in departments.items()}
    for slug, source in handbook(company.slug):
        if not any(name.rsplit(".", 1)[0] == source.stem for name in there[slug]):
            _upload(departments[slug], _uploader(departments[slug], people), source)


async def _filenames(department: Department) -> set[str]:
    async with open_store(department) as store:
        page = await store.list_documents(limit=1_000)
        return {document.filename for document in page.documents}


def _uploader(department: Department, people: list[User]) -> User:
    admins = Membership.objects.filter(department=department, role=DepartmentRole.ADMIN).values_list(
        "user_id", flat=True
    )
    chosen: set[UUID] = set(admins)
    return next((person for person in people if person.pk in chosen), people[0])


def _upload(department: Department, person: User, source: Path) -> None:
    document = render(source)
    run(accept_upload(department, person, document.filename, SimpleUploadedFile(document.filename, document.content)))
