"""A department's store: made once, closed to everybody else, deleted with a receipt."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from audit.events import Event
from audit.models import AuditEvent
from departments.documents import provision, schema
from departments.documents.credentials import Credential, credential_name, parse_credential
from departments.documents.listing import count_due
from departments.documents.logins import end_sessions, let_in, let_leave, logins_of, sessions_of, shut_out
from departments.documents.provision import ProvisioningImpossible, delete_store, provision_store
from departments.documents.records import State
from departments.documents.store import NoStore, StoreDown, open_store
from departments.keys.reader import current_vault, secret_cache
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing
from departments.loop import run
from departments.models import Department
from tests.company import Company
from tests.departments.documents.shelf import LEAVE, add, events, execute, ready, upload
from tests.provider import Provider


def credential_of(department: Department) -> Credential:
    return parse_credential(current_vault().get_current(credential_name(department)))


def enter(credential: Credential, database: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        make_conninfo(credential.conninfo(), dbname=database or credential.database), autocommit=True
    )


def test_a_store_is_made_once_and_recorded_once(company: Company) -> None:
    provision_store(company.hr)
    first = credential_of(company.hr)
    provision_store(company.hr)
    company.hr.refresh_from_db()
    assert company.hr.store_ready
    assert credential_of(company.hr).version == first.version
    assert events(company.hr) == [Event.STORE_CREATED]
    with enter(first) as store:
        assert store.execute("SELECT max(version) FROM store_schema").fetchone() == (schema.newest(),)


def test_the_password_is_nowhere_but_in_the_secret_manager(company: Company) -> None:
    provision_store(company.hr)
    password = credential_of(company.hr).password.reveal()
    assert password not in repr(credential_of(company.hr))
    for event in AuditEvent.objects.filter(department_id=company.hr.pk):
        assert password not in str(event.details)


@pytest.mark.parametrize("step", ["_make_role", "_make_database", "upgrade", "_note_ready"])
def test_a_crash_at_any_step_is_resumed_with_the_same_password(
    company: Company, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError(step)

    monkeypatch.setattr(provision, step, crash)
    with pytest.raises(RuntimeError, match=step):
        provision_store(company.hr)
    begun = credential_of(company.hr)
    monkeypatch.undo()
    company.hr.refresh_from_db()
    assert not company.hr.store_ready
    provision_store(company.hr)
    assert credential_of(company.hr).version == begun.version
    assert events(company.hr) == [Event.STORE_CREATED]


def test_no_department_can_enter_anothers_store_or_any_other_database(company: Company, other_company: Company) -> None:
    for department in (company.hr, company.finance, other_company.hr):
        provision_store(department)
    hr = credential_of(company.hr)
    control = settings.DATABASES["default"]["NAME"]
    others = [company.finance.store_name, other_company.hr.store_name, control, "postgres", settings.STORE_TEMPLATE]
    for database in others:
        with pytest.raises(psycopg.OperationalError):
            enter(hr, database)
    with enter(hr) as store, pytest.raises(psycopg.errors.InsufficientPrivilege):
        store.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(company.finance.store_name)))
    app = conninfo_to_dict(make_conninfo(hr.conninfo(), user=settings.DATABASES["default"]["USER"],
                                         password=settings.DATABASES["default"]["PASSWORD"]))  # fmt: skip
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(make_conninfo(**app))
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(settings.PROVISIONER_URL, dbname=company.hr.store_name)


def test_a_departments_role_has_no_rights_beyond_its_own_database(company: Company) -> None:
    provision_store(company.hr)
    with enter(credential_of(company.hr)) as store:
        refused = ("CREATE ROLE x", "CREATE DATABASE x", "COPY draft FROM PROGRAM 'id'", "DROP EXTENSION vector")
        for statement in refused:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                store.execute(statement)


def test_departments_of_the_same_name_in_two_companies_share_nothing(company: Company, other_company: Company) -> None:
    provision_store(company.hr)
    provision_store(other_company.hr)
    mine, theirs = credential_of(company.hr), credential_of(other_company.hr)
    assert mine.database != theirs.database
    assert mine.password != theirs.password


def test_without_a_provisioner_it_says_which_setting_is_missing(company: Company, settings: object) -> None:
    settings.PROVISIONER_URL = ""  # type: ignore[attr-defined]
    with pytest.raises(ProvisioningImpossible, match="CHATGRID_PROVISIONER_URL"):
        provision_store(company.hr)


def test_deleting_a_store_leaves_nothing_but_the_receipt(company: Company, provider: Provider) -> None:
    hr = ready(company.hr)
    run(upload(hr, company.alice, LEAVE))
    credential = credential_of(hr)
    receipt = delete_store(hr)
    assert (receipt.originals, receipt.secret_versions) == (1, (credential.version,))
    with pytest.raises(psycopg.OperationalError):
        enter(credential)
    with pytest.raises(SecretMissing):
        current_vault().get_current(credential_name(hr))
    assert default_storage.listdir(str(hr.pk))[1] == []
    assert events(hr)[-1] == Event.STORE_DELETED
    with pytest.raises(NoStore):
        run(upload(hr, company.alice, LEAVE))
    assert delete_store(hr).originals == 0  # again, after a crash


def test_a_store_is_deleted_by_a_command_that_asks_first(
    company: Company, other_company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(company.hr)
    ready(other_company.hr)
    words = [company.organization.slug, company.hr.slug]
    with pytest.raises(CommandError, match="--reason"):
        call_command("delete_store", *words, "--no-input")
    monkeypatch.setattr("builtins.input", lambda _: "finance")
    with pytest.raises(CommandError, match="Nothing was deleted"):
        call_command("delete_store", *words, "--reason", "HR has moved")
    enter(credential_of(company.hr))
    monkeypatch.setattr("builtins.input", lambda _: company.hr.slug)
    call_command("delete_store", *words, "--reason", "HR has moved", "--as", "Ivan", stdout=(said := io.StringIO()))
    receipt = json.loads(said.getvalue())
    assert receipt["database"] == company.hr.store_name
    event = AuditEvent.objects.get(department_id=company.hr.pk, event=Event.STORE_DELETED)
    assert (event.actor_name, event.details["reason"]) == ("Ivan", "HR has moved")
    assert event.details["secret_versions"] == receipt["secret_versions"]
    enter(credential_of(other_company.hr))
    with pytest.raises(CommandError, match="no department"):
        call_command("delete_store", company.organization.slug, "nobody", "--reason", "HR has moved")


async def test_a_password_that_was_changed_is_read_again(company: Company, provider: Provider) -> None:
    hr = ready(company.hr)
    assert (await add(hr, company.alice, LEAVE)).state is State.LIVE
    old = credential_of(hr)
    await execute(hr, "ALTER ROLE CURRENT_USER PASSWORD 'another phrase'")
    name, vault = credential_name(hr), current_vault()
    changed = vault.get_current(name).value.reveal().replace(old.password.reveal(), "another phrase")
    vault.stage(name, "0" * 32, Secret(changed))
    vault.promote(name, "0" * 32, old.version)
    secret_cache().forget(name)
    async with open_store(hr) as store:
        assert (await store.count()).live == 1


async def test_a_store_that_cannot_be_reached_gives_a_sentence(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr = ready(company.hr)
    monkeypatch.setattr("departments.documents.pools.TIMEOUT", 0.5)
    await execute(hr, "ALTER ROLE CURRENT_USER PASSWORD 'nobody knows'")
    from departments.documents.pools import close_pools

    await close_pools()
    with pytest.raises(StoreDown) as down:
        async with open_store(hr) as store:
            await store.count()
    assert "Try again" in down.value.sentence
    assert hr.store_name not in down.value.sentence


def upgraded(*arguments: str) -> str:
    said = io.StringIO()
    try:
        call_command("upgrade_stores", *arguments, stdout=said)
    except CommandError as error:
        said.write(f"failed: {error}")
    return said.getvalue()


def line_of(said: str, department: Department) -> str:
    name = f"{department.organization.slug}/{department.slug}:"
    return next(line for line in said.splitlines() if line.startswith(name)).removeprefix(name).strip()


def test_every_store_is_upgraded_by_one_command_that_may_be_repeated(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    provision_store(company.finance)
    steps = schema._steps()
    with monkeypatch.context() as before:
        before.setattr(schema, "_steps", lambda: steps[:3])
        provision_store(company.hr)
    assert line_of(upgraded("--check"), company.hr) == "version 3"
    said = upgraded()
    assert line_of(said, company.hr) == f"from version 3 to {schema.newest()}"
    assert line_of(said, company.finance) == f"version {schema.newest()}"
    assert line_of(upgraded(), company.hr) == f"version {schema.newest()}"


def test_a_store_that_cannot_be_reached_is_named_and_keeps_nobody_waiting(company: Company) -> None:
    provision_store(company.hr)
    provision_store(company.finance)
    current_vault().delete(credential_name(company.hr))
    secret_cache().forget(credential_name(company.hr))
    said = upgraded()
    assert "cannot be upgraded" in line_of(said, company.hr)
    assert line_of(said, company.finance) == f"version {schema.newest()}"
    assert "failed: " in said
    Department.objects.filter(pk=company.hr.pk).update(store_ready=False)


async def test_until_a_store_is_upgraded_people_get_a_sentence(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = schema._steps()
    monkeypatch.setattr(schema, "_steps", lambda: steps[:3])
    provision_store(company.hr)
    company.hr.refresh_from_db()
    async with open_store(company.hr) as store:
        with pytest.raises(StoreDown) as down:
            await count_due(store)
    assert "being upgraded" in down.value.sentence


def session_of_second_login(department: Department) -> psycopg.Connection[tuple[object, ...]]:
    """A session of a store's other login, as one that was opened before an exchange of the password."""
    owner, second = logins_of(department.store_name)
    password = Secret(secrets.token_hex(16))
    with provision.server_of(department) as server:
        let_in(server, owner, second, password)
    place = conninfo_to_dict(credential_of(department).conninfo()) | {"user": second, "password": password.reveal()}
    return psycopg.connect(make_conninfo(**place), autocommit=True)


