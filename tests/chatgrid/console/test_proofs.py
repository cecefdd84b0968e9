"""The tiles of the home page: green only with a fresh proof, red with the reason, and each check can really fail."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit import verifying
from audit.events import Event
from audit.models import AuditEvent, VerificationRun
from audit.writer import Entry
from audit.writer import record as write_event
from chatgrid.console import home, prove
from chatgrid.console.models import ControlProof
from chatgrid.console.proofs import CHECKS, Evidence, ledger, projects, record, rotation, secrets, server_only, stores
from chatgrid.console.proofs.base import counted, state_of
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.keys.rotation_models import Rotation
from departments.keys.vaults import VaultUnavailable
from departments.limits.models import Reservation, Spent
from departments.models import Department, Organization
from tests.company import Company, give_key, give_store, make_key, set_limit, signed_in
from tests.departments.calls.calling import ask, whole
from tests.provider import Provider

State = ControlProof.State


def sentences(evidence: list[Evidence], holds: bool | None) -> list[str]:
    return [each.text for each in evidence if each.holds is holds]


def keep(company: Company, name: str, evidence: list[Evidence], age: timedelta = timedelta(0)) -> None:
    """The result of a check, as if it had been made that long ago."""
    ControlProof.objects.update_or_create(
        organization=company.organization,
        check_name=name,
        defaults={
            "state": state_of(evidence),
            "evidence": [each.as_json() for each in evidence],
            "checked_at": timezone.now() - age,
        },
    )


def states(company: Company) -> dict[int, str]:
    return {tile.number: tile.state.value for tile in home.tiles_for(company.ivan)}


# --- the tiles


async def test_nothing_is_green_before_somebody_has_looked(company: Company) -> None:
    assert states(company) == dict.fromkeys(range(1, 9), "open")
    page = (await (await signed_in(company.ivan)).get("/admin/")).content.decode()
    assert page.count("Not proven") >= 8
    assert "badge-holds" not in page


def test_a_tile_is_green_with_fresh_proofs_and_turns_amber_by_itself(company: Company) -> None:
    fine = [Evidence("Looked at it")]
    for name in CHECKS:
        keep(company, name, fine)
    assert set(states(company).values()) == {"holds"}
    for name, check in CHECKS.items():
        keep(company, name, fine, check.fresh_for + timedelta(seconds=1))
        assert states(company)[check.control] == "stale", name
        keep(company, name, fine)


def test_one_failed_check_makes_its_tile_red_and_old_failures_stay_red(company: Company) -> None:
    for name in CHECKS:
        keep(company, name, [Evidence("Looked at it")])
    keep(company, "places", [Evidence("A setting holds a key", holds=False)], timedelta(days=3))
    assert states(company) == {**dict.fromkeys(range(1, 9), "holds"), 2: "failed"}
    tile = home.tiles_for(company.ivan)[1]
    assert tile.sentence == "A setting holds a key"
    assert home.summary(home.tiles_for(company.ivan)) == "Look at Keys first."


def test_what_could_not_be_proven_is_not_green(company: Company) -> None:
    assert state_of([]) == State.OPEN
    assert state_of([Evidence("a"), Evidence("b", holds=None)]) == State.OPEN
    assert state_of([Evidence("a", holds=None), Evidence("b", holds=False)]) == State.FAILED


async def test_a_company_sees_its_own_proofs_only(company: Company, other_company: Company) -> None:
    keep(company, "stores", [Evidence("Ours alone", holds=False)])
    page = (await (await signed_in(other_company.ivan)).get("/admin/")).content.decode()
    assert "Ours alone" not in page
    assert states(other_company)[4] == "open"


# --- making them


def test_the_clock_makes_what_is_due_and_nothing_twice(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(organization: object) -> list[Evidence]:
        looked.append(str(organization))
        return [Evidence("Looked")]

    monkeypatch.setattr(prove, "CHECKS", {"stores": replace(CHECKS["stores"], look=look)})
    prove.prove_due()
    assert looked.count(str(company.organization)) == 1
    prove.prove_due()
    assert looked.count(str(company.organization)) == 1
    prove.ask_for(company.organization, 4)
    prove.prove_due()
    assert looked.count(str(company.organization)) == 2
    ControlProof.objects.filter(organization=company.organization).update(
        checked_at=timezone.now() - CHECKS["stores"].every, asked_at=None
    )
    prove.prove_due()
    assert looked.count(str(company.organization)) == 3


def test_what_could_not_be_said_at_first_is_looked_at_again_soon_and_not_for_ever(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look(organization: object) -> list[Evidence]:
        looked.append(str(organization))
        return [Evidence("Not compared yet", holds=None)]

    monkeypatch.setattr(prove, "CHECKS", {"stores": replace(CHECKS["stores"], look=look)})
    for _ in range(3):
        prove.prove_due()
    assert looked.count(str(company.organization)) == 3
    ControlProof.objects.filter(organization=company.organization).update(since=timezone.now() - prove.SETTLING)
    prove.prove_due()
    assert looked.count(str(company.organization)) == 3


def test_a_check_that_breaks_is_red_and_the_others_are_made(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> list[Evidence]:
        raise RuntimeError("no luck")

    checks = {"vault": replace(CHECKS["vault"], look=broken), "places": CHECKS["places"]}
    monkeypatch.setattr(prove, "CHECKS", checks)
    prove.prove(company.organization, 2)
    rows = {row.check_name: row for row in ControlProof.objects.filter(organization=company.organization)}
    assert rows["vault"].state == State.FAILED
    assert "RuntimeError" in rows["vault"].evidence[0]["text"]
    assert rows["places"].state == State.HOLDS
    assert "no luck" in caplog.text


def test_a_failure_and_its_end_are_in_the_record_once_each(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = [Evidence("Open door", holds=False)]
    monkeypatch.setattr(prove, "CHECKS", {"stores": replace(CHECKS["stores"], look=lambda _: evidence)})
    for _ in range(2):
        prove.prove(company.organization, 4)
    evidence[:] = [Evidence("Closed door")]
    for _ in range(2):
        prove.prove(company.organization, 4)
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event__startswith="control:")
    told = list(events.order_by("at").values_list("event", "details__evidence"))
    assert told == [(Event.CONTROL_FAILED, ["Open door"]), (Event.CONTROL_HOLDS, ["Closed door"])]


async def test_check_now_asks_a_worker_and_says_so(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "chatgrid.console.tasks.prove_control.apply_async", lambda arguments, **_: asked.append(arguments)
    )
    address = reverse("admin:check_control", args=[6])
    client = await signed_in(company.ivan)
    page = await client.post(address, follow=True)
    assert asked == [(str(company.organization.pk), 6)]
    assert "Being checked" in page.content.decode()
    assert (await client.get(address)).status_code == 405
    assert (await client.post(reverse("admin:check_control", args=[9]))).status_code == 404
    for person in (company.ada, company.bob):
        assert (await (await signed_in(person)).post(address)).status_code == 403


def test_the_real_checks_run_for_a_whole_company(company: Company, provider: Provider) -> None:
    """As the clock does it: every check brings evidence, and none breaks."""
    give_key(company.hr)
    give_store(company.hr)
    for control in range(1, 9):
        prove.prove(company.organization, control)
    rows = ControlProof.objects.filter(organization=company.organization)
    assert {row.check_name for row in rows} == set(CHECKS)
    assert all(row.evidence for row in rows)
    assert not [row for row in rows if "The check itself failed" in str(row.evidence)]
    page = Client()
    page.force_login(company.ivan)
    assert page.get("/admin/").status_code == 200


# --- each check, right and wrong


def test_control_1_finds_an_import_of_the_sdk_and_a_key_in_a_page(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(each.holds for each in server_only.look(company.organization))
    for package in server_only.PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "chatgrid" / "views.py").write_text("def ask():\n    from openai import OpenAI\n")
    found = server_only._imports(tmp_path)
    assert found.holds is False
    assert "chatgrid/views.py" in found.text
    script = tmp_path / "chat.js"
    for text in (f'const key = "{make_key().reveal()}"', 'fetch("https://' + 'api.openai.com/v1")'):
        script.write_text(text)
        assert server_only._bundle([script]).holds is False
    script.write_text("fetch('/d/hr/ask')")
    assert server_only._bundle([script]).holds is True
    monkeypatch.setenv("OPENAI_" + "BASE_URL", "https://elsewhere.example")
    assert server_only._environment().holds is False


def test_control_2_asks_the_secret_manager_and_reads_no_value(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_key(company.hr)
    found = secrets.vault(company.organization)
    assert len(sentences(found, True)) == 1
    assert sentences(found, None) == ["No key yet: Finance"]
    reads = AuditEvent.objects.filter(event=Event.SECRET_READ, subject_id=company.hr.key.secret_name)
    assert not reads.exists()
    KeyReference.objects.filter(department=company.hr).update(version=uuid4().hex)
    assert sentences(secrets.vault(company.organization), False) == [
        "The secret manager has another version, or none: Human Resources"
    ]

    def away() -> object:
        raise VaultUnavailable("no answer")

    monkeypatch.setattr(secrets, "current_vault", away)
    assert "does not answer" in sentences(secrets.vault(company.organization), False)[0]


def test_control_2_finds_a_key_in_settings_and_in_the_environment(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sentences(secrets.places(company.organization), False) == []
    monkeypatch.setattr(settings, "SECURITY_CONTACTS", [make_key().reveal()])
    (found,) = sentences(secrets.places(company.organization), False)
    assert "SECURITY_CONTACTS" in found
    monkeypatch.undo()
    key = make_key().reveal()
    monkeypatch.setenv("SOMETHING", key)
    (found,) = sentences(secrets.places(company.organization), False)
    assert "SOMETHING" in found
    assert key not in found


def test_control_3_holds_while_every_project_was_compared_and_nothing_differs(company: Company) -> None:
    for department in (company.hr, company.finance):
        give_key(department)
        ProviderProject.objects.create(department=department, name=f"p {department.pk}", checked_at=timezone.now())
    assert all(each.holds for each in projects.look(company.organization))
    ProviderProject.objects.filter(department=company.hr).update(checked_at=timezone.now() - timedelta(hours=2))
    assert sentences(projects.look(company.organization), None) == ["Not compared within the hour: Human Resources"]
    Finding.objects.create(department=company.hr, kind="tools", sentence="On", seen_at=timezone.now())
    assert "1 difference" in sentences(projects.look(company.organization), False)[0]
    fingerprint = KeyReference.objects.get(department=company.hr).fingerprint
    KeyReference.objects.filter(department=company.finance).update(fingerprint=fingerprint)
    assert "share one key: Finance, Human Resources" in str(projects.look(company.organization))


def test_control_4_tries_every_door_and_sees_one_that_stands_open(company: Company) -> None:
    assert sentences(stores.look(company.organization), None) == ["No store yet: Finance, Human Resources"]
    give_store(company.hr)
    give_store(company.finance)
    found = stores.look(company.organization)
    assert sentences(found, True) == [
        "2 stores opened, each with its own role",
        "2 attempts by another department’s role refused by the server: permission denied",
        "2 attempts by the application’s own role refused by the server: permission denied",
    ]
    assert sentences(found, False) == []
    hr = Department.objects.get(pk=company.hr.pk).store_name
    with psycopg.connect(settings.PROVISIONER_URL, autocommit=True) as server:
        server.execute(f'SET ROLE "{hr}"')
        server.execute(f'GRANT CONNECT ON DATABASE "{hr}" TO PUBLIC')
    assert len(sentences(stores.look(company.organization), False)) == 2
    with psycopg.connect(settings.PROVISIONER_URL, autocommit=True) as server:
        server.execute(f'SET ROLE "{hr}"')
        server.execute(f'REVOKE CONNECT ON DATABASE "{hr}" FROM PUBLIC')


def test_a_server_that_is_away_refuses_nobody() -> None:
    assert stores._enter("host=127.0.0.1 port=1 dbname=x user=x connect_timeout=2") == stores.UNKNOWN


def test_control_5_says_how_long_the_oldest_event_waits_for_its_seal(company: Company) -> None:
    from django.core.management import call_command

    call_command("seal_audit", stdout=StringIO())
    assert record.seals(company.organization)[0].holds is True


def test_control_5_reads_what_the_last_verification_found_and_makes_none_itself(company: Company) -> None:
    run = VerificationRun.objects.create()
    verifying.verify(run)
    found = record.verification(company.organization)
    assert (counted(run.faults, "fault") if run.faults else counted(run.seals, "seal")) in found[0].text
    assert found[0].holds is not bool(run.faults)
    assert "Verified 0 hours ago" in sentences(found, True)


def ended(company: Company, **how: Any) -> VerificationRun:
    """A verification that ended now with its event, as the worker leaves it."""
    now = timezone.now()
    run = VerificationRun.objects.create(**{"started_at": now, "finished_at": now, "seals": 12, **how})
    details = {"seals": run.seals, "faults": run.faults}
    write_event(Entry(event=Event.RECORD_VERIFIED, subject_id=str(run.pk), details=details))
    return run


def test_control_5_turns_red_with_an_old_a_broken_off_a_bad_or_a_changed_verification(company: Company) -> None:
    bad = {"severity": "fault", "seal": 3, "kind": "an event was changed"}
    run = ended(company, findings=[bad], faults=1)
    assert "The first bad place: seal 3, an event was changed" in sentences(look(company), False)[0]
    VerificationRun.objects.filter(pk=run.pk).update(findings=[], faults=0)
    assert "not the one in the record" in sentences(look(company), False)[0], "somebody has painted it green"
    ended(company, problem="The database did not answer.")
    assert "did not end: The database" in sentences(look(company), False)[0]
    VerificationRun.objects.all().delete()
    assert len(sentences(look(company), None)) == 1
    old = ended(company, anchors={"file seals.jsonl": 12})
    assert sentences(look(company), False) == []
    assert "12 seals with every event under them verified and compared with 1 place outside" in str(look(company))
    VerificationRun.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(hours=27))
    assert sentences(look(company), False) == ["Verified 27 hours ago"]


def look(company: Company) -> list[Evidence]:
    return record.verification(company.organization)


async def test_control_6_compares_counter_ledger_and_record(company: Company, provider: Provider) -> None:
    give_key(company.hr)
    set_limit(company, tokens_per_day=1_000_000)
    await whole(ask(company))
    found = ledger.look(company.organization)
    assert all(each.holds for each in found), found
    assert re.search(r"Today: 1 call, [\d,]+ tokens; counter, ledger and record agree", str(found))
    Reservation.objects.filter(organization_id=company.organization.pk).update(tokens_used=7)
    (wrong,) = sentences(ledger.look(company.organization), False)
    assert "1 call differ" in wrong
    Reservation.objects.filter(organization_id=company.organization.pk).delete()
    (wrong,) = sentences(ledger.look(company.organization), False)
    assert "ledger 0, record 0" in wrong, "the counter holds what no ledger knows"


async def test_control_6_holds_when_the_time_zone_was_moved(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call keeps the day it was booked on; in a zone further west that day comes later."""
    Organization.objects.filter(pk=company.organization.pk).update(time_zone="Pacific/Kiritimati")
    company.hr.organization.refresh_from_db()
    give_key(company.hr)
    set_limit(company, tokens_per_day=1_000_000)
    await whole(ask(company))
    booked = Reservation.objects.get(organization_id=company.organization.pk)
    Organization.objects.filter(pk=company.organization.pk).update(time_zone="Pacific/Pago_Pago")
    when_it_is_that_day_there = datetime.combine(booked.day, time(23), UTC)
    monkeypatch.setattr(ledger, "timezone", SimpleNamespace(now=lambda: when_it_is_that_day_there))
    found = ledger.look(Organization.objects.get(pk=company.organization.pk))
    assert all(each.holds for each in found), found
    assert "Today: 1 call" in str(found)


