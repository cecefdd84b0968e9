"""The page on the seals, and "verify now": asked for by a page, done by a worker, shown with progress and result."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone

from audit import tasks, verifying
from audit.events import Event
from audit.models import AuditSeal, LegalHold, PushState, RetentionPolicy, VerificationRun
from audit.verification import Verifier
from chatgrid.console.proofs import record as proofs
from chatgrid.console.record import seals
from chatgrid.schedule import ROUTES, Queue
from tests.chatgrid.console.recording import asealed, nobody_verifies, own, write
from tests.company import Company, signed_in

SEALS = reverse("admin:audit_auditevent_seals")
VERIFY = reverse("admin:audit_auditevent_verify")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was left for the worker, which does not run here: a test does its work by itself."""
    left: list[str] = []
    monkeypatch.setattr(
        tasks.verify_record, "apply_async", lambda arguments, **_: left.append(arguments[0]), raising=False
    )
    nobody_verifies()
    return left


def run_page(run: Any) -> str:
    return reverse("admin:audit_auditevent_run", args=[getattr(run, "pk", run)])


async def test_the_page_shows_the_last_seal_what_waits_and_the_places_outside(company: Company) -> None:
    client = await signed_in(company.ada)
    await asealed()
    write(company, 3)
    response = await client.get(SEALS)
    sealing = response.context["sealing"]
    assert sealing.waiting == 3
    assert not sealing.is_late
    assert sealing.seal.n == AuditSeal.objects.order_by("-n").values_list("n", flat=True).first()
    assert sealing.key in response.content.decode()
    await asealed()
    assert (await client.get(SEALS)).context["sealing"].waiting == 0


async def test_what_waits_in_another_company_is_not_counted(company: Company, other_company: Company) -> None:
    client = await signed_in(other_company.ada)
    await asealed()
    write(company, 5)
    assert (await client.get(SEALS)).context["sealing"].waiting == 0


