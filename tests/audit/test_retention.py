"""Months end when their time has come, never before, and with proof. The database's clock is moved over 400 days."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow
import pytest
from botocore.exceptions import ClientError
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import IntegrityError, connection, transaction
from django.forms import modelform_factory
from pyarrow import parquet

from audit import retention
from audit.archive import ArchiveDamaged, announced, archive, check_archives, verify_archive
from audit.events import Event
from audit.findings import Kind
from audit.models import LegalHold, RetentionPolicy
from audit.retention import end_months, erase_texts, ranges
from chatgrid.dev.services.bootstrap import APP, OWNER, RETENTION, SEALER
from tests.audit.places import Record, copy_of, new_record

SHORT, LONG = uuid4(), uuid4()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """400 days of life: every ten days an event of a company and a seal. For the last 200 days there is another."""
    with new_record(tmp_path_factory.mktemp("year")) as record:
        for day in range(-400, 1, 10):
            record.move_clock(day)
            make_month(record)
            record.write_at(0, organization_id=SHORT)
            if day > -200:
                record.write_at(0, organization_id=LONG)
            record.seal()
        record.seal()
        yield record


@pytest.fixture
def record(year: Record, tmp_path: Path) -> Iterator[Record]:
    with copy_of(year, tmp_path) as copied:
        assert copied.verify().findings == []
        yield copied


@pytest.fixture
def storage(tmp_path: Path) -> FileSystemStorage:
    return FileSystemStorage(location=tmp_path / "archive")


def make_month(record: Record) -> None:
    with record.as_role(OWNER) as owner:
        owner.execute("SELECT audit_make_partition(audit_now()::date), audit_make_leaf_partition(audit_now()::date)")


def keep(record: Record, organization: Any, days: int) -> None:
    with record.as_role(APP) as app:
        app.execute("INSERT INTO audit_retention_policy (organization_id, days) VALUES (%s, %s)", [organization, days])


def run(record: Record, storage: FileSystemStorage) -> list[str]:
    with record.as_role(RETENTION) as role:
        return end_months(role, storage)


def months(record: Record) -> int:
    return int(record.ask("SELECT count(DISTINCT to_char(at, 'YYYY_MM')) FROM audit_event"))


def oldest(record: Record) -> int:
    """Age of the oldest event in days."""
    return int(record.ask("SELECT extract(day FROM audit_now() - min(at)) FROM audit_event"))


def test_a_month_is_archived_announced_sealed_and_only_then_dropped(record: Record, storage: FileSystemStorage) -> None:
    before = months(record)
    assert run(record, storage) == []
    assert months(record) == before
    assert storage.listdir("record")[1]
    assert run(record, storage) == []
    record.seal()
    dropped = run(record, storage)
    assert dropped
    assert months(record) == before - len(dropped)
    record.seal()
    report = record.verify()
    assert report.findings == []
    assert report.expired_seals > 0


def test_without_a_policy_a_year_is_kept(record: Record, storage: FileSystemStorage) -> None:
    run(record, storage)
    record.seal()
    run(record, storage)
    assert 365 <= oldest(record) < 365 + 31 + 10


def test_months_end_at_the_longest_retention_of_those_in_them(record: Record, storage: FileSystemStorage) -> None:
    keep(record, SHORT, 90)
    keep(record, LONG, 150)
    run(record, storage)
    record.seal()
    run(record, storage)
    assert 150 <= oldest(record) < 150 + 31 + 10
    record.seal()
    assert record.verify().findings == []


def test_nothing_goes_under_a_legal_hold(record: Record, storage: FileSystemStorage) -> None:
    with record.as_role(APP) as app:
        app.execute("INSERT INTO audit_legal_hold (organization_id, reason) VALUES (%s, 'a case')", [SHORT])
    before = months(record)
    run(record, storage)
    record.seal()
    assert run(record, storage) == []
    assert months(record) == before
    with record.as_role(APP) as app:
        app.execute("UPDATE audit_legal_hold SET lifted_at = now()")
    run(record, storage)
    record.seal()
    assert run(record, storage)


def test_a_hold_that_comes_after_the_announcement_still_holds(record: Record, storage: FileSystemStorage) -> None:
    run(record, storage)
    record.seal()
    with record.as_role(APP) as app:
        app.execute("INSERT INTO audit_legal_hold (organization_id, reason) VALUES (%s, 'a case')", [SHORT])
    assert run(record, storage) == []


def test_a_long_reading_holds_up_the_end_of_a_month_and_no_call(
    record: Record, storage: FileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export reads the whole record: whoever waited behind it for the lock would stop every call."""
    monkeypatch.setattr(retention, "PATIENCE", "50ms")
    run(record, storage)
    record.seal()
    before = months(record)
    with record.as_role(APP) as export, export.transaction():
        export.execute("SELECT count(*) FROM audit_event")
        assert run(record, storage) == []
        record.write(organization_id=SHORT)
    assert months(record) == before
    assert run(record, storage) != []