def test_a_session_has_ended_when_it_is_said_to_have(company: Company) -> None:
    provision_store(company.hr)
    _, second = logins_of(company.hr.store_name)
    inside = session_of_second_login(company.hr)
    pid = inside.info.backend_pid
    os.kill(pid, signal.SIGSTOP)  # it cannot end before it goes on
    going_on = threading.Timer(0.7, os.kill, (pid, signal.SIGCONT))
    going_on.start()
    try:
        with provision.server_of(company.hr) as server:
            end_sessions(server, second)
            assert sessions_of(server, second) == 0
    finally:
        going_on.join()


def test_a_statement_under_way_may_end_before_its_session_does(company: Company) -> None:
    provision_store(company.hr)
    _, second = logins_of(company.hr.store_name)
    inside = session_of_second_login(company.hr)

    def ask_and_leave() -> str:
        """As a pool does with a connection of an older password."""
        with inside:
            return inside.execute("SELECT pg_sleep(0.5)").statusmessage or ""

    with ThreadPoolExecutor(1) as apart, provision.server_of(company.hr) as server:
        answer = apart.submit(ask_and_leave)
        shut_out(server, second)
        let_leave(server, second)
        end_sessions(server, second)
        assert answer.result() == "SELECT 1"


def test_a_store_is_deleted_while_its_second_login_is_at_work_in_it(company: Company) -> None:
    provision_store(company.hr)
    inside = session_of_second_login(company.hr)
    inside.execute("CREATE TABLE worn AS SELECT n FROM generate_series(1, 200000) AS n")
    inside.pgconn.send_query(b"VACUUM (FULL) worn")  # in the middle of work when it is told to go
    assert delete_store(company.hr).database == company.hr.store_name
    with pytest.raises(psycopg.OperationalError):
        inside.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(inside.info.dsn, password=inside.info.password)
