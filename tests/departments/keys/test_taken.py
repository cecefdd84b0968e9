"""A pasted key that is in use already: of this department, of another one, of another company, or just put aside."""

from __future__ import annotations

from typing import Any

import pytest

from departments.keys import rotation as rotating
from departments.keys import taken
from departments.keys.models import AdminKeyReference, KeyReference
from departments.keys.rotation import By, RotationError
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.rotation_subjects import admin_key_of
from departments.keys.trial import Verdict
from departments.keys.vaults import Vault
from departments.models import Department
from tests.company import Company
from tests.departments.keys.rotating import AdminStage, Clock, MemoryProvider, Stage, in_project
from tests.openai_admin import make_admin_key

Step, Result = Rotation.Step, Rotation.Result


@pytest.fixture
def admin_stage(stage: Stage) -> AdminStage:
    return AdminStage(stage.department, stage.vault, MemoryProvider(Clock()), stage.clock)


def beside(stage: Stage, department: Department) -> Stage:
    """Another department of the same provider and secret manager, without a key."""
    return Stage(department, stage.vault, stage.provider, stage.clock)


def is_refused(sentence: str, target: Any, key: Any, by: By) -> bool:
    with pytest.raises(RotationError) as refused:
        rotating.start_pasted(target, key, by)
    return str(refused.value) == sentence


def test_the_key_in_use_cannot_take_its_own_place(installed: Stage, ivan: By) -> None:
    assert is_refused(taken.IN_USE, installed.department, installed.current_key(), ivan)
    assert not Rotation.objects.filter(department=installed.department).exists()
    assert not KeyAccess.objects.filter(department=installed.department).exists()


def test_neither_can_the_admin_key(admin_stage: AdminStage, ivan: By, company: Company) -> None:
    admin_stage.install()
    assert is_refused(taken.IN_USE, admin_key_of(company.organization), admin_stage.current_key(), ivan)


def test_a_key_of_one_department_is_not_taken_for_another(installed: Stage, company: Company, ivan: By) -> None:
    assert is_refused(taken.ELSEWHERE, company.finance, installed.current_key(), ivan)
    assert not KeyReference.objects.filter(department=company.finance).exists()


def test_nor_for_another_company(installed: Stage, other_company: Company, admin_stage: AdminStage, ivan: By) -> None:
    assert is_refused(taken.ELSEWHERE, other_company.hr, installed.current_key(), ivan)
    admin_stage.install()
    theirs = admin_key_of(other_company.organization)
    assert is_refused(taken.ELSEWHERE, theirs, admin_stage.current_key(), ivan)
    assert not AdminKeyReference.objects.filter(organization=other_company.organization).exists()


def test_a_compatible_server_may_know_one_key_for_all(
    installed: Stage, company: Company, ivan: By, settings: Any
) -> None:
    own = {"kind": "compatible", "base_url": "http://127.0.0.1:1/v1"}
    settings.PROVIDERS = {**settings.PROVIDERS, "own": own}
    Department.objects.filter(pk=company.finance.pk).update(provider="own")
    company.finance.refresh_from_db()
    finance = beside(installed, company.finance)
    rotation = rotating.start_pasted(company.finance, installed.current_key(), ivan)
    assert finance.run(rotation).result == Result.DONE
    assert finance.current_key() == installed.current_key()


def test_of_two_departments_that_were_given_one_key_at_once_one_gets_it(
    stage: Stage, company: Company, ivan: By
) -> None:
    pasted, finance = stage.provider.add("person", "by hand", None).value, beside(stage, company.finance)
    rotations = [rotating.start_pasted(each, pasted, ivan) for each in (company.hr, company.finance)]
    assert stage.run(rotations[0]).result == Result.DONE
    assert finance.run(rotations[1]).result == Result.ROLLED_BACK
    assert stage.current_key() == pasted
    assert stage.provider.look(company.hr, pasted) is Verdict.ALIVE
    assert KeyReference.objects.filter(fingerprint=pasted.fingerprint()).count() == 1


def test_a_key_that_was_put_aside_does_not_come_back_before_it_is_proven_dead(stage: Stage, ivan: By) -> None:
    stage.provider.has_admin_key = False
    stage.install(made_by_us=False)
    first, second = stage.current_key(), stage.provider.add("person", "by hand", None).value
    stage.run_to(rotating.start_pasted(stage.department, second, ivan), Step.PROVE)
    assert is_refused(taken.GOING, stage.department, first, ivan)
    third = stage.provider.add("person", "by hand", None).value
    stage.run_to(rotating.start_pasted(stage.department, third, ivan), Step.PROVE)
    for going in (first, second):
        assert is_refused(taken.GOING, stage.department, going, ivan)


def test_a_well_formed_key_that_nobody_has_is_taken(installed: Stage, company: Company) -> None:
    assert taken.why_not(admin_key_of(company.organization), make_admin_key().fingerprint()) == ""


@pytest.mark.parametrize("is_listed", [True, False], ids=["of the project", "of another project"])
@pytest.mark.parametrize("how", ["given up", "refused"])
def test_a_pasted_key_that_is_not_used_after_all_is_deleted_or_named_for_a_person(
    installed: Stage, ivan: By, monkeypatch: pytest.MonkeyPatch, how: str, is_listed: bool
) -> None:
    in_project(installed)
    before, pasted = installed.current_key(), installed.provider.add("person", "by hand", None)
    rotation = rotating.start_pasted(installed.department, pasted.value, ivan)
    if how == "given up":
        installed.run_to(rotation, Step.DRAIN)
        rotating.give_up(rotation, ivan)
    else:
        installed.provider.verdicts = [Verdict.FORBIDDEN]
    if not is_listed:
        others = [key for key, _ in installed.provider.live.values() if key.id != pasted.id]
        monkeypatch.setattr(installed.provider, "list_keys", lambda project_id: others)
        installed.run_to(rotation, Step.PROVE)
        installed.step(rotation)
        assert rotation.problem == f"Delete the key {pasted.value.fingerprint()} at the provider: it still works."
        installed.provider._end(pasted.id)
        rotating.look_again(rotation)
    assert installed.run(rotation).result == Result.ROLLED_BACK
    assert installed.current_key() == before
    assert list(installed.provider.live) == [installed.first_key]


def test_the_rotator_asks_once_more(stage: Stage, local_vault: Vault, ivan: By) -> None:
    """The first key of a department came from elsewhere between the paste and the rotator's look at it."""
    pasted = stage.provider.add("person", "by hand", None).value
    rotation = rotating.start_pasted(stage.department, pasted, ivan)
    stage.install()
    KeyReference.objects.filter(department=stage.department).update(fingerprint=pasted.fingerprint())
    assert stage.run(rotation).result == Result.ROLLED_BACK
    assert stage.current_is_alive()