def test_an_event_that_comes_after_the_archive_means_a_new_archive(record: Record, storage: FileSystemStorage) -> None:
    run(record, storage)
    record.write_at(395, organization_id=SHORT)
    late, *_ = record.seal()
    first = set(storage.listdir("record")[1])
    run(record, storage)
    assert len(set(storage.listdir("record")[1]) - first) == 2  # events and seals
    record.seal()
    run(record, storage)
    record.seal()
    assert [(each.kind, each.seal) for each in record.verify().faults] == [(Kind.MONTH_TOO_YOUNG, late.n)]


def test_months_that_went_long_ago_are_still_accounted_for(record: Record, storage: FileSystemStorage) -> None:
    """The events that announced them are gone themselves by then."""
    for days in (0, 200, 420):
        record.move_clock(days)
        make_month(record)
        record.seal()
        run(record, storage)
        record.seal()
        run(record, storage)
        record.seal()
    assert record.ask("SELECT count(*) FROM audit_event WHERE at < now() + interval '1 day'") == 0
    report = record.verify()
    assert report.faults == []
    assert report.expired_seals > 40


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"seals": [], "earlier": {}, "archives": {}, "events": 0},
        {"seals": [["a", None]], "earlier": [], "archives": {"2025_10": {"name": "x"}}},
        {"seals": [], "earlier": {"2025_10": []}, "archives": {"2025_10": 7}, "events": "none"},
    ],
)
def test_an_announcement_that_somebody_else_has_written_takes_nothing_from_the_others(
    record: Record, storage: FileSystemStorage, details: dict[str, Any]
) -> None:
    """The application may write events, and must not make a month stand for ever or be forgotten."""
    run(record, storage)
    record.seal()
    first = run(record, storage)
    assert first
    record.write(event=Event.MONTH_DROPPED, subject_id="2020_01", details=details)
    record.move_clock(31)
    make_month(record)
    record.seal()
    run(record, storage)
    record.seal()
    assert run(record, storage)
    record.tamper("DELETE FROM audit_event WHERE subject_id = '2020_01'")
    with record.as_role(APP) as app:
        seals, archives = announced(app)
        assert {*first} < {*seals}
        assert {*first} < {*archives}
        assert [problem for _, problem in check_archives(app, storage)] == [""] * len(archives)


NO_ARCHIVE = b"no archive"
PLANTED = {
    "name": "record/1-planted.parquet",
    "sha256": sha256(NO_ARCHIVE).hexdigest(),
    "seals_name": "record/1-planted.parquet",
    "seals_sha256": sha256(NO_ARCHIVE).hexdigest(),
}


