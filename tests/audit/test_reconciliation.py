"""The provider's counts against ours: a leaked key is found at once and named, and what is harmless says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from audit.differences import Difference, Reason
from audit.events import Event
from audit.reconciliation import KnownKey, Logged, compare, logged_by_us, raise_alarms
from chatgrid.dev.services.bootstrap import APP
from tests.audit.places import Record, new_record

DAY = datetime(2026, 11, 20, tzinfo=UTC)
LATER = DAY + timedelta(days=5)
KEY = KnownKey("f" * 16, "key_1", "proj_1")
MODEL = "gpt-6-luna"


def row(hour: int = 10, requests: int = 3, tokens: int = 100, **more: object) -> Logged:
    start = DAY + timedelta(hours=hour)
    known = {"project_id": KEY.project_id, "key_id": KEY.key_id, "model": MODEL, "output_tokens": 10}
    return Logged(**{"start": start, "requests": requests, "input_tokens": tokens, **known, **more})  # type: ignore[arg-type]


def reasons(ours: list[Logged], theirs: list[Logged], *keys: KnownKey, now: datetime = LATER) -> list[Reason]:
    return [each.reason for each in compare(ours, theirs, keys or (KEY,), now)]


def test_equal_counts_are_no_difference() -> None:
    assert reasons([row(10), row(11)], [row(10), row(11)]) == []


def test_a_leaked_key_is_found_with_its_hours_and_amount() -> None:
    (found,) = compare([row(10)], [row(10), row(3, 40, 9000), row(4, 2, 100)], [KEY], LATER)
    assert found.is_alarm
    assert found == Difference(Reason.LEAKED_KEY, "proj_1", "key_1", MODEL, DAY.date(), 42, 9100, 20, hours=(3, 4))
    assert "between 03:00 and 05:00 UTC" in str(found)


def test_a_leaked_key_is_found_before_the_day_is_complete() -> None:
    assert reasons([], [row(1)], now=DAY + timedelta(hours=2)) == [Reason.LEAKED_KEY]


def test_a_leak_on_another_model_is_not_hidden_by_ours() -> None:
    assert reasons([row(10)], [row(10), row(10, 1, model="gpt-6-sol")]) == [Reason.LEAKED_KEY]


def test_a_call_that_knows_only_the_name_it_asked_for_is_found_under_its_version() -> None:
    """Broken off before the answer named its model, or its process died; the provider counts its dated version."""
    dated = f"{MODEL}-2026-08-01"
    ours = [row(10, 3, model=dated), row(10, 1, 30, output_tokens=0, estimated=1)]
    assert reasons(ours, [row(10, 4, 130, model=dated)]) == []
    assert reasons(ours, [row(10, 5, 900, model=dated)]) == [Reason.LEAKED_KEY]
    assert reasons(ours, [row(10, 4, 130, model=dated), row(10, 1, model=f"{MODEL}-mini-2026-08-01")]) == [
        Reason.LEAKED_KEY
    ]


def test_a_correction_that_takes_requests_back_is_no_alarm() -> None:
    assert reasons([row(10)], [row(10), row(10, -1, -40, output_tokens=-4)]) == [Reason.NOT_COUNTED]
    assert reasons([row(10)], [row(10, 5, 300), row(12, -2, -200, output_tokens=0)]) == []


def test_what_is_not_counted_yet_is_late_and_later_never_counted() -> None:
    assert reasons([row(10)], [], now=DAY + timedelta(hours=30)) == [Reason.LATE]
    assert reasons([row(10)], [], now=DAY + timedelta(hours=37)) == [Reason.NOT_COUNTED]


def test_an_estimate_explains_other_tokens_and_nothing_else_does() -> None:
    assert reasons([row(tokens=90, estimated=1)], [row(tokens=100)]) == [Reason.ESTIMATED]
    assert reasons([row(tokens=90)], [row(tokens=100)]) == [Reason.TOKENS]


def test_a_key_of_nobody_and_a_project_of_nobody_are_named() -> None:
    assert reasons([], [row(key_id="key_other")]) == [Reason.FOREIGN_KEY]
    assert reasons([], [row(project_id="proj_other")]) == [Reason.FOREIGN_PROJECT]


def test_a_deleted_key_that_still_works_is_an_alarm() -> None:
    (found,) = compare([], [row()], [replace(KEY, retired_at=DAY - timedelta(days=3))], LATER)
    assert (found.reason, found.is_alarm) == (Reason.DELETED_KEY, True)
    assert reasons([], [row()], replace(KEY, retired_at=DAY + timedelta(days=3))) == [Reason.LEAKED_KEY]


def test_a_call_at_midnight_may_count_for_either_day() -> None:
    ours = [row(23, 3), row(24, 1)]
    theirs = [row(23, 2, 67, output_tokens=7), row(24, 2, 133, output_tokens=13)]
    assert reasons(ours, theirs) == [Reason.MIDNIGHT, Reason.MIDNIGHT]


def test_midnight_is_no_excuse_at_noon() -> None:
    ours = [row(12, 3), row(24 + 12, 1)]
    theirs = [row(12, 2), row(24 + 12, 2)]
    assert Reason.LEAKED_KEY in reasons(ours, theirs)


def test_midnight_is_no_excuse_for_more_than_is_missing_beside() -> None:
    assert Reason.LEAKED_KEY in reasons([row(23, 3), row(24, 1)], [row(23, 2), row(24, 9)])


def test_alarms_come_first() -> None:
    found = reasons([row(tokens=1)], [row(tokens=2), row(key_id="key_other")])
    assert found == [Reason.FOREIGN_KEY, Reason.TOKENS]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with new_record(tmp_path_factory.mktemp("record")) as made:
        yield made


def test_our_side_comes_from_the_record(record: Record) -> None:
    company, today = uuid4(), datetime.now(UTC).date()
    call = {
        "event": Event.CALL_ANSWERED,
        "organization_id": company,
        "key_fingerprint": KEY.fingerprint,
        "model_asked": MODEL,
        "tokens_input": 50,
        "tokens_output": 5,
    }
    record.write(2, **call)
    record.write(1, **call, tokens_estimated=True)
    record.write(1, **{**call, "tokens_input": 0, "tokens_output": 0})
    record.write(1, **{**call, "organization_id": uuid4()})
    with record.as_role(APP) as connection:
        found = logged_by_us(connection, company, [KEY], today, today + timedelta(days=1))
    assert sum(each.requests for each in found) == 3
    assert {(each.project_id, each.key_id, each.model) for each in found} == {("proj_1", "key_1", MODEL)}
    assert sum(each.input_tokens for each in found) == 150
    assert sum(each.estimated for each in found) == 1


def test_an_alarm_is_one_event_until_it_grows(record: Record) -> None:
    leak = Difference(Reason.LEAKED_KEY, "proj_1", f"key_{uuid4()}", MODEL, date(2026, 11, 20), 5, 500, 50, (3,))
    harmless = replace(leak, reason=Reason.TOKENS)
    company = uuid4()
    with record.as_role(APP) as connection:
        assert raise_alarms(connection, [leak, harmless], company, "Acme") == [leak]
        assert raise_alarms(connection, [leak], company, "Acme") == []
        assert raise_alarms(connection, [replace(leak, requests=6)], company, "Acme") != []
    held = (
        f"SELECT count(*) FROM audit_event WHERE organization_id = '{company}' AND event = '{Event.USAGE_UNEXPLAINED}'"
    )
    assert record.ask(held) == 2


def test_the_same_key_in_two_projects_and_two_companies_is_an_alarm_in_each(record: Record) -> None:
    leak = Difference(Reason.FOREIGN_KEY, "proj_1", "", MODEL, date(2026, 11, 20), 5, 500, 50, (3,))
    beside = replace(leak, project_id="proj_2", requests=3)
    with record.as_role(APP) as connection:
        for company in (uuid4(), uuid4()):
            assert raise_alarms(connection, [leak, beside], company, "Acme") == [leak, beside]
            assert raise_alarms(connection, [leak, beside], company, "Acme") == []
