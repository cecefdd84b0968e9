"""Who works at the two demo companies, as plain values that know nothing of the database.

- Two companies, so that every page can be tried for what it must not show.
- Department slugs are the folder names below `handbook/<company slug>/`.
- No passwords: whoever loads the companies makes them up and prints them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OrganizationRole = Literal["member", "it", "auditor"]
DepartmentRole = Literal["member", "admin"]


@dataclass(frozen=True)
class Person:
    """One person; `memberships` are (department slug, role in it). An auditor needs none: the record is enough."""

    email: str
    name: str
    organization_role: OrganizationRole
    memberships: tuple[tuple[str, DepartmentRole], ...]


@dataclass(frozen=True)
class DepartmentPlan:
    """One department; `instructions` tell its assistant what it is for."""

    slug: str
    name: str
    instructions: str


@dataclass(frozen=True)
class Company:
    """One organization; `timezone` is an IANA name, `email_domain` has no at sign."""

    slug: str
    name: str
    email_domain: str
    timezone: str
    departments: tuple[DepartmentPlan, ...]
    people: tuple[Person, ...]


TARNHOLM = Company(
    slug="tarnholm",
    name="Tarnholm Instruments",
    email_domain="tarnholm.example",
    timezone="Europe/Copenhagen",
    departments=(
        DepartmentPlan(
            slug="hr",
            name="Human Resources",
            instructions=(
                "You help the people team of Tarnholm Instruments answer questions about leave, pay, absence, conduct "
                "and learning. Office staff and workshop or field crews often have different rules: say which group a "
                "number is for, and ask when the question does not tell. Where two editions of a policy disagree, "
                "follow the one in force today and name its effective date. Never guess about a single person's pay "
                "or health; send such cases to people@tarnholm.example."
            ),
        ),
        DepartmentPlan(
            slug="it",
            name="Information Technology",
            instructions=(
                "You help the IT team of Tarnholm Instruments with sign-in, devices, the network, backups, software "
                "requests and incidents. Give procedures as numbered steps and keep commands exactly as documented. "
                "When somebody describes what may be a security incident, start with how to report it."
            ),
        ),
        DepartmentPlan(
            slug="finance",
            name="Finance",
            instructions=(
                "You help the finance team of Tarnholm Instruments with travel, expenses, purchasing, invoicing, the "
                "month-end close and budgets. Quote amounts with their currency and with the limit or approval that "
                "goes with them. The edition of a policy that holds on the day of the trip or purchase is the one "
                "that counts."
            ),
        ),
        DepartmentPlan(
            slug="onboarding",
            name="Onboarding",
            instructions=(
                "You help people who are new at Tarnholm Instruments, and those who look after them, through the "
                "first six months. Answer in plain words, explain house terms the first time you use them, and name "
                "the person or team to ask next."
            ),
        ),
    ),
    people=(
        Person("maren.voss-ekdahl@tarnholm.example", "Maren Voss-Ekdahl", "member", (("hr", "admin"),)),
        Person("idris.kallumal@tarnholm.example", "Idris Kallumal", "it", (("it", "admin"),)),
        Person("tomas.brandeiro@tarnholm.example", "Tomas Brandeiro", "member", (("finance", "admin"),)),
        Person(
            "yara.stenfeldt@tarnholm.example",
            "Yara Stenfeldt",
            "member",
            (("hr", "member"), ("onboarding", "admin")),
        ),
        Person("jonas.whitlow@tarnholm.example", "Jonas Whitlow", "member", (("onboarding", "member"),)),
        Person("odile.ferrant@tarnholm.example", "Odile Ferrant", "auditor", ()),
    ),
)

QUILLMERE = Company(
    slug="quillmere",
    name="Quillmere Press",
    email_domain="quillmere.example",
    timezone="America/Toronto",
    departments=(
        DepartmentPlan(
            slug="hr",
            name="Office and People",
            instructions=(
                "You answer questions about working at Quillmere Press: hours, holidays, benefits and the office. "
                "We are nineteen people, so when a document is silent the answer is to ask Agnes Harrowgate."
            ),
        ),
        DepartmentPlan(
            slug="editorial",
            name="Editorial",
            instructions=(
                "You help editors at Quillmere Press with submissions, schedules and house style. Where house style "
                "decides a point, quote the rule instead of general usage. Never judge a manuscript."
            ),
        ),
    ),
    people=(
        Person("agnes.harrowgate@quillmere.example", "Agnes Harrowgate", "it", (("hr", "admin"),)),
        Person("bello.castellane@quillmere.example", "Bello Castellane", "member", (("editorial", "admin"),)),
    ),
)

COMPANIES: tuple[Company, ...] = (TARNHOLM, QUILLMERE)
