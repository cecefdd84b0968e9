"""Making and deleting a department's store: a database, its login role and the password in the secret manager.

Rules, each tried on PostgreSQL 16 and 18:
- The provisioner may create databases and roles and nothing else; it acts on a store only by SET ROLE to the store's
  role (`createrole_self_grant = 'set'`) and cannot connect to it.
- A new database takes no connection before PUBLIC's right to connect is revoked, so no other department has a moment.
- The password goes to the secret manager first: a crash after that is resumed with the same password.
- Every step may be repeated. `provision_store` on a store that is there brings its schema up to date.
- Databases and roles are named by `Department.store_name` and quoted by psycopg.sql.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from audit.events import Event
from audit.writer import Entry, record
from departments.documents.credentials import Credential, credential_name, credential_value, parse_credential
from departments.documents.logins import end_sessions, let_in, logins_of, shut_out
from departments.documents.originals import delete_originals
from departments.documents.schema import upgrade, version_of
from departments.keys.reader import current_vault, record_secret_read, secret_cache
from departments.keys.rotation import RotationError, end_for_good
from departments.keys.rotation_subjects import store_password_of
from departments.keys.vaults import SecretMissing, Vault
from departments.models import Department

IS_ROLE: LiteralString = "SELECT 1 FROM pg_roles WHERE rolname = %s"


class ProvisioningImpossible(Exception):
    """No store can be made or deleted with these settings; the message says which one to set."""


@dataclass(frozen=True)
class Receipt:
    """Proof that a store is gone."""

    department_id: str
    database: str
    originals: int
    secret_versions: tuple[str, ...]
    deleted_at: datetime


def provision_store(department: Department) -> None:
    """Makes the department's store, or finishes making it, or brings its schema up to date; sets `store_ready`.

    Raises psycopg.Error or VaultError where a step fails; calling again goes on from there.
    """
    place = _place(department)
    with _alone(department, place) as server:
        credential = _credential(current_vault(), credential_name(department), place)
        _make_role(server, credential)
        _make_database(server, credential)
    with psycopg.connect(credential.conninfo(), autocommit=True) as store:
        upgrade(store)
    if not department.store_ready:
        _note_ready(department)


def upgrade_store(department: Department, *, only_check: bool = False) -> tuple[int, int]:
    """Brings a store that is there to the newest schema, with its own credential: the version before and after.

    Raises psycopg.Error or VaultError where it cannot be entered or a step fails; calling again goes on from there.
    """
    credential = _read(current_vault(), credential_name(department))
    with psycopg.connect(credential.conninfo(), autocommit=True) as store:
        before = version_of(store)
        return before, before if only_check else upgrade(store)


def delete_store(department: Department, *, reason: str = "", name: str = "") -> Receipt:
    """Deletes the department's database, role, originals and password, for good; `name` is who does it, for the record.

    ProvisioningImpossible while a worker is exchanging the password; an exchange that only waits ends with the store.
    """
    try:
        end_for_good(store_password_of(department))
    except RotationError as error:
        raise ProvisioningImpossible(str(error)) from None
    department.store_ready = False
    Department.objects.filter(pk=department.pk).update(store_ready=False)
    with _alone(department, _place(department)) as server:
        _drop(server, department.store_name)
    originals = delete_originals(department)
    versions = _delete_secret(credential_name(department))
    receipt = Receipt(str(department.pk), department.store_name, originals, versions, timezone.now())
    details = {"originals": originals, "secret_versions": list(versions), "reason": reason}
    record(replace(_entry(department, Event.STORE_DELETED, details), actor_name=name))
    return receipt


def _place(department: Department) -> dict[str, Any]:
    """Where the store is: on the department's own server, else on the provisioner's."""
    address = conninfo_to_dict(_provisioner_url())
    server = department.store_server
    return {
        "role": department.store_name,
        "database": department.store_name,
        "host": server.host if server else str(address.get("host") or "localhost"),
        "port": server.port if server else int(address.get("port") or 5432),
        "tls": str(address.get("sslmode") or ""),
    }


def _provisioner_url() -> str:
    if not settings.PROVISIONER_URL:
        raise ProvisioningImpossible("Set CHATGRID_PROVISIONER_URL to the role that makes departments' stores.")
    return str(settings.PROVISIONER_URL)


def server_of(department: Department) -> AbstractContextManager[Connection[Any]]:
    """The provisioner's connection to the department's server, with nobody else at work on this store."""
    return _alone(department, _place(department))


@contextmanager
def _alone(department: Department, place: dict[str, Any]) -> Iterator[Connection[Any]]:
    """The provisioner's connection, one at a time for a store."""
    address = _provisioner_url()
    with psycopg.connect(address, host=place["host"], port=place["port"], autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(hashtext('store'), hashtext(%s))", [department.store_name])
        yield server


def _credential(vault: Vault, name: str, place: dict[str, Any]) -> Credential:
    """The credential in the secret manager; where there is none, or one for another place, a new version of it."""
    present = _present(vault, name)
    if present is not None and _names_place(present, place):
        return present
    password = present.password.reveal() if present else secrets.token_urlsafe(32)
    token = str(uuid4())
    login = present.login if present and present.role == place["role"] else ""
    vault.stage(name, token, credential_value(place, password, login))
    vault.promote(name, token, present.version if present else None)
    vault.drop_stage(name, token)
    secret_cache().forget(name)
    return _read(vault, name)


def _present(vault: Vault, name: str) -> Credential | None:
    try:
        return _read(vault, name)
    except SecretMissing:
        return None


def _read(vault: Vault, name: str) -> Credential:
    version = vault.get_current(name)
    record_secret_read(name, version, "a store is made, repaired, upgraded or moved")
    return parse_credential(version)


def _names_place(credential: Credential, place: dict[str, Any]) -> bool:
    return all(getattr(credential, name) == value for name, value in place.items())


def _make_role(server: Connection[Any], credential: Credential) -> None:
    if not _exists(server, IS_ROLE, credential.role):
        _run(server, "CREATE ROLE {}", credential.role)
    let_in(server, credential.role, credential.login, credential.password)


def _make_database(server: Connection[Any], credential: Credential) -> None:
    """A database that accepts connections is finished; one that does not may be half made."""
    name = credential.database
    if not _exists(server, "SELECT 1 FROM pg_database WHERE datname = %s", name):
        create = "CREATE DATABASE {} TEMPLATE {} OWNER {} ALLOW_CONNECTIONS false"
        _run(server, create, name, settings.STORE_TEMPLATE, credential.role)
    with _as_role(server, credential.role):
        _run(server, "REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", name)
        _run(server, "ALTER DATABASE {} ALLOW_CONNECTIONS true", name)


def _drop(server: Connection[Any], name: str) -> None:
    """Shut both logins out before the database goes: it could not be dropped with the second one's sessions open.

    Without FORCE, which asks for a right over every process there and fails when autovacuum happens to be one of them;
    the plain statement ends autovacuum by itself.
    """
    logins = [login for login in logins_of(name) if _exists(server, IS_ROLE, login)]
    if name not in logins:
        return
    for login in logins:
        shut_out(server, login)
        end_sessions(server, login)
    with _as_role(server, name):
        _run(server, "DROP DATABASE IF EXISTS {}", name)
    for login in reversed(logins):
        _run(server, "DROP ROLE {}", login)


@contextmanager
def _as_role(server: Connection[Any], role: str) -> Iterator[None]:
    _run(server, "SET ROLE {}", role)
    try:
        yield
    finally:
        server.execute("RESET ROLE")


def _run(server: Connection[Any], statement: LiteralString, *names: str) -> None:
    server.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _exists(server: Connection[Any], query: LiteralString, name: str) -> bool:
    return server.execute(query, [name]).fetchone() is not None


def _delete_secret(name: str) -> tuple[str, ...]:
    secret_cache().forget(name)
    try:
        return current_vault().delete(name).version_ids
    except SecretMissing:
        return ()


def _note_ready(department: Department) -> None:
    with transaction.atomic():
        Department.objects.filter(pk=department.pk).update(store_ready=True, store_password_at=timezone.now())
        record(_entry(department, Event.STORE_CREATED, {"server": str(department.store_server or "")}))
    department.store_ready = True


def _entry(department: Department, event: Event, details: dict[str, Any]) -> Entry:
    return Entry(
        event=event,
        **department.in_record,
        subject_kind="store",
        subject_id=department.store_name,
        details=details,
    )
