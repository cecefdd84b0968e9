"""A project that is closed for ever while its key is being exchanged: one end, no live key, a receipt that is true."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from departments.keys import archiving, tasks
from departments.keys import rotation as rotating
from departments.keys.archiving import ArchiveReceipt, archive
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.provisioning import ProvisioningStopped, apply
from departments.keys.reader import current_vault, key_name
from departments.keys.rotation import By
from departments.keys.rotation_claims import win_claim
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.rotation_parts import api_key_in
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing
from departments.keys.vaults.names import inbox_name
from tests.company import Company, make_key
from tests.departments.keys.rotating import run
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

Step, Result = Rotation.Step, Rotation.Result


@pytest.fixture
def openai(provider: Provider, company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAICompany]:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)  # the tests are the worker
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    yield there
    there.behave()


def held(company: Company) -> list[Secret]:
    """Every value that the secret manager has for the department."""
    name = key_name(company.hr)
    versions = current_vault().describe(name).created
    return [api_key_in(current_vault().get_version(name, version).value) for version in versions]


def is_gone(name: str) -> bool:
    try:
        current_vault().describe(name)
    except SecretMissing:
        return True
    return False


def closed(company: Company) -> ArchiveReceipt:
    receipt = archive(company.hr)
    assert isinstance(receipt, ArchiveReceipt)
    return receipt


def check_the_end(company: Company, openai: OpenAICompany, rotation: Rotation, keys: list[Secret]) -> None:
    rotation.refresh_from_db()
    assert (rotation.step, rotation.result, rotation.claim) == (Step.CLOSED, Result.ARCHIVED, None)
    assert rotating.advance(rotation.pk) is None
    assert not Rotation.objects.filter(department=company.hr, closed_at=None).exists()
    assert not KeyReference.objects.filter(department=company.hr).exists()
    assert is_gone(key_name(company.hr))
    assert is_gone(inbox_name(settings.ENVIRONMENT, rotation.pk))
    assert {openai.asks(key) for key in keys} <= {401}
    apply(company.hr)  # and it can begin anew
    assert [openai.asks(key) for key in held(company)] == [200]


@pytest.mark.parametrize(("step", "keys"), [(Step.PLAN, 1), (Step.DRAIN, 2), (Step.RETIRE, 2)])
def test_an_exchange_that_is_open_ends_with_its_project(
    company: Company, openai: OpenAICompany, step: str, keys: int
) -> None:
    rotation = rotating.start(company.hr, "button")
    if step != Step.PLAN:
        run(rotation, step)
    values, versions = held(company), set(current_vault().describe(key_name(company.hr)).created)
    ids = set(filter(None, (rotation.new_key_id, KeyReference.objects.get(department=company.hr).key_id)))
    ids |= {rotation.old_key_id} - {""}
    receipt = closed(company)
    assert (len(values), len(receipt.key_ids), receipt.elsewhere) == (keys, keys, ())
    assert (set(receipt.key_ids), set(receipt.secret_versions)) == (ids, versions)
    check_the_end(company, openai, rotation, values)


def test_nothing_is_deleted_while_a_worker_is_at_the_exchange(company: Company, openai: OpenAICompany) -> None:
    rotation, (key,) = rotating.start(company.hr, "button"), held(company)
    win_claim(rotation.pk, datetime.now(UTC))
    with pytest.raises(ProvisioningStopped, match="Try again in a minute"):
        archive(company.hr)
    assert openai.asks(key) == 200
    Rotation.objects.filter(pk=rotation.pk).update(claimed_until=datetime.now(UTC) - timedelta(seconds=1))
    closed(company)
    check_the_end(company, openai, rotation, [key])


@pytest.mark.parametrize(
    ("when", "method", "path"),
    [("before", "DELETE", "service_accounts"), ("before", "POST", "/archive$"), ("after", "POST", "/archive$")],
)
def test_the_receipt_of_a_second_attempt_names_what_the_first_had_deleted(
    company: Company, openai: OpenAICompany, when: str, method: str, path: str
) -> None:
    rotation = run(rotating.start(company.hr, "button"), Step.RETIRE)
    values = held(company)
    openai.order(when, "error", method=method, path=path, times=3)
    with pytest.raises(ProvisioningStopped):
        archive(company.hr)
    openai.behave()
    receipt = closed(company)
    assert set(receipt.key_ids) == {rotation.old_key_id, rotation.new_key_id}
    assert len(receipt.secret_versions) == 2
    check_the_end(company, openai, rotation, values)


def test_a_pasted_key_of_another_project_is_named_for_a_person_to_delete(
    company: Company, openai: OpenAICompany
) -> None:
    elsewhere, alice = make_key(), By(company.alice.pk, "Alice")
    rotation, values = rotating.start_pasted(company.hr, elsewhere, alice), held(company)
    tasks.archive_project(str(company.hr.pk))
    row = ProviderProject.objects.get(department=company.hr)
    assert row.state == ProviderProject.State.ARCHIVED
    assert elsewhere.fingerprint() in row.plan_sentence
    assert not KeyAccess.objects.filter(department=company.hr, how=KeyAccess.How.PASTED).exists()
    check_the_end(company, openai, rotation, values)


def test_a_pasted_key_of_the_project_itself_ends_with_it(company: Company, openai: OpenAICompany) -> None:
    row = ProviderProject.objects.get(department=company.hr)
    with openai.colleague("alice@acme.example").api() as api:
        made = api.create_key(row.project_id, row.service_account_id, "by hand", expires_in=timedelta(days=9))
    rotation = rotating.start_pasted(company.hr, made.value, By(company.alice.pk, "Alice"))
    run(rotation, Step.DRAIN)
    values, receipt = held(company), closed(company)
    assert (receipt.elsewhere, made.id in receipt.key_ids) == ((), True)
    check_the_end(company, openai, rotation, values)


def test_an_exchange_that_is_asked_for_meanwhile_ends_too(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, started = archiving._close, []

    def slowly(work: object) -> None:
        close(work)  # type: ignore[arg-type]
        started.append(rotating.start(company.hr, "leak"))

    monkeypatch.setattr(archiving, "_close", slowly)
    values = held(company)
    closed(company)
    check_the_end(company, openai, started[0], values)
