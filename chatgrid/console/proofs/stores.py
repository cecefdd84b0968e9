"""Control 4: one store per department. Really tries to enter: the own store must open, every other must refuse.

Rules:
- Each department's credential tries the next department's database, in a ring of at most `MOST` drawn by lot, and the
  application's own role tries all of them. Only the server's "permission denied" counts as a refusal: a server that is
  away refuses nobody.
- Reading a credential is an event in the record, as every read of a secret.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

import psycopg
from django.conf import settings
from django.urls import reverse
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chatgrid.console.proofs.base import Evidence, counted, named
from departments import loop
from departments.documents.credentials import Credential, store_credential
from departments.keys.vaults import VaultError
from departments.models import Department, Organization

MOST = 20
OPENED, REFUSED, UNKNOWN = "opened", "refused", "unknown"


def look(organization: Organization) -> list[Evidence]:
    rows = Department.objects.filter(organization=organization, is_active=True).select_related("organization")
    without = list(rows.filter(store_ready=False).values_list("name", flat=True))
    chosen = _some(list(rows.filter(store_ready=True)))
    evidence = _tried(chosen) if chosen else []
    if without:
        address = f"{reverse('admin:departments_department_changelist')}?store=missing"
        evidence.append(Evidence(f"No store yet: {named(without)}", holds=None, url=address))
    return evidence


def _some(departments: list[Department]) -> list[Department]:
    return departments if len(departments) <= MOST else secrets.SystemRandom().sample(departments, MOST)


def _tried(departments: list[Department]) -> list[Evidence]:
    try:
        credentials = {each: loop.run(store_credential(each)) for each in departments}
    except VaultError as error:
        return [Evidence(f"The stores’ passwords cannot be read: {type(error).__name__}", holds=False)]
    own = {each.name: _enter(credential.conninfo()) for each, credential in credentials.items()}
    evidence = [_own(own)]
    if len(departments) > 1:
        evidence.append(_foreign("another department’s role", _ring(credentials)))
    everybody = {each.name: _enter(_as_application(credential)) for each, credential in credentials.items()}
    return [*evidence, _foreign("the application’s own role", everybody)]


def _ring(credentials: dict[Department, Credential]) -> dict[str, str]:
    """For each department: what its neighbour's role finds at its door."""
    departments = list(credentials)
    tries = {}
    for neighbour, department in zip(departments, [*departments[1:], departments[0]], strict=True):
        place = credentials[department]
        there = replace(credentials[neighbour], database=place.database, host=place.host, port=place.port)
        tries[department.name] = _enter(there.conninfo())
    return tries


def _own(tried: dict[str, str]) -> Evidence:
    closed = [name for name, result in tried.items() if result != OPENED]
    if closed:
        return Evidence(f"Their own stores do not open: {named(closed)}", holds=False)
    return Evidence(f"{counted(len(tried), 'store')} opened, each with its own role")


def _foreign(who: str, tried: dict[str, str]) -> Evidence:
    opened = [name for name, result in tried.items() if result == OPENED]
    unknown = [name for name, result in tried.items() if result == UNKNOWN]
    if opened:
        return Evidence(f"Opened by {who}: {named(opened)}", holds=False)
    if unknown:
        return Evidence(f"Could not be tried by {who}: {named(unknown)}", holds=None)
    return Evidence(f"{counted(len(tried), 'attempt')} by {who} refused by the server: permission denied")


def _as_application(credential: Credential) -> str:
    application = settings.DATABASES["default"]
    place = conninfo_to_dict(credential.conninfo())
    return make_conninfo("", **{**place, "user": application["USER"], "password": application["PASSWORD"]})


def _enter(conninfo: str) -> str:
    try:
        with psycopg.connect(conninfo) as entered:
            entered.execute("SELECT 1")
    except psycopg.OperationalError as error:
        # a refusal at the door has no SQLSTATE in libpq, only the server's words, which we run untranslated
        return REFUSED if "permission denied" in str(error) else UNKNOWN
    return OPENED
