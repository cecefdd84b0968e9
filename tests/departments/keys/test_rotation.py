"""Rotation: each step, each way back, each refusal. Crashes are in test_rotation_crashes.py."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from audit.events import Event
from audit.models import AuditEvent
from departments.keys import key_people, rotation_worker
from departments.keys import rotation as rotating
from departments.keys.admin_api import AdminForbidden, AdminUnavailable
from departments.keys.models import KeyReference, ProviderProject
from departments.keys.offboarding import rotate_what_they_could_see
from departments.keys.rotation import By, NothingToConfirm, RotationError, TooLate
from departments.keys.rotation_claims import win_claim
from departments.keys.rotation_job import HOLD, drain_time
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.secret import Secret
from departments.keys.trial import Verdict
from tests.company import Company, make_key
from tests.departments.keys.rotating import PROJECT, Stage, in_project

Step, Mode, Result = Rotation.Step, Rotation.Mode, Rotation.Result
WHOLE_STORY = [
    "started",
    "planned",
    "minted",
    "staged",
    "verified",
    "promoted",
    "unstaged",
    "announced",
    "drained",
    "retired",
    "proved",
    "closed",
]


def test_a_planned_rotation_ends_with_the_old_key_proven_dead(installed: Stage) -> None:
    before = installed.current_key()
    rotation = installed.run(installed.start())
    assert rotation.result == Result.DONE
    assert installed.story(rotation) == WHOLE_STORY
    assert installed.current_is_alive()
    assert installed.current_key() != before
    assert list(installed.provider.live) == [rotation.new_key_id]
    assert installed.provider.deleted == [installed.first_key]


def test_the_reference_and_the_epoch_follow(installed: Stage) -> None:
    epoch = installed.department.key_epoch
    rotation = installed.run(installed.start())
    reference = KeyReference.objects.get(department=installed.department)
    installed.department.refresh_from_db()
    assert installed.department.key_epoch == epoch + 1
    assert (reference.version, reference.key_id) == (str(rotation.pk), rotation.new_key_id)
    assert reference.fingerprint == rotation.new_fingerprint == installed.current_key().fingerprint()
    assert reference.expires_at == rotation.new_expires_at


def test_no_column_and_no_event_holds_a_value(installed: Stage) -> None:
    old = installed.current_key()
    rotation = installed.run(installed.start())
    columns = repr(Rotation.objects.filter(pk=rotation.pk).values().get())
    events = repr(list(AuditEvent.objects.filter(organization_id=installed.department.organization_id).values()))
    for key in (old, installed.current_key()):
        assert key.reveal() not in columns + events


def test_a_department_has_one_open_rotation_and_a_second_wish_joins_it(installed: Stage) -> None:
    first = installed.start()
    assert installed.start("schedule").pk == first.pk
    assert Rotation.objects.filter(department=installed.department).count() == 1


def test_a_more_urgent_wish_hurries_the_open_rotation(installed: Stage, ivan: By) -> None:
    rotation = installed.run_to(installed.start(), Step.RETIRE)
    assert rotation.not_before is not None
    installed.start("leak", by=ivan)
    rotation.refresh_from_db()
    assert (rotation.mode, rotation.not_before) == (Mode.EMERGENCY, None)
    assert "hurried" in installed.story(rotation)


def test_an_emergency_cuts_a_drain_short(installed: Stage) -> None:
    rotation = installed.run_to(installed.start(), Step.DRAIN)
    installed.start("leak")
    installed.step(rotation)
    assert rotation.result == Result.DONE
    assert list(installed.provider.live) == [rotation.new_key_id]


def test_the_first_key_of_a_project_is_made_by_the_same_machine(stage: Stage) -> None:
    account = stage.provider.create_service_account(PROJECT, "chatgrid")
    in_project(stage)
    ProviderProject.objects.filter(department=stage.department).update(service_account_id=account.id)
    rotation = stage.run(stage.start())
    assert rotation.result == Result.DONE
    assert list(stage.provider.live) == [rotation.new_key_id]
    assert stage.current_is_alive()


def test_a_planned_rotation_holds_the_old_key_for_a_day(installed: Stage) -> None:
    rotation = installed.run_to(installed.start(), Step.RETIRE)
    assert rotation.not_before is not None
    assert abs(rotation.not_before - installed.clock.now() - HOLD) < timedelta(seconds=5)
    assert len(installed.provider.live) == 2


def test_a_person_who_left_is_not_given_that_day(installed: Stage) -> None:
    started = installed.clock.now()
    rotation = installed.run(installed.start("person_left"))
    assert rotation.mode == Mode.PROMPT
    assert installed.clock.now() - started < drain_time() + timedelta(minutes=1)


def test_an_emergency_does_not_drain(installed: Stage) -> None:
    started = installed.clock.now()
    rotation = installed.run(installed.start("leak"))
    assert rotation.result == Result.DONE
    assert "drained" not in installed.story(rotation)
    assert installed.clock.now() - started < timedelta(seconds=30)


def test_our_own_record_holds_the_deletion_back(installed: Stage) -> None:
    from audit.writer import Entry, record

    rotation = installed.run_to(installed.start("person_left"), Step.DRAIN)
    installed.clock.at = rotation.announced_at + drain_time()
    late_call = Entry(
        event=Event.CALL_REQUESTED, department_id=installed.department.pk, key_fingerprint=rotation.old_fingerprint
    )
    record(late_call)
    at = AuditEvent.objects.get(pk=late_call.id).at
    installed.clock.at = max(at, rotation.announced_at) + drain_time() - timedelta(seconds=2)
    installed.step(rotation)
    assert rotation.step == Step.DRAIN
    assert len(installed.provider.live) == 2
    installed.run(rotation)
    assert rotation.result == Result.DONE


def test_a_use_that_is_not_ours_is_a_finding_and_does_not_save_the_key(installed: Stage) -> None:
    rotation = installed.run_to(installed.start("person_left"), Step.DRAIN)
    installed.clock.turn(hours=1)
    installed.provider.used(installed.first_key)
    installed.run(rotation)
    assert "foreign_use" in installed.story(rotation)
    assert installed.provider.deleted == [installed.first_key]


def test_a_new_key_that_is_not_known_everywhere_yet_is_tried_again(installed: Stage) -> None:
    installed.provider.verdicts = [Verdict.DEAD, Verdict.DEAD, Verdict.UNCLEAR]
    assert installed.run(installed.start()).result == Result.DONE


@pytest.mark.parametrize("verdict", [Verdict.DEAD, Verdict.FORBIDDEN])
def test_a_new_key_that_does_not_work_is_cleared_away(installed: Stage, verdict: Verdict) -> None:
    before = installed.current_key()
    installed.provider.verdicts = [verdict] * 9  # for more than two minutes, or once for good
    rotation = installed.start()
    installed.step(rotation)
    for _ in range(12):
        installed.clock.turn(seconds=31)
        installed.step(rotation)
    installed.provider.verdicts = []
    installed.run(rotation)
    assert rotation.result == Result.ROLLED_BACK
    assert installed.current_key() == before
    assert list(installed.provider.live) == [installed.first_key]
    assert installed.vault.describe(installed.name).pending is None
    assert "promoted" not in installed.story(rotation)


def test_in_an_emergency_a_key_that_may_do_too_little_is_better_than_a_leaked_one(installed: Stage) -> None:
    installed.provider.verdicts = [Verdict.FORBIDDEN]
    rotation = installed.run(installed.start("leak"))
    assert rotation.result == Result.DONE
    assert list(installed.provider.live) == [rotation.new_key_id]


def test_somebody_elses_exchange_is_not_undone(installed: Stage) -> None:
    rotation = installed.start()
    theirs = installed.provider.add("svc_1", "theirs", None)
    installed.provider.verdicts = [Verdict.UNCLEAR]
    installed.step(rotation)
    assert rotation.step == Step.VERIFY
    version, current = str(uuid4()), installed.vault.describe(installed.name).current
    installed.vault.stage(installed.name, version, Secret(key_json(theirs.value)))
    installed.vault.promote(installed.name, version, current)
    installed.clock.turn(seconds=10)
    installed.run(rotation)
    assert rotation.result == Result.ROLLED_BACK
    assert installed.current_key() == theirs.value
    assert rotation.new_key_id not in installed.provider.live
    assert theirs.id in installed.provider.live


@pytest.mark.parametrize("asked_at", [Step.VERIFY, Step.DRAIN, Step.RETIRE])
def test_given_up_in_time_the_old_key_stays_and_the_new_one_goes(installed: Stage, ivan: By, asked_at: str) -> None:
    before = installed.current_key()
    if asked_at == Step.VERIFY:
        installed.provider.verdicts = [Verdict.UNCLEAR]
    rotation = installed.run_to(installed.start(), asked_at)
    rotating.give_up(rotation, ivan)
    installed.run(rotation)
    assert rotation.result == Result.ROLLED_BACK
    assert installed.current_key() == before
    assert list(installed.provider.live) == [installed.first_key]
    assert KeyReference.objects.get(department=installed.department).fingerprint == before.fingerprint()


def test_a_roll_back_drains_before_it_deletes_the_new_key(installed: Stage, ivan: By) -> None:
    rotation = installed.run_to(installed.start(), Step.DRAIN)
    rotating.give_up(rotation, ivan)
    installed.step(rotation)
    assert rotation.step == Step.DRAIN
    assert rotation.new_key_id in installed.provider.live
    installed.run(rotation)
    story = installed.story(rotation)
    assert story.count("announced") == 2
    assert story.index("given_up") < story.index("reverted")


def test_it_does_not_go_back_to_a_dead_key(installed: Stage, ivan: By) -> None:
    rotation = installed.run_to(installed.start(), Step.RETIRE)
    installed.provider._end(installed.first_key)
    rotating.give_up(rotation, ivan)
    installed.run(rotation)
    assert rotation.result == Result.DONE
    assert "not_reverted" in installed.story(rotation)
    assert installed.current_is_alive()


def test_there_is_no_way_back_once_the_old_key_is_being_deleted(installed: Stage, ivan: By) -> None:
    rotation = installed.start("leak")
    installed.provider.verdicts = [Verdict.ALIVE, Verdict.ALIVE]  # the trial, and a cache that is behind
    installed.step(rotation)
    assert rotation.step == Step.PROVE
    with pytest.raises(TooLate):
        rotating.give_up(rotation, ivan)


def test_where_nothing_can_be_made_a_person_decides_about_the_outage(installed: Stage, ivan: By) -> None:
    installed.provider.failing = AdminForbidden("The admin key may not create the key.")
    rotation = installed.start("leak")
    with pytest.raises(NothingToConfirm):
        rotating.confirm_deletion(rotation, ivan)
    for _ in range(4):
        installed.step(rotation)
        installed.clock.turn(minutes=1)
    assert rotation.needs_confirmation
    assert rotation.step == Step.MINT
    installed.provider.failing = None
    rotating.confirm_deletion(rotation, ivan)
    installed.run(rotation)
    assert rotation.result == Result.OUTAGE
    assert {"needs_person", "confirmed"} <= set(installed.story(rotation))
    assert installed.provider.live == {}
    assert KeyReference.objects.get(department=installed.department).state == KeyReference.State.BROKEN


def test_an_admin_api_that_is_down_is_waited_for(installed: Stage) -> None:
    installed.provider.failing = AdminUnavailable("OpenAI could not be reached.")
    rotation = installed.start()
    for _ in range(5):
        installed.step(rotation)
        assert (rotation.step, rotation.problem) == (Step.MINT, "OpenAI could not be reached.")
        installed.clock.turn(minutes=6)
    installed.provider.failing = None
    assert installed.run(rotation).result == Result.DONE


def test_where_only_whole_accounts_can_be_deleted_the_next_rotation_does_that(installed: Stage) -> None:
    installed.provider.deletes_keys = False
    first = installed.run(installed.start("person_left"))
    assert first.result == Result.SUPERSEDED
    assert "not_retired" in installed.story(first)
    second = Rotation.objects.get(department=installed.department, closed_at=None)
    installed.run(second)
    assert second.result == Result.DONE
    assert list(installed.provider.live) == [second.new_key_id]
    assert installed.current_is_alive()


def test_a_deleted_key_that_still_answers_raises_an_alarm(installed: Stage) -> None:
    rotation = installed.run_to(installed.start("person_left"), Step.DRAIN)
    installed.clock.turn(hours=1)
    installed.provider.verdicts = [Verdict.ALIVE] * 100
    for _ in range(90):
        installed.step(rotation)
        installed.clock.turn(seconds=31)
    assert rotation.step == Step.PROVE
    assert installed.story(rotation).count("reminded") == 1
    installed.provider.verdicts = []
    assert installed.run(rotation).result == Result.DONE


def test_a_key_that_readers_get_is_never_deleted(installed: Stage) -> None:
    rotation = installed.run_to(installed.start(), Step.RETIRE)
    vault, name = installed.vault, installed.name
    vault.promote(name, rotation.old_version, str(rotation.pk))  # by hand, behind our back
    installed.clock.turn(days=2)
    installed.step(rotation)
    assert rotation.step == Step.RETIRE
    assert installed.first_key in installed.provider.live


def test_a_pasted_key_of_a_known_project_is_found_and_deleted(stage: Stage) -> None:
    stage.install(made_by_us=False)
    in_project(stage)
    rotation = stage.run(stage.start())
    assert rotation.result == Result.DONE
    assert stage.provider.deleted == [stage.first_key]


def test_the_first_key_of_a_department_comes_the_same_way(stage: Stage, ivan: By) -> None:
    key = stage.provider.add("person", "by hand", None)
    rotation = stage.run(rotating.start_pasted(stage.department, key.value, ivan))
    assert rotation.result == Result.DONE
    assert stage.current_key() == key.value
    assert "retired" not in stage.story(rotation)


def test_whoever_pasted_a_key_that_is_dead_knows_no_key_any_more(stage: Stage, ivan: By, company: Company) -> None:
    key_people.note_pasted(company.hr, company.alice.pk)
    stage.install()
    pasted = stage.provider.add("person", "by hand", None)
    stage.run(rotating.start_pasted(stage.department, pasted.value, ivan))
    assert [row.person_id for row in KeyAccess.objects.filter(department=company.hr)] == [ivan.id]
    in_project(stage)
    stage.run(stage.start("person_left"))
    assert not KeyAccess.objects.filter(department=company.hr).exists()


def test_a_pasted_key_that_does_not_work_never_reaches_readers(installed: Stage, ivan: By) -> None:
    before = installed.current_key()
    rotation = installed.run(rotating.start_pasted(installed.department, make_key(), ivan))
    assert rotation.result == Result.ROLLED_BACK
    assert installed.current_key() == before


def test_a_rotation_without_an_admin_key_waits_for_the_paste(stage: Stage, ivan: By) -> None:
    stage.provider.has_admin_key = False
    stage.install(made_by_us=False)
    rotation = stage.start("schedule")
    stage.step(rotation)
    assert (rotation.step, rotation.by_paste) == (Step.STAGE, True)
    assert "paste" in rotation.problem
    pasted = stage.provider.add("person", "by hand", None)
    assert rotating.start_pasted(stage.department, pasted.value, ivan).pk == rotation.pk
    stage.run_to(rotation, Step.PROVE)
    assert stage.current_key() == pasted.value


def test_a_rotation_that_waits_for_a_paste_makes_the_key_itself_once_there_is_an_admin_key(stage: Stage) -> None:
    stage.provider.has_admin_key = False
    stage.install(made_by_us=False)
    rotation = stage.start("schedule")
    stage.step(rotation)
    stage.provider.has_admin_key = True
    in_project(stage)
    assert stage.start("leak").pk == rotation.pk, "nobody has time to find a key in an emergency"
    stage.step(rotation)
    assert (rotation.result, stage.current_is_alive()) == (Result.DONE, True)
    assert list(stage.provider.live) == [rotation.new_key_id]


def test_a_paste_does_not_cut_into_a_rotation_under_way(installed: Stage, ivan: By) -> None:
    installed.run_to(installed.start(), Step.DRAIN)
    with pytest.raises(RotationError, match="under way"):
        rotating.start_pasted(installed.department, make_key(), ivan)


def test_two_workers_do_not_hold_one_rotation(installed: Stage) -> None:
    rotation = installed.start()
    assert win_claim(rotation.pk, installed.clock.now()) is not None
    assert rotating.advance(rotation.pk, installed.tools) is None
    assert installed.story(rotation) == ["started"]


def test_a_worker_that_lost_its_claim_writes_nothing(installed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from departments.keys.rotation_steps import STEPS

    rotation, plan = installed.start(), STEPS[Step.PLAN]

    def slow(job: object) -> object:
        outcome = plan(job)  # type: ignore[arg-type]
        Rotation.objects.filter(pk=rotation.pk).update(claim=uuid4())
        return outcome

    monkeypatch.setitem(STEPS, Step.PLAN, slow)
    assert rotating.advance(rotation.pk, installed.tools) is None
    rotation.refresh_from_db()
    assert rotation.step == Step.PLAN
    assert installed.story(rotation) == ["started"]


def test_a_fault_of_ours_is_tried_again_and_reaches_the_log(installed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from departments.keys.rotation_steps import STEPS

    def broken(job: object) -> object:
        raise ZeroDivisionError

    rotation = installed.start()
    with monkeypatch.context() as patched:
        patched.setitem(STEPS, Step.PLAN, broken)
        with pytest.raises(ZeroDivisionError):
            installed.step(rotation)
    rotation.refresh_from_db()
    assert (rotation.claim, rotation.problem) == (None, rotation_worker.UNEXPECTED)
    installed.clock.turn(minutes=2)
    assert installed.run(rotation).result == Result.DONE


def key_json(key: Secret) -> str:
    import json

    return json.dumps({"v": 1, "api_key": key.reveal()})


def test_without_an_admin_key_a_person_pastes_and_deletes(stage: Stage, ivan: By) -> None:
    stage.provider.has_admin_key = False
    stage.install(made_by_us=False)
    pasted = stage.provider.add("person", "by hand", None)
    rotation = rotating.start_pasted(stage.department, pasted.value, ivan)
    stage.run_to(rotation, Step.PROVE)
    assert stage.current_key() == pasted.value
    assert rotation.by_person
    assert rotation.closed_at is None
    for _ in range(3):  # day after day, until somebody has deleted it
        stage.step(rotation)
        assert rotation.step == Step.PROVE
        assert rotation.old_fingerprint in rotation.problem
        stage.clock.turn(days=1, minutes=1)
    assert stage.story(rotation).count("reminded") == 3
    stage.provider._end(stage.first_key)
    assert stage.run(rotation).result == Result.DONE


# -- a second wish when the first exchange has its new key in use already


def newest(stage: Stage) -> Rotation:
    return Rotation.objects.filter(department=stage.department).order_by("-started_at")[0]


def test_a_leak_after_the_new_key_came_into_use_exchanges_that_one_too(installed: Stage) -> None:
    first = installed.run_to(installed.start(), Step.RETIRE)
    suspected = installed.current_key()
    installed.start("leak")
    installed.run(first)
    second = newest(installed)
    assert (first.result, second.mode, second.closed_at) == (Result.DONE, Mode.EMERGENCY, None)
    installed.run(second)
    assert installed.current_key() != suspected
    assert list(installed.provider.live) == [second.new_key_id]


def test_a_leak_while_the_old_key_refuses_to_die_does_not_wait_for_it(installed: Stage) -> None:
    installed.provider.verdicts = [Verdict.ALIVE] * 2  # the trial, and caches that still know the deleted key
    first = installed.run_to(installed.start("person_left"), Step.PROVE)
    installed.provider.verdicts = [Verdict.ALIVE]
    installed.start("leak")
    installed.step(first)
    second = newest(installed)
    assert (first.result, second.also_prove) == (Result.HANDED_OVER, [first.old_version])
    installed.run(second)
    assert second.result == Result.DONE
    assert list(installed.provider.live) == [second.new_key_id]


def test_what_was_handed_over_is_proven_by_the_next(installed: Stage) -> None:
    installed.provider.verdicts = [Verdict.ALIVE] * 2
    first = installed.run_to(installed.start("person_left"), Step.PROVE)
    installed.provider.verdicts = [Verdict.ALIVE]
    installed.start("leak")
    installed.step(first)
    # the trial of its key, then its own old key is dead, and the one before it is not
    installed.provider.verdicts = [Verdict.ALIVE, Verdict.DEAD, Verdict.ALIVE]
    second = installed.run_to(newest(installed), Step.PROVE)
    assert (second.step, "earlier exchange" in second.problem) == (Step.PROVE, True)


def test_a_leak_while_an_exchange_is_given_up_exchanges_the_key_that_stays(installed: Stage, ivan: By) -> None:
    first = installed.run_to(installed.start("person_left"), Step.DRAIN)
    rotating.give_up(first, ivan)
    installed.start("leak")
    installed.run(first)
    second = installed.run(newest(installed))
    assert (first.result, second.result) == (Result.ROLLED_BACK, Result.DONE)
    assert list(installed.provider.live) == [second.new_key_id]


def test_a_key_can_be_pasted_while_only_the_proof_of_the_last_exchange_is_missing(stage: Stage, ivan: By) -> None:
    stage.provider.has_admin_key = False
    stage.install(made_by_us=False)
    pasted, newer = (stage.provider.add("person", name, None) for name in ("first", "second"))
    first = stage.run_to(rotating.start_pasted(stage.department, pasted.value, ivan), Step.PROVE)
    stage.step(first)
    assert first.by_person
    second = rotating.start_pasted(stage.department, newer.value, ivan)
    first.refresh_from_db()
    assert (first.result, second.also_prove) == (Result.HANDED_OVER, [first.old_version])
    stage.run_to(second, Step.PROVE)
    stage.step(second)
    assert stage.current_key() == newer.value
    for key_id in (stage.first_key, pasted.id):
        del stage.provider.live[key_id]  # the person does what the page asks
    rotating.look_again(second)
    assert stage.run(second).result == Result.DONE


def test_a_paste_helps_a_rotation_that_cannot_make_a_key(installed: Stage, ivan: By) -> None:
    installed.provider.failing = AdminUnavailable("away")
    rotation = installed.run_to(installed.start("leak"), Step.MINT)
    installed.step(rotation)
    installed.provider.failing = None
    pasted = installed.provider.add("person", "by hand", None)
    assert rotating.start_pasted(installed.department, pasted.value, ivan).pk == rotation.pk
    installed.run(rotation)
    assert (rotation.result, installed.current_key()) == (Result.DONE, pasted.value)
    assert list(installed.provider.live) == [pasted.id]


@pytest.mark.parametrize("step", [Step.PLAN, Step.VERIFY, Step.DRAIN, Step.RETIRE, Step.PROVE])
def test_whoever_leaves_in_the_middle_of_an_exchange_knows_no_key_at_its_end(
    installed: Stage, company: Company, step: str
) -> None:
    key_people.note_vault_administrator(installed.department, company.bob.pk)
    waits = {Step.VERIFY: [Verdict.UNCLEAR], Step.PROVE: [Verdict.ALIVE] * 2}
    installed.provider.verdicts = list(waits.get(Step(step), []))
    rotation = installed.start("person_left" if step == Step.PROVE else "button")
    if step != Step.PLAN:
        installed.run_to(rotation, step)
    seen = [value for _, value in installed.provider.live.values()]
    (joined,) = rotate_what_they_could_see(company.bob.pk, None, "left")
    assert joined.pk == rotation.pk
    while (following := Rotation.objects.filter(department=installed.department, closed_at=None).first()) is not None:
        installed.run(following)
    (left,) = [value for _, value in installed.provider.live.values()]
    assert left not in seen
    assert installed.current_key() == left