def test_control_6_asks_for_a_ceiling(company: Company) -> None:
    assert sentences(ledger.look(company.organization), None) == ["The company has no ceiling of its own"]
    today = timezone.localdate(timezone=ZoneInfo(company.organization.time_zone))
    Spent.objects.create(scope="organization", scope_id=company.organization.pk, day=today, tokens=5)
    assert len(sentences(ledger.look(company.organization), False)) == 1


def test_control_7_looks_at_ages_ends_and_exchanges_that_wait(company: Company) -> None:
    assert sentences(rotation.look(company.organization), None) == ["There is no key yet"]
    give_key(company.hr)
    keys = KeyReference.objects.filter(department=company.hr)
    assert all(each.holds for each in rotation.look(company.organization))
    long_ago = timezone.now() - timedelta(days=settings.KEY_ROTATION_DAYS + 2)
    keys.update(installed_at=long_ago)
    assert "Older than" in sentences(rotation.look(company.organization), False)[0]
    keys.update(installed_at=timezone.now(), expires_at=timezone.now() - timedelta(hours=1), state="broken")
    assert sentences(rotation.look(company.organization), False) == [
        "Refused by the provider: Human Resources",
        "Ended by themselves: Human Resources",
    ]
    now = timezone.now()
    Rotation.objects.create(
        organization=company.organization,
        department=company.hr,
        trigger="button",
        started_at=now,
        step_since=now,
        problem="It waits",
        secret_name="x",
    )
    assert "An exchange does not get on: Human Resources" in sentences(rotation.look(company.organization), False)


def test_control_8_is_the_attack_report(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatgrid.console.proofs import injection
    from departments.calls import attack_scores

    found = injection.look(company.organization)
    assert len(found) >= 8
    assert not sentences(found, False), found
    assert not [each for each in found if each.text.startswith("L9")], "counts of other companies"
    monkeypatch.setattr(attack_scores, "clean", lambda text: type("Cleaned", (), {"text": text})())
    (wrong,) = sentences(injection.look(company.organization), False)
    assert wrong.startswith("L3")