async def test_a_sealer_that_stands_still_is_said_loudly(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    await asealed()
    monkeypatch.setattr(seals, "FRESH", timedelta(0))
    page = (await (await signed_in(company.ada)).get(SEALS)).content.decode()
    assert "No seal was made in the last three minutes" in page


async def test_the_page_says_how_long_the_record_is_kept_and_what_holds_it(
    company: Company, other_company: Company
) -> None:
    client = await signed_in(company.ada)
    assert "365 days" in (await client.get(SEALS)).content.decode()
    RetentionPolicy(organization_id=company.organization.pk, days=120).save()
    LegalHold.objects.create(organization_id=company.organization.pk, reason="Case 9")
    LegalHold.objects.create(organization_id=other_company.organization.pk, reason="Not yours")
    page = (await client.get(SEALS)).content.decode()
    assert "120 days" in page
    assert "Case 9" in page
    assert "Not yours" not in page


async def test_verify_now_leaves_a_task_and_its_result_is_shown_and_is_an_event(
    company: Company, worker: list[str]
) -> None:
    await asealed()
    client = await signed_in(company.ada)
    response = await client.post(VERIFY)
    run = VerificationRun.objects.get(organization_id=company.organization.pk)
    assert response["Location"] == run_page(run)
    assert worker == [str(run.pk)]
    assert "Waits for a worker" in (await client.get(run_page(run))).content.decode()
    await asyncio.to_thread(tasks.verify_record, str(run.pk))
    run.refresh_from_db()
    assert run.finished_at is not None
    assert run.seals >= 1
    [event] = own(company, Event.RECORD_VERIFIED)
    assert (event.actor_id, event.subject_id) == (company.ada.pk, str(run.pk))
    assert event.details["faults"] == run.faults
    page = (await client.get(run_page(run))).content.decode()
    assert f"{run.seals}" in page
    assert "somebody changed it" not in page
    assert "Verifications" in (await client.get(SEALS)).content.decode()
    await VerificationRun.objects.filter(pk=run.pk).aupdate(findings=[], faults=run.faults + 1)
    assert "somebody changed it" in (await client.get(run_page(run))).content.decode()


async def test_a_siem_that_takes_nothing_is_said_with_its_reason_and_only_to_whom_it_concerns(
    company: Company, other_company: Company, settings: Any
) -> None:
    ours = {"name": f"soc-{company.organization.slug}", "url": "https://siem.example/"}
    theirs = {**ours, "name": "theirs", "organization": str(other_company.organization.pk)}
    settings.AUDIT_SIEM = [ours, theirs]
    await asealed()
    words = "it did not take the events: its certificate is not trusted (certificate has expired)"
    await PushState.objects.acreate(target=ours["name"], failures=5, problem=words)
    page = (await (await signed_in(company.ada)).get(SEALS)).content.decode()
    assert f"Behind after 5 failed attempts: {words}" in page
    assert "theirs" not in page
    assert "siem.example" not in page
    found = [each for each in await asyncio.to_thread(proofs.seals, company.organization) if "SIEM" in each.text]
    assert [(each.holds, words in each.text) for each in found] == [(False, True), (True, False)]


async def test_an_event_that_a_siem_refuses_is_named_with_what_to_do(company: Company, settings: Any) -> None:
    name = f"soc-{company.organization.slug}"
    settings.AUDIT_SIEM = [{"name": name, "url": "https://siem.example/"}]
    await asealed()
    words = "it answered 400 Bad Request, for event number 7 alone"
    await PushState.objects.acreate(target=name, seq=6, failures=3, problem=words)
    page = (await (await signed_in(company.ada)).get(SEALS)).content.decode()
    assert f"{words}. What comes after it waits." in page
    assert f"manage.py push_record --skip 7 --target {name} --reason" in page


def test_it_waits_in_a_queue_of_its_own() -> None:
    assert ROUTES["audit.tasks.verify_record"]["queue"] == Queue.RECORD


async def test_progress_is_seen_while_it_runs(
    company: Company, worker: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def paused(self: Verifier) -> Any:
        self._progress(40, 100)
        reached.set()
        assert go_on.wait(60)
        return real(self)

    real = Verifier.verify
    monkeypatch.setattr(Verifier, "verify", paused)
    monkeypatch.setattr(verifying, "NOTED_EVERY", -1.0)
    client = await signed_in(company.ada)
    await client.post(VERIFY)
    run = VerificationRun.objects.get(organization_id=company.organization.pk)
    working = asyncio.create_task(asyncio.to_thread(tasks.verify_record, str(run.pk)))
    await asyncio.to_thread(reached.wait, 60)
    page = (await client.get(run_page(run))).content.decode()
    assert "40 of 100 numbers checked" in page
    assert 'value="40"' in page
    go_on.set()
    await working
    assert "Under way" not in (await client.get(run_page(run))).content.decode()


async def test_who_asks_while_one_is_under_way_is_shown_that_one(company: Company, worker: list[str]) -> None:
    client = await signed_in(company.ada)
    first = await client.post(VERIFY)
    second = await client.post(VERIFY)
    assert first["Location"] == second["Location"]
    assert len(worker) == 1


async def test_another_company_s_run_is_told_but_not_shown(
    company: Company, other_company: Company, worker: list[str]
) -> None:
    await (await signed_in(company.ada)).post(VERIFY)
    response = await (await signed_in(other_company.ada)).post(VERIFY, follow=True)
    assert response.redirect_chain[-1][0] == SEALS
    assert "under way already" in response.content.decode()
    assert len(worker) == 1


async def test_a_broker_that_is_away_leaves_nothing_waiting(
    company: Company, worker: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(tasks.verify_record, "apply_async", away, raising=False)
    response = await (await signed_in(company.ada)).post(VERIFY, follow=True)
    assert "cannot be reached" in response.content.decode()
    assert not VerificationRun.objects.filter(organization_id=company.organization.pk).exists()


async def test_a_run_whose_process_died_says_so_and_another_can_be_asked_for(
    company: Company, worker: list[str]
) -> None:
    long_ago = timezone.now() - timedelta(minutes=10)
    run = VerificationRun.objects.create(
        organization_id=company.organization.pk, asked_at=long_ago, started_at=long_ago, seen_at=long_ago
    )
    client = await signed_in(company.ada)
    assert "Was broken off" in (await client.get(run_page(run))).content.decode()
    await client.post(VERIFY)
    assert len(worker) == 1


async def test_what_could_not_be_finished_says_what_to_do(
    company: Company, worker: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unset() -> None:
        raise ImproperlyConfigured("CHATGRID_ANCHORS is empty: name at least one place.")

    monkeypatch.setattr(verifying, "configured", unset)
    client = await signed_in(company.ada)
    await client.post(VERIFY)
    await asyncio.to_thread(tasks.verify_record, worker[0])
    page = (await client.get(run_page(worker[0]))).content.decode()
    assert "Could not be finished" in page
    assert "CHATGRID_ANCHORS is empty" in page
    assert own(company, Event.RECORD_VERIFIED) == []


async def test_a_fault_is_shown_with_its_place_and_leads_to_one_s_own_entry_only(
    company: Company, other_company: Company, worker: list[str]
) -> None:
    [event] = write(company)
    place = {"seal": 7, "seq": 19, "event_id": str(event)}
    finding = {"kind": "an event was changed", "words": "", "severity": "fault", **place}
    now = timezone.now()
    run = VerificationRun.objects.create(finished_at=now, started_at=now, faults=1, findings=[finding])
    link = reverse("admin:audit_auditevent_change", args=[event])
    for person, expected in ((company.ada, True), (other_company.ada, False)):
        page = (await (await signed_in(person)).get(run_page(run))).content.decode()
        assert "1 fault" in page
        assert "seal 7, number 19: an event was changed" in page
        assert (link in page) is expected
        assert (str(event) in page) is expected


async def test_a_changed_record_is_found_by_verify_now(company: Company, worker: list[str]) -> None:
    """Somebody with full rights changes a sealed event; it is put back at the end, for the tests after this one."""
    [event] = write(company, 1, actor_name="Mara")
    await asealed()
    client = await signed_in(company.ada)
    await client.post(VERIFY)
    change(event, "Nobody")
    try:
        await asyncio.to_thread(tasks.verify_record, worker[0])
    finally:
        change(event, "Mara")
    run = VerificationRun.objects.get(pk=worker[0])
    assert str(event) in {finding["event_id"] for finding in run.findings}
    page = (await client.get(run_page(run))).content.decode()
    assert "an event was changed" in page
    assert reverse("admin:audit_auditevent_change", args=[event]) in page


def change(event: object, name: str) -> None:
    from chatgrid.dev.services.postgres import SUPERUSER
    from tests.stack import CONTROL_DATABASE, STACK

    with psycopg.connect(STACK.postgres.url(SUPERUSER, CONTROL_DATABASE), autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE audit_event SET actor_name = %s WHERE id = %s", [name, event])


def test_two_who_ask_in_one_moment_get_one_run(worker: list[str]) -> None:
    """The first has not committed its run yet when the second looks for one."""
    asked, may_commit = threading.Event(), threading.Event()
    begun: list[tuple[VerificationRun, bool]] = []

    def first() -> None:
        with transaction.atomic():
            begun.append(verifying.begin(asked_by="Ada"))
            asked.set()
            may_commit.wait(20)
        connection.close()

    def second() -> None:
        begun.append(verifying.begin(asked_by="Ivan"))
        connection.close()

    threads = [threading.Thread(target=each) for each in (first, second)]
    threads[0].start()
    assert asked.wait(20)
    threads[1].start()
    until(somebody_waits_for_a_turn)
    may_commit.set()
    for thread in threads:
        thread.join(20)
    (run, is_new), (same, is_new_too) = begun
    assert (run.pk, is_new, is_new_too) == (same.pk, True, False)


def somebody_waits_for_a_turn() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        return bool(cursor.fetchone()[0])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_clock_asks_unless_somebody_just_has_or_did_today(worker: list[str]) -> None:
    VerificationRun.objects.create(asked_by="Ada", seen_at=timezone.now())
    before = VerificationRun.objects.count()
    tasks.verify_nightly()
    nobody_verifies()
    tasks.verify_nightly()
    assert VerificationRun.objects.count() == before
    VerificationRun.objects.update(finished_at=timezone.now() - timedelta(hours=25))
    VerificationRun.objects.create(finished_at=timezone.now(), problem="The database did not answer.")
    tasks.verify_nightly()
    newest = VerificationRun.objects.order_by("-asked_at").first()
    assert newest is not None
    assert newest.finished_at is not None
    assert newest.asked_by == ""