@pytest.mark.parametrize(
    "place",
    [{}, {"name": "../../elsewhere"}, {"name": "record"}, {"name": ""}, {"name": 5}, {"sha256": None}, {"events": "1"}],
)
def test_a_planted_place_keeps_no_month_from_its_end_and_stops_no_check(
    record: Record, storage: FileSystemStorage, place: dict[str, Any]
) -> None:
    """Of a month that is due, with the right count, so that it would be taken for ours: it costs one more archive."""
    storage.save(PLANTED["name"], ContentFile(NO_ARCHIVE))
    run(record, storage)
    with record.as_role(APP) as app:
        ours = dict(
            app.execute("SELECT subject_id, details->'events' FROM audit_event WHERE event = %s", [Event.MONTH_DROPPED])
        )
        assert ours
        for month, events in ours.items():
            planted = {"seals": [], "archives": {month: PLANTED | {"events": events} | place}, "events": events}
            record.write(event=Event.MONTH_DROPPED, subject_id=month, details=planted)
        found = dict(check_archives(app, storage))
    assert set(found) == set(ours)
    assert {"cannot be read" in problem for problem in found.values()} == {not place}  # the others are passed over
    record.seal()
    assert run(record, storage) == []
    record.seal()
    assert set(run(record, storage)) == set(ours)


@pytest.mark.parametrize("month_ago", [1, 2, 13])
def test_the_database_itself_refuses_a_month_that_is_not_due_or_not_announced(record: Record, month_ago: int) -> None:
    with record.as_role(RETENTION) as role, pytest.raises(psycopg.errors.InsufficientPrivilege):
        role.execute(
            "SELECT audit_drop_month(to_char(audit_now() - make_interval(months => %s), 'YYYY_MM'))", [month_ago]
        )


@pytest.mark.parametrize("role", [APP, SEALER])
def test_no_other_role_may_drop_a_month(record: Record, role: str) -> None:
    with record.as_role(role) as connected, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connected.execute("SELECT audit_drop_month('2020_01')")


def test_a_month_dropped_with_a_forged_announcement_before_its_time_is_found(record: Record) -> None:
    """The application may write events, also this one; whoever also owns the database can then drop a young month."""
    month = record.ask("SELECT to_char(audit_now() - interval '2 months', 'YYYY_MM')")
    seals = record.ask(
        "SELECT json_agg(json_build_array(n, n)) FROM audit_seal"
        f" WHERE n IN (SELECT seal FROM audit_leaf WHERE to_char(at, 'YYYY_MM') = '{month}')"
    )
    record.write(event=Event.MONTH_DROPPED, subject_id=month, details={"seals": seals, "earlier": {}, "events": 0})
    record.seal()
    record.tamper(f"DROP TABLE audit_event_{month}", f"DROP TABLE audit_leaf_{month}")
    kinds = {fault.kind for fault in record.verify().faults}
    assert kinds == {Kind.MONTH_TOO_YOUNG, Kind.LEAF_MISSING}


def test_a_damaged_archive_is_noticed(record: Record, storage: FileSystemStorage) -> None:
    month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    with record.as_role(RETENTION) as role:
        archived = archive(role, month, storage)
    verify_archive(storage, archived)
    for name in (archived.name, archived.seals_name):
        path = Path(storage.path(name))
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(ArchiveDamaged, match="another digest"):
            verify_archive(storage, archived)
        path.write_bytes(whole)


def test_an_archive_whose_events_are_not_those_that_were_sealed_ends_no_month(
    record: Record, storage: FileSystemStorage
) -> None:
    month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    record.tamper("UPDATE audit_event SET actor_name = 'Somebody' WHERE at = (SELECT min(at) FROM audit_event)")
    with record.as_role(RETENTION) as role, pytest.raises(ArchiveDamaged, match="not what was sealed"):
        archive(role, month, storage)


