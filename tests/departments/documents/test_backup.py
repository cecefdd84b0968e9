"""A store in a file and back: whole, for its own department only, and without what was deleted since."""

from __future__ import annotations

import io
import json
import stat
from dataclasses import asdict
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from audit.events import Event
from audit.models import AuditEvent
from departments.documents import backup
from departments.documents.backup import BackupFailed, back_up_store, restore_store
from departments.documents.credentials import credential_name
from departments.documents.deletion import delete_document
from departments.documents.provision import delete_store, provision_store
from departments.documents.schema import newest
from departments.keys.reader import current_vault
from departments.loop import run
from departments.models import Department
from tests.company import Company
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, find, ready
from tests.provider import Provider


def titles(department: Department) -> list[str]:
    return [row["title"] for row in run(execute(department, "SELECT title FROM document ORDER BY title"))]


def answers(department: Department, company: Company, question: str) -> list[str]:
    return [passage.title for passage in run(find(department, company.alice, question)).passages]


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    department = ready(company.hr)
    run(add(department, company.alice, LEAVE))
    return department


def test_a_store_comes_back_as_it_was(company: Company, hr: Department, tmp_path: Path) -> None:
    made = back_up_store(hr, tmp_path / "hr", reason="every night", name="Ivan")
    assert stat.S_IMODE((tmp_path / "hr").stat().st_mode) == 0o600
    run(add(hr, company.alice, TRAVEL, "travel.md"))
    assert titles(hr) == ["Leave", "Travel"]
    back = restore_store(hr, tmp_path / "hr", reason="a bad day", name="Ivan")
    assert (titles(hr), back.documents, back.schema, back.deleted_again) == (["Leave"], 1, newest(), ())
    assert back.sha256 == made.sha256
    assert answers(hr, company, "carry over unused days") == ["Leave"]
    run(add(hr, company.alice, TRAVEL, "travel.md"))  # a restored store goes on
    assert "Travel" in answers(hr, company, "meals on a journey")


def test_both_are_in_the_record_with_a_reason_and_the_file_s_digest(hr: Department, tmp_path: Path) -> None:
    made = back_up_store(hr, tmp_path / "hr", reason="every night", name="Ivan")
    restore_store(hr, tmp_path / "hr", reason="a bad day", name="Ada")
    written = AuditEvent.objects.filter(department_id=hr.pk, subject_kind="store").order_by("at")
    told = [(each.event, each.actor_name, each.details.get("reason"), each.details.get("sha256")) for each in written]
    assert told[-2:] == [
        (Event.STORE_BACKED_UP, "Ivan", "every night", made.sha256),
        (Event.STORE_RESTORED, "Ada", "a bad day", made.sha256),
    ]


def test_it_comes_back_into_a_store_that_was_made_anew(company: Company, hr: Department, tmp_path: Path) -> None:
    back_up_store(hr, tmp_path / "hr")
    delete_store(hr)
    for each in (back_up_store, restore_store):
        with pytest.raises(BackupFailed, match="has no store"):
            each(hr, tmp_path / "hr")
    provision_store(hr)
    assert restore_store(hr, tmp_path / "hr").documents == 1
    assert answers(hr, company, "carry over unused days") == ["Leave"]


def test_what_was_deleted_since_stays_deleted(company: Company, hr: Department, tmp_path: Path) -> None:
    travel = run(add(hr, company.alice, TRAVEL, "travel.md"))
    back_up_store(hr, tmp_path / "hr")
    run(delete_document(hr, company.alice, travel.document_id))
    back = restore_store(hr, tmp_path / "hr", reason="a bad day")
    assert (titles(hr), back.documents, back.deleted_again) == (["Leave"], 1, (str(travel.document_id),))
    receipts = AuditEvent.objects.filter(event=Event.DOCUMENT_DELETED, subject_id=str(travel.document_id))
    assert {each.actor_name for each in receipts} == {company.alice.name}
    assert receipts.count() == 2


def test_another_department_s_backup_is_refused(
    company: Company, other_company: Company, hr: Department, tmp_path: Path
) -> None:
    back_up_store(hr, tmp_path / "hr")
    for other in (ready(company.finance), ready(other_company.hr)):
        with pytest.raises(BackupFailed, match="not of"):
            restore_store(other, tmp_path / "hr")
        assert titles(other) == []


def test_a_file_that_is_cut_or_is_no_backup_changes_nothing(hr: Department, tmp_path: Path) -> None:
    back_up_store(hr, tmp_path / "hr")
    whole = (tmp_path / "hr").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-200])
    (tmp_path / "text").write_text("DROP TABLE document;")
    for name in ("cut", "text", "missing"):
        with pytest.raises(BackupFailed):
            restore_store(hr, tmp_path / name)
        assert titles(hr) == ["Leave"]


def test_a_restore_that_breaks_off_changes_nothing(
    hr: Department, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up_store(hr, tmp_path / "hr")
    broken = tmp_path / "clear.sql"
    broken.write_text(backup.CLEAR.read_text() + "\nSELECT 1 / 0;\n")
    monkeypatch.setattr(backup, "CLEAR", broken)
    with pytest.raises(BackupFailed, match="division by zero"):
        restore_store(hr, tmp_path / "hr")
    assert titles(hr) == ["Leave"]


def test_what_is_there_beside_a_backup_is_gone_after_it(hr: Department, tmp_path: Path) -> None:
    back_up_store(hr, tmp_path / "hr")
    run(execute(hr, "SELECT open_shadow('text-embedding-3-small', 1536, 200)"))
    restore_store(hr, tmp_path / "hr")
    assert run(execute(hr, "SELECT to_regclass('passage_shadow') AS shadow")) == [{"shadow": None}]


def test_nothing_is_overwritten_and_half_a_backup_is_removed(
    hr: Department, tmp_path: Path, settings: LazySettings
) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(FileExistsError):
        back_up_store(hr, tmp_path / "there")
    settings.POSTGRES_PROGRAMS = str(tmp_path)
    with pytest.raises(BackupFailed, match="CHATGRID_POSTGRES_PROGRAMS"):
        back_up_store(hr, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_commands_ask_for_a_reason_and_before_they_replace(
    company: Company, hr: Department, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [company.organization.slug, hr.slug, str(tmp_path / "hr")]
    with pytest.raises(CommandError, match="--reason"):
        call_command("back_up_store", *words)
    call_command("back_up_store", *words, "--reason", "every night", "--as", "Ivan", stdout=(said := io.StringIO()))
    assert json.loads(said.getvalue())["database"] == hr.store_name
    with pytest.raises(CommandError, match="overwrites nothing"):
        call_command("back_up_store", *words, "--reason", "every night")
    monkeypatch.setattr("builtins.input", lambda _: "finance")
    with pytest.raises(CommandError, match="Nothing was restored"):
        call_command("restore_store", *words, "--reason", "a bad day")
    monkeypatch.setattr("builtins.input", lambda _: hr.slug)
    call_command("restore_store", *words, "--reason", "a bad day", stdout=(said := io.StringIO()))
    assert json.loads(said.getvalue())["documents"] == 1


def test_the_password_is_in_no_argument_and_no_message(hr: Department, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no backup")
    password = json.loads(current_vault().get_current(credential_name(hr)).value.reveal())["password"]
    receipt = back_up_store(hr, tmp_path / "hr")
    assert password.encode() not in (tmp_path / "hr").read_bytes()
    assert password not in json.dumps(asdict(receipt), default=str)
    with pytest.raises(BackupFailed) as refused:
        restore_store(hr, tmp_path / "text")
    assert password not in str(refused.value)
