"""What people change by hand at OpenAI, in the secret manager and in the settings, while keys have to be exchanged."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from departments.keys import drift
from departments.keys import rotation as rotating
from departments.keys.admin_api import AdminKeyMissing
from departments.keys.admin_key import admin_key_secret, read_admin_key
from departments.keys.models import Finding, ProviderProject
from departments.keys.project_plan import ProvisioningStopped
from departments.keys.provisioning import apply, plan, project_row
from departments.keys.reader import current_vault, fields_of, key_name, read_provider_key
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_provider import PROJECT_GONE
from departments.keys.rotation_subjects import admin_key_of
from departments.keys.secret import Secret
from departments.keys.trial import Verdict, look, try_out
from departments.keys.vaults import SecretMissing, Vault
from departments.models import Department
from tests.company import Company, give_key, make_key
from tests.departments.keys.rotating import PROJECT, Stage, in_project, run
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

Step, Result = Rotation.Step, Rotation.Result
FINDING_REPAIRED = "proj_2"


def is_repaired(stage: Stage) -> None:
    """IT has repaired the finding: there is a new project, whose key is left to the rotation."""
    account = stage.provider.create_service_account(FINDING_REPAIRED, "chatgrid")
    ProviderProject.objects.filter(project_id=FINDING_REPAIRED).delete()
    ProviderProject.objects.filter(department=stage.department).update(
        project_id=FINDING_REPAIRED, service_account_id=account.id
    )


@pytest.mark.parametrize("deleted", [False, True], ids=["archived", "deleted"])
@pytest.mark.parametrize("trigger", ["person_left", "leak"])
def test_a_rotation_whose_project_is_gone_waits_for_its_repair_and_goes_on_in_the_new_one(
    installed: Stage, trigger: str, deleted: bool
) -> None:
    in_project(installed)
    rotation = installed.start(trigger)
    installed.provider.close_project(PROJECT, deleted=deleted)
    installed.step(rotation)
    assert (rotation.step, rotation.problem) == (Step.MINT, PROJECT_GONE)
    is_repaired(installed)
    assert installed.run(rotation).result == Result.DONE
    assert installed.current_is_alive()
    assert list(installed.provider.live) == [rotation.new_key_id]
    assert rotation.project_id == FINDING_REPAIRED


@pytest.mark.parametrize("deleted", [False, True], ids=["archived", "deleted"])
@pytest.mark.parametrize("step", [Step.PROMOTE, Step.DRAIN])
def test_a_rotation_whose_project_goes_later_ends(installed: Stage, step: str, deleted: bool) -> None:
    in_project(installed)
    rotation = installed.start("person_left")
    if step == Step.PROMOTE:
        installed.provider.verdicts = [Verdict.UNCLEAR]
        installed.step(rotation)
    else:
        installed.run_to(rotation, step)
    installed.provider.close_project(PROJECT, deleted=deleted)
    assert installed.run(rotation).result == (Result.DONE if step == Step.DRAIN else Result.ROLLED_BACK)


def test_a_rotation_whose_project_is_gone_can_be_given_up(installed: Stage, ivan: By) -> None:
    in_project(installed)
    rotation = installed.start()
    installed.provider.close_project(PROJECT, deleted=True)
    installed.step(rotation)
    rotating.give_up(rotation, ivan)
    assert installed.run(rotation).result == Result.ROLLED_BACK


def test_a_deleted_service_account_is_made_again_by_the_rotation(installed: Stage) -> None:
    in_project(installed)
    for account in list(installed.provider.accounts):
        installed.provider.delete_service_account(PROJECT, account)
    rotation = installed.run(installed.start("leak"))
    assert (rotation.result, installed.current_is_alive()) == (Result.DONE, True)
    assert list(installed.provider.accounts) == [rotation.new_account_id]


def test_a_project_that_somebody_closed_is_repaired_in_the_middle_of_an_emergency(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)
    openai = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    rotation = rotating.start(company.hr, "leak")
    with openai.api() as api:
        api.archive_project(ProviderProject.objects.get(department=company.hr).project_id)
    rotating.advance(rotation.pk)
    drift.check(company.hr)
    drift.repair(Finding.objects.get(department=company.hr))
    assert run(rotation).result == Result.DONE
    held = fields_of(current_vault().get_current(key_name(company.hr)).value)
    assert openai.asks(Secret(held["api_key"])) == 200


# -- in the secret manager


def put_by_hand(vault: Vault, name: str, text: str) -> None:
    version = str(uuid.uuid4())
    vault.stage(name, version, Secret(text))
    vault.promote(name, version, vault.describe(name).current)


def test_a_bare_key_in_the_secret_manager_is_exchanged_and_proven_dead(installed: Stage) -> None:
    in_project(installed)
    put_by_hand(installed.vault, installed.name, installed.current_key().reveal() + "\n")
    rotation = installed.run(installed.start("leak"))
    assert rotation.result == Result.DONE
    assert installed.provider.deleted == [installed.first_key]
    assert list(installed.provider.live) == [rotation.new_key_id]


@pytest.mark.parametrize("text", ["to do: ask Ivan", "{}", "[]", '{"api_key": null}', '{"api_key": ""}'])
def test_what_is_no_key_in_the_secret_manager_does_not_hold_up_a_new_one(installed: Stage, text: str) -> None:
    in_project(installed)
    put_by_hand(installed.vault, installed.name, text)
    rotation = installed.run(installed.start("leak"))
    assert rotation.result == Result.DONE
    assert installed.current_is_alive()
    assert "needs_person" in installed.story(rotation), "nobody can say which key it had been"


def test_what_is_no_key_is_not_what_a_given_up_rotation_comes_back_to(installed: Stage, ivan: By) -> None:
    in_project(installed)
    put_by_hand(installed.vault, installed.name, "{}")
    rotation = installed.run_to(installed.start(), Step.DRAIN)
    rotating.give_up(rotation, ivan)
    assert installed.run(rotation).result == Result.DONE
    assert installed.current_is_alive()


def test_an_admin_key_that_was_overwritten_is_missing_until_one_is_pasted(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch, ivan: By
) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)
    openai = OpenAICompany(provider.address).belongs_to(company.organization)
    put_by_hand(current_vault(), admin_key_secret(company.organization), "{}")
    assert isinstance(plan(company.hr), AdminKeyMissing)
    with openai.api() as api:
        spare = api.create_admin_key("by hand", expires_in=timedelta(days=30)).value
    rotation = run(rotating.start_pasted(admin_key_of(company.organization), spare, ivan))
    assert (rotation.result, read_admin_key(company.organization)) == (Result.DONE, spare)


# -- in the console and in the settings


@pytest.fixture
def moved(company: Company, settings: Any) -> Iterator[Department]:
    """HR, which IT has moved to a server of the company's own, and its key was OpenAI's."""
    settings.PROVIDERS = {**settings.PROVIDERS, "own": {"kind": "compatible", "base_url": "http://127.0.0.1:1/v1"}}
    department = Department.objects.filter(pk=company.hr.pk)
    department.update(provider="own")
    company.hr.refresh_from_db()
    yield company.hr
    department.update(provider="openai")


async def test_a_key_is_sent_to_no_provider_but_its_own(company: Company, provider: Provider, settings: Any) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "own": settings.PROVIDERS["openai"]}
    key = give_key(company.hr)
    assert (await read_provider_key(company.hr)).value == key
    company.hr.provider = "own"
    with pytest.raises(SecretMissing):
        await read_provider_key(company.hr)
    company.hr.provider = "openai"
    assert (await read_provider_key(company.hr)).value == key


def test_the_old_key_is_proven_dead_where_it_belongs(
    installed: Stage, moved: Department, ivan: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Secret]] = []

    def look(department: Department, key: Secret) -> Verdict:
        asked.append((department.provider, key))
        return installed.provider.look_admin(key)

    monkeypatch.setattr(installed.provider, "look", look)
    old, new = installed.current_key(), installed.provider.add("person", "by hand", None).value
    rotation = installed.run(rotating.start_pasted(moved, new, ivan))
    assert rotation.result == Result.DONE
    assert set(asked) == {("own", new), ("openai", old)}


@pytest.fixture
def unserved(company: Company) -> Iterator[Department]:
    """Finance, whose provider was taken out of the settings after its project had been made."""
    department, row = Department.objects.filter(pk=company.finance.pk), project_row(company.finance)
    department.update(provider="gone")
    ProviderProject.objects.filter(pk=row.pk).update(state=ProviderProject.State.READY)
    company.finance.refresh_from_db()
    yield company.finance
    ProviderProject.objects.filter(pk=row.pk).delete()
    department.update(provider="openai")


def test_a_provider_that_settings_name_no_longer_stops_its_own_department_only(
    company: Company, provider: Provider, unserved: Department
) -> None:
    OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    drift.check_new()
    assert ProviderProject.objects.get(department=company.hr).checked_at is not None
    with pytest.raises(ProvisioningStopped, match="no provider gone in CHATGRID_PROVIDERS"):
        plan(unserved)
    assert {look(unserved, make_key()), try_out(unserved, make_key(), "1")} == {Verdict.UNCLEAR}