class Dying(FileSystemStorage):
    """An archive whose process dies, as if by kill -9, at its nth call; a write that dies has written half."""

    def __init__(self, location: Path, dies_at: int) -> None:
        super().__init__(location=location)
        self._left = dies_at

    def _die(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _save(self, name: str, content: Any) -> str:
        dies = self._die()
        saved = super()._save(name, ContentFile(content.read()[:200]) if dies else content)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return saved

    def _open(self, name: str, mode: str = "rb") -> Any:
        if self._die():
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._open(name, mode)


def run_and_die(record: Record, folder: Path, dies_at: int) -> bool:
    """A run in a process of its own that is killed at its nth call of the archive; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            run(record, Dying(folder, dies_at))
        finally:
            os._exit(0)  # nothing of the test's own may run twice
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_run_that_is_killed_anywhere_drops_nothing_unproven_and_the_next_goes_on(
    record: Record, storage: FileSystemStorage
) -> None:
    """First the writes (events, seals), then both read back; after the announcement's seal both read back once more."""
    keep(record, SHORT, 90)
    keep(record, LONG, 90)
    folder, before = Path(storage.location), months(record)
    due = record.ask("SELECT count(*) FROM pg_class WHERE relname ~ '^audit_event_[0-9]' AND relkind = 'r'")
    for dies_at in (1, 2, 3, 4, 7):
        assert run_and_die(record, folder, dies_at), dies_at
    assert months(record) == before
    run(record, storage)
    record.seal()
    for dies_at in (1, 2):
        assert run_and_die(record, folder, dies_at), dies_at
        assert months(record) == before, "what was not read back is not dropped"
    assert run_and_die(record, folder, 3), "one month is gone, the next is being read"
    assert months(record) == before - 1
    assert len(run(record, storage)) < due
    record.seal()
    assert record.verify().findings == []
    with record.as_role(APP) as app:
        assert {problem for _, problem in check_archives(app, storage)} == {""}


@pytest.mark.parametrize("damage", ["gone", "half"])
def test_an_archive_that_is_damaged_before_the_drop_is_made_anew_and_nothing_goes(
    record: Record, storage: FileSystemStorage, damage: str
) -> None:
    before = months(record)
    run(record, storage)
    record.seal()
    month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    (file,) = Path(storage.location, "record").glob(f"{month}-*.parquet")
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert month not in run(record, storage)
    assert record.ask(f"SELECT count(*) FROM audit_event_{month}") > 0
    record.seal()
    assert month in run(record, storage)
    assert months(record) < before
    record.seal()
    assert record.verify().findings == []


class Refusing(FileSystemStorage):
    """An object store that takes nothing of one month."""

    month = ""

    def _save(self, name: str, content: Any) -> str:
        if self.month in name:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")
        return super()._save(name, content)


def test_a_store_that_refuses_one_month_stops_that_month_alone_and_loudly(
    record: Record, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(record, SHORT, 90)
    keep(record, LONG, 90)
    storage = Refusing(location=tmp_path / "archive")
    storage.month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    for _ in range(2):
        with pytest.raises(ClientError):
            run(record, storage)
        record.seal()
    assert f"the record of {storage.month} stands: ClientError" in caplog.text
    gone = record.ask("SELECT count(DISTINCT subject_id) FROM audit_event WHERE event = 'record:month_dropped'")
    assert gone > 5
    assert record.ask(f"SELECT count(*) FROM audit_event_{storage.month}") > 0
    assert record.verify().findings == []


def test_an_archive_that_somebody_works_on_after_the_drop_is_named(record: Record, storage: FileSystemStorage) -> None:
    keep(record, SHORT, 90)
    keep(record, LONG, 90)
    for _ in range(2):
        run(record, storage)
        record.seal()
    first, second, *_ = files = sorted(Path(storage.location, "record").glob("*.parquet"))
    table = parquet.read_table(first).to_pylist()
    table[0]["actor_name"] = "Nobody"
    parquet.write_table(pyarrow.Table.from_pylist(table, parquet.read_schema(first)), first)
    second.unlink()
    with record.as_role(APP) as app:
        found = dict(check_archives(app, storage))
    assert len(found) == len(files)
    assert "another digest" in found.pop(first.name[:7])
    assert "not there any more" in found.pop(second.name[:7])
    assert set(found.values()) == {""}


def test_an_archive_is_read_with_any_parquet_reader(record: Record, storage: FileSystemStorage) -> None:
    month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    with record.as_role(RETENTION) as role:
        archived = archive(role, month, storage)
    table = parquet.read_table(storage.path(archived.name))
    assert table.num_rows == archived.events > 0
    assert set(table.column("event").to_pylist()) == {"account:signed_in"}
    assert table.column("organization_id").to_pylist() == [str(SHORT)] * archived.events


def test_texts_end_with_their_own_company_and_their_events_stay(record: Record) -> None:
    keep(record, SHORT, 90)
    record.tamper("INSERT INTO audit_text (event_id, at, salt, text) SELECT id, at, '\\x00', 'asked' FROM audit_event")
    events = record.ask("SELECT count(*) FROM audit_event")
    with record.as_role(RETENTION) as role:
        assert erase_texts(role) > 20
        assert erase_texts(role) == 0
    assert record.ask(f"SELECT organization_id FROM audit_event WHERE event = '{Event.TEXTS_ERASED}'") == SHORT
    left = "SELECT extract(day FROM audit_now() - min(t.at)) FROM audit_text t JOIN audit_event e ON e.id = t.event_id"
    assert record.ask(f"{left} WHERE organization_id = '{SHORT}'") <= 90
    assert record.ask(f"{left} WHERE organization_id = '{LONG}'") > 180
    assert record.ask("SELECT count(*) FROM audit_event") == events + 1
    record.seal()
    record.tamper("DELETE FROM audit_text")  # none of these events was a question
    assert record.verify().findings == []


def test_texts_stay_under_a_legal_hold(record: Record) -> None:
    keep(record, SHORT, 90)
    record.tamper("INSERT INTO audit_text (event_id, at, salt, text) SELECT id, at, '\\x00', 'asked' FROM audit_event")
    with record.as_role(APP) as app:
        app.execute("INSERT INTO audit_legal_hold (organization_id, reason) VALUES (%s, 'a case')", [SHORT])
    with record.as_role(RETENTION) as role:
        assert erase_texts(role) == 0


def test_less_than_90_days_is_refused_by_form_model_and_database() -> None:
    form = modelform_factory(RetentionPolicy, fields=["organization_id", "days"])(
        {"organization_id": uuid4(), "days": 89}
    )
    assert "at least 90 days" in str(form.errors["days"])
    with pytest.raises(ValidationError):
        RetentionPolicy.objects.create(organization_id=uuid4(), days=89)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO audit_retention_policy (organization_id, days) VALUES (%s, 89)", [uuid4()])
    assert RetentionPolicy.objects.create(organization_id=uuid4(), days=90).days == 90


def test_the_job_keeps_90_days_even_if_the_constraint_is_gone(record: Record, storage: FileSystemStorage) -> None:
    record.tamper(
        "ALTER TABLE audit_retention_policy DROP CONSTRAINT audit_retention_at_least_90_days",
        f"INSERT INTO audit_retention_policy (organization_id, days) VALUES ('{SHORT}', 1), ('{LONG}', 1)",
    )
    run(record, storage)
    record.seal()
    run(record, storage)
    assert oldest(record) >= 90


def test_a_hold_is_made_with_its_reason() -> None:
    hold = LegalHold.objects.create(organization_id=uuid4(), reason="Case 4711", set_by="Ivan")
    assert LegalHold.objects.get(pk=hold.pk).lifted_at is None


@pytest.mark.parametrize(
    ("numbers", "expected"), [([], []), ([4], [[4, 4]]), ([1, 2, 3, 7, 9, 10], [[1, 3], [7, 7], [9, 10]])]
)
def test_seals_are_named_as_ranges(numbers: list[int], expected: list[list[int]]) -> None:
    assert ranges(numbers) == expected
