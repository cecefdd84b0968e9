"""Folders and buckets that feed a department: what is new, changed or gone; what must never happen."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent
from departments.documents import tasks
from departments.documents.deletion import delete_document
from departments.documents.models import DocumentSource, SourceRun
from departments.documents.places import Bucket, _refusal
from departments.documents.sources import due_sources, synchronise
from departments.documents.store import open_store
from departments.documents.uploads import UploadRefused
from departments.loop import run
from departments.models import Department
from tests.company import Company, signed_in
from tests.departments.documents.shelf import LEAVE, TRAVEL, execute, ready, upload
from tests.departments.documents.test_originals import cloud
from tests.provider import Provider

__all__ = ["cloud"]
Put = Callable[[str, str], None]


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


@pytest.fixture
def share(tmp_path: Path, settings: Any) -> Path:
    """A folder that the operator opened, with something beside it that must never be read."""
    folder = tmp_path / "share"
    (folder / "policies").mkdir(parents=True)
    (tmp_path / "secret.md").write_text("# Password\n\nhunter")
    settings.SOURCE_FOLDERS = {f"share-{secrets.token_hex(4)}": str(folder)}
    return folder


@pytest.fixture
def bucket(cloud: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket that the operator opened, under a name of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    made = boto3.resource("s3", endpoint_url=cloud, region_name="us-east-1").create_bucket(
        Bucket=f"share-{secrets.token_hex(4)}"
    )
    settings.SOURCE_BUCKETS = {made.name: {"bucket_name": made.name, "endpoint_url": cloud, "region_name": "us-east-1"}}
    return made


def source_of(department: Department, kind: str = "folder", path: str = "policies") -> DocumentSource:
    opened = settings.SOURCE_FOLDERS if kind == "folder" else settings.SOURCE_BUCKETS
    made = DocumentSource(department=department, name="Policies", kind=kind, place=next(iter(opened)), path=path)
    made.full_clean()
    made.save()
    return made


async def look(source: DocumentSource) -> SourceRun:
    done = await synchronise(source.pk)
    assert done is not None
    return done


def numbers(done: SourceRun) -> tuple[int, int, int, int]:
    return done.added, done.changed, done.deleted, done.failed


async def names(department: Department) -> list[str]:
    async with open_store(department) as store:
        return sorted(document.filename for document in (await store.list_documents(limit=500)).documents)


async def test_what_is_new_changed_and_gone_in_a_folder_is_so_in_the_department(hr: Department, share: Path) -> None:
    source = source_of(hr)
    (share / "policies" / "2026").mkdir()
    (share / "policies" / "leave.md").write_text(LEAVE)
    (share / "policies" / "2026" / "travel.md").write_text(TRAVEL)
    (share / "policies" / ".DS_Store").write_text("x")
    (share / "elsewhere.md").write_text("not of this source")
    assert numbers(await look(source)) == (2, 0, 0, 0)
    assert await names(hr) == ["leave.md", "travel.md"]
    assert {row["folder"] for row in await execute(hr, "SELECT folder FROM version")} == {"", "2026"}
    assert numbers(await look(source)) == (0, 0, 0, 0)
    (share / "policies" / "leave.md").write_text(LEAVE.replace("five", "seven"))
    (share / "policies" / "2026" / "travel.md").unlink()
    assert numbers(await look(source)) == (0, 1, 1, 0)
    assert await names(hr) == ["leave.md"]
    assert [row["number"] for row in await execute(hr, "SELECT number FROM version ORDER BY 1")] == [1, 2]
    ran = AuditEvent.objects.filter(department_id=hr.pk, event=Event.SOURCE_RAN)
    assert [event.details["added"] for event in ran.order_by("at")] == [2, 0]
    uploaded = AuditEvent.objects.filter(department_id=hr.pk, event=Event.DOCUMENT_UPLOADED).first()
    assert uploaded is not None
    assert uploaded.actor_name == "Source: Policies"


async def test_a_bucket_s_prefix_is_synchronised_and_its_neighbour_is_not(hr: Department, bucket: Any) -> None:
    source = source_of(hr, "bucket")
    bucket.put_object(Key="policies/2026/leave.md", Body=LEAVE.encode())
    bucket.put_object(Key="policies/", Body=b"")
    bucket.put_object(Key="policies-of-others/pay.md", Body=b"# Pay\n\nsecret")
    assert numbers(await look(source)) == (1, 0, 0, 0)
    assert await names(hr) == ["leave.md"]
    bucket.put_object(Key="policies/2026/leave.md", Body=LEAVE.replace("five", "six").encode())
    bucket.put_object(Key="policies/travel.md", Body=TRAVEL.encode())
    assert numbers(await look(source)) == (1, 1, 0, 0)
    bucket.Object("policies/travel.md").delete()
    assert numbers(await look(source)) == (0, 0, 1, 0)
    bucket.objects.all().delete()
    bucket.delete()
    gone = await look(source)
    assert "cannot be read" in gone.sentence
    assert await names(hr) == ["leave.md"]


async def test_links_and_pipes_never_lead_out_of_the_folder(hr: Department, share: Path) -> None:
    source = source_of(hr)
    policies = share / "policies"
    (policies / "leave.md").write_text(LEAVE)
    (policies / "link.md").symlink_to(share.parent / "secret.md")
    (policies / "out").symlink_to(share.parent)
    os.mkfifo(policies / "pipe.md")
    assert numbers(await look(source)) == (1, 0, 0, 0)
    assert await names(hr) == ["leave.md"]


async def test_a_file_that_becomes_a_link_between_listing_and_reading_is_not_followed(
    hr: Department, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(hr)
    target = share / "policies" / "leave.md"
    target.write_text(LEAVE)
    folder = share / "policies" / "deep"
    folder.mkdir()
    (folder / "secret.md").write_text("harmless")

    from departments.documents import sources

    upload_one = sources._upload

    async def swap_first(*arguments: Any) -> Any:
        if not target.is_symlink():
            target.unlink()
            target.symlink_to(share.parent / "secret.md")
            (folder / "secret.md").unlink()
            folder.rmdir()
            folder.symlink_to(share.parent)
        return await upload_one(*arguments)

    monkeypatch.setattr(sources, "_upload", swap_first)
    done = await look(source)
    assert numbers(done) == (0, 0, 0, 2)
    assert await names(hr) == []
    assert all("cannot be read" in problem["sentence"] for problem in done.problems)


@pytest.mark.parametrize("path", ["../", "a/../../b", "..", "a\\..\\b", "/etc/../..", "a/./b", "nul\x00l"])
def test_a_path_that_steps_out_is_refused(hr: Department, share: Path, path: str) -> None:
    with pytest.raises(ValidationError):
        source_of(hr, path=path)


async def test_a_root_is_the_operator_s_word_alone(hr: Department, share: Path, settings: Any) -> None:
    source = source_of(hr)
    settings.SOURCE_FOLDERS = {}
    assert "do not name share-" in (await look(source)).sentence
    with pytest.raises(ValidationError):
        source.full_clean()


def test_a_folder_feeds_one_department_and_nothing_above_or_in_it_another(
    company: Company, hr: Department, share: Path
) -> None:
    source_of(hr, path="policies")
    for path in ("policies", "policies/2026", ""):
        with pytest.raises(ValidationError, match="another department"):
            source_of(company.finance, path=path)
    assert source_of(company.finance, path="policies-of-finance").pk


async def test_a_place_that_is_suddenly_empty_deletes_nothing_before_somebody_said_so(
    company: Company, hr: Department, share: Path
) -> None:
    source = source_of(hr)
    for number in range(3):
        (share / "policies" / f"{number}.md").write_text(f"# Rule {number}\n\nText of rule {number}.")
    await look(source)
    for path in list((share / "policies").iterdir()):
        path.unlink()
    emptied = await look(source)
    assert numbers(emptied) == (0, 0, 0, 0)
    assert "3 of 3 files are gone" in emptied.sentence
    assert len(await names(hr)) == 3
    client = await signed_in(company.alice)
    page = (await client.get(reverse("documents:sources", args=["hr"]))).content.decode()
    assert "3 files are gone from this place" in page
    await client.post(reverse("documents:source", args=["hr", source.pk]), {"act": "delete"})
    assert numbers(await look(source)) == (0, 0, 3, 0)
    assert await names(hr) == []
    decided = AuditEvent.objects.get(department_id=hr.pk, event=Event.SOURCE_DECIDED)
    assert (decided.actor_name, decided.details["decision"]) == ("Alice", "delete")


async def test_what_vanished_can_be_kept(company: Company, hr: Department, share: Path) -> None:
    source = source_of(hr)
    for number in range(3):
        (share / "policies" / f"{number}.md").write_text(f"# Rule {number}\n\nText of rule {number}.")
    await look(source)
    for path in list((share / "policies").iterdir()):
        path.unlink()
    await look(source)
    client = await signed_in(company.alice)
    await client.post(reverse("documents:source", args=["hr", source.pk]), {"act": "keep"})
    assert numbers(await look(source)) == (0, 0, 0, 0)
    assert len(await names(hr)) == 3


async def test_many_lost_files_ask_and_a_few_do_not(hr: Department, share: Path) -> None:
    source = source_of(hr)
    for number in range(30):
        (share / "policies" / f"{number}.txt").write_text(f"Text of rule {number}.")
    await look(source)
    for number in range(11):
        (share / "policies" / f"{number}.txt").unlink()
    assert "11 of 30" in (await look(source)).sentence
    (share / "policies" / "0.txt").write_text("Text of rule 0, back again.")
    assert numbers(await look(source)) == (0, 1, 10, 0)


async def test_what_somebody_deleted_here_comes_back_only_when_its_file_changes(
    company: Company, hr: Department, share: Path
) -> None:
    source = source_of(hr)
    (share / "policies" / "leave.md").write_text(LEAVE)
    await look(source)
    [row] = await execute(hr, "SELECT id FROM document")
    await delete_document(hr, company.alice, row["id"])
    assert numbers(await look(source)) == (0, 0, 0, 0)
    assert await names(hr) == []
    (share / "policies" / "leave.md").write_text(LEAVE.replace("five", "six"))
    await look(source)
    assert await names(hr) == ["leave.md"]


async def test_a_file_that_a_person_uploaded_stays_theirs(company: Company, hr: Department, share: Path) -> None:
    source = source_of(hr)
    await upload(hr, company.alice, LEAVE)
    (share / "policies" / "copy.md").write_text(LEAVE)
    (share / "policies" / "other.md").write_text(TRAVEL)
    assert numbers(await look(source)) == (1, 0, 0, 0)
    (share / "policies" / "copy.md").unlink()
    await look(source)
    assert await names(hr) == ["leave.md", "other.md"]


async def test_a_file_that_is_not_taken_is_told_and_keeps_no_other_waiting(
    hr: Department, share: Path, settings: Any
) -> None:
    settings.UPLOAD_BYTES = 200
    source = source_of(hr)
    (share / "policies" / "empty.md").write_text("")
    (share / "policies" / "large.md").write_text("x" * 300)
    (share / "policies" / "leave.md").write_text(LEAVE)
    done = await look(source)
    assert numbers(done) == (1, 0, 0, 2)
    assert {problem["path"] for problem in done.problems} == {"empty.md", "large.md"}


async def test_a_run_that_breaks_off_says_so_and_the_source_is_free_again(
    hr: Department, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(hr)
    (share / "policies" / "leave.md").write_text(LEAVE)
    with monkeypatch.context() as broken:
        broken.setattr("departments.documents.sources.accept_upload", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await synchronise(source.pk)
    assert "broke off" in (await SourceRun.objects.aget(source=source)).sentence
    assert numbers(await look(source)) == (1, 0, 0, 0)


async def test_one_run_at_a_time_and_a_paused_one_not_at_all(hr: Department, share: Path) -> None:
    source = source_of(hr)
    assert source.pk in due_sources()
    from departments.documents import sources

    assert sources._take(source.pk) is not None
    assert await synchronise(source.pk) is None
    assert source.pk not in due_sources()
    DocumentSource.objects.filter(pk=source.pk).update(busy_until=None, is_active=False)
    assert await synchronise(source.pk) is None
    assert source.pk not in due_sources()


def test_the_task_finds_its_source(hr: Department, share: Path) -> None:
    source = source_of(hr)
    (share / "policies" / "leave.md").write_text(LEAVE)
    tasks.sync_source(str(source.pk))
    assert run(names(hr)) == ["leave.md"]
    assert source.pk not in due_sources()  # its hour has not come


async def test_another_departments_source_is_not_there(company: Company, hr: Department, share: Path) -> None:
    source = source_of(company.finance, path="finance")
    client = await signed_in(company.alice)
    address = reverse("documents:source", args=["hr", source.pk])
    assert (await client.post(address, {"act": "pause"})).status_code == 404
    source.refresh_from_db()
    assert source.is_active


async def test_a_file_that_was_renamed_or_moved_keeps_its_document(hr: Department, share: Path) -> None:
    source = source_of(hr)
    (share / "policies" / "leave.md").write_text(LEAVE)
    (share / "policies" / "travel.md").write_text(TRAVEL)
    await look(source)
    before = await execute(hr, "SELECT id, document_id FROM version ORDER BY id")
    (share / "policies" / "old").mkdir()
    (share / "policies" / "leave.md").rename(share / "policies" / "old" / "holidays.md")
    assert numbers(await look(source)) == (0, 1, 0, 0)
    assert await execute(hr, "SELECT id, document_id FROM version ORDER BY id") == before
    [renamed] = await execute(hr, "SELECT filename, folder FROM version WHERE folder <> ''")
    assert renamed == {"filename": "holidays.md", "folder": "old"}
    assert numbers(await look(source)) == (0, 0, 0, 0)
    # and from then on it is that file's: another content is its next version
    (share / "policies" / "old" / "holidays.md").write_text(LEAVE.replace("five", "six"))
    assert numbers(await look(source)) == (0, 1, 0, 0)
    assert len(await execute(hr, "SELECT id FROM document")) == 2


async def test_another_file_of_the_same_size_is_no_renamed_one(hr: Department, share: Path) -> None:
    source = source_of(hr)
    (share / "policies" / "a.md").write_text(LEAVE)
    await look(source)
    about = (share / "policies" / "a.md").stat()
    (share / "policies" / "a.md").unlink()
    other = share / "policies" / "b.md"
    other.write_text(LEAVE.replace("five", "nine"))
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert numbers(await look(source)) == (1, 0, 1, 0)


async def test_content_under_two_names_stays_until_both_are_gone(hr: Department, share: Path) -> None:
    source = source_of(hr)
    for name in ("a.md", "b.md"):
        (share / "policies" / name).write_text(LEAVE)
    assert numbers(await look(source)) == (1, 0, 0, 0)
    [first] = await names(hr)
    (share / "policies" / first).unlink()
    assert numbers(await look(source)) == (0, 1, 0, 0)
    assert await names(hr) == [first]  # as a document it is the same
    assert [row["filename"] for row in await execute(hr, "SELECT filename FROM version")] == [
        name for name in ("a.md", "b.md") if name != first
    ]
    for path in (share / "policies").iterdir():
        path.write_text("another text than before, which is taken as its next version")
    assert numbers(await look(source)) == (0, 1, 0, 0)


@pytest.mark.parametrize("change", ["shrinks", "grows without end"])
async def test_a_file_that_changes_while_it_is_read_is_taken_at_the_next_look(
    hr: Department, share: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(hr)
    target = share / "policies" / "leave.md"
    target.write_text(LEAVE)

    from departments.documents import sources

    upload_one = sources._upload

    async def changed_first(*arguments: Any) -> Any:
        target.write_text(LEAVE[:20] if change == "shrinks" else LEAVE * 50_000)
        return await upload_one(*arguments)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(sources, "_upload", changed_first)
        done = await look(source)
    assert numbers(done) == (0, 0, 0, 1)
    assert "changed while it was read" in done.problems[0]["sentence"]
    target.write_text(LEAVE)
    assert numbers(await look(source)) == (1, 0, 0, 0)


async def test_a_folder_that_cannot_be_opened_is_named_and_its_files_are_not_taken_for_gone(
    hr: Department, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(hr)
    (share / "policies" / "2026").mkdir()
    (share / "policies" / "2026" / "leave.md").write_text(LEAVE)
    (share / "policies" / "travel.md").write_text(TRAVEL)
    await look(source)
    opening = os.open

    def denied(path: Any, *rest: Any, **more: Any) -> int:
        if path == "2026":
            raise PermissionError(13, "Permission denied")
        return opening(path, *rest, **more)

    monkeypatch.setattr("departments.documents.places.os.open", denied)
    done = await look(source)
    assert done.sentence.startswith("The folder 2026 cannot be read (Permission denied). Nothing was changed.")
    assert await names(hr) == ["leave.md", "travel.md"]


async def test_a_bucket_that_refuses_says_why(hr: Department, bucket: Any) -> None:
    bucket.delete()
    missing = await look(source_of(hr, "bucket"))
    assert missing.sentence.startswith("The bucket cannot be read: there is no such bucket. Nothing was changed.")
    denied = Exception("no")
    denied.response = {"Error": {"Code": "AccessDenied"}}  # type: ignore[attr-defined]
    assert _refusal(denied) == "we have no right to read it"
    assert _refusal(TimeoutError()) == "TimeoutError"


def test_every_page_of_a_bucket_s_list_is_read(bucket: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        bucket.put_object(Key=f"policies/{number}.md", Body=b"text")
    monkeypatch.setattr("departments.documents.places.LISTED_AT_ONCE", 2)
    assert len(list(Bucket(settings.SOURCE_BUCKETS[bucket.name], "policies").entries())) == 7


async def test_a_prefix_that_is_gone_deletes_nothing_by_itself(hr: Department, bucket: Any) -> None:
    source = source_of(hr, "bucket")
    for name, text in (("leave.md", LEAVE), ("travel.md", TRAVEL)):
        bucket.put_object(Key=f"policies/{name}", Body=text.encode())
    await look(source)
    bucket.put_object(Key="policies/travels.md", Body=TRAVEL.encode())  # renamed, as a bucket renames: copy and delete
    bucket.Object("policies/travel.md").delete()
    assert numbers(await look(source)) == (0, 1, 0, 0)
    bucket.objects.all().delete()
    gone = await look(source)
    assert "2 of 2 files are gone" in gone.sentence
    assert len(await names(hr)) == 2


async def test_a_run_that_has_no_time_left_to_follow_files_deletes_none_of_them(
    hr: Department, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(hr)
    (share / "policies" / "leave.md").write_text(LEAVE)
    await look(source)
    (share / "policies" / "leave.md").rename(share / "policies" / "holidays.md")
    with monkeypatch.context() as late:
        late.setattr("departments.documents.sources.RUN_SECONDS", -1)
        cut_short = await look(source)
    assert (numbers(cut_short), "goes on" in cut_short.sentence) == ((0, 0, 0, 0), True)
    assert numbers(await look(source)) == (0, 1, 0, 0)
    assert await execute(hr, "SELECT filename FROM version") == [{"filename": "holidays.md"}]


async def test_a_name_that_cannot_be_kept_is_told_and_holds_up_no_other(hr: Department, share: Path) -> None:
    """A computer that does not write UTF-8, and a folder so deep that no index holds the path."""
    source = source_of(hr)
    for name in (b"gr\xf6\xdfe.md", b"M\xe4rz/leave.md", b"/".join([b"x" * 200] * 12) + b"/pay.md"):
        path = share / "policies" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# Elsewhere\n\nText of its own.")
    (share / "policies" / "leave.md").write_text(LEAVE)
    done = await look(source)
    assert numbers(done) == (1, 0, 0, 3)
    assert await names(hr) == ["leave.md"]
    told = {problem["path"]: problem["sentence"] for problem in done.problems}
    assert "not in UTF-8" in told["gr\ufffd\ufffde.md"]
    assert "not in UTF-8" in told["M\ufffdrz/leave.md"]
    assert sum("longer than 2,000 bytes" in sentence for sentence in told.values()) == 1
    assert numbers(await look(source)) == (0, 0, 0, 3)


async def test_folders_without_end_are_named_and_nothing_is_taken_for_gone(hr: Department, share: Path) -> None:
    source = source_of(hr)
    (share / "policies" / "leave.md").write_text(LEAVE)
    await look(source)
    (share / "policies" / "/".join("d" * 120)).mkdir(parents=True)
    done = await look(source)
    assert "lies in more than 100 others. Nothing was changed." in done.sentence
    assert await names(hr) == ["leave.md"]


@pytest.mark.parametrize("where", ["{}.md", "{}/leave.md", "notes/a{}\u200b.md"])
async def test_a_name_with_a_key_in_it_reaches_no_page_no_prompt_and_no_record(
    company: Company, hr: Department, share: Path, where: str
) -> None:
    source = source_of(hr)
    key = "sk-" + "proj-" + "aB3d" * 12
    (share / "policies" / "travel.md").write_text(TRAVEL)
    (share / "policies" / "rest.md").write_text("# Rest\n\nA pause after six hours.")
    await look(source)
    path = share / "policies" / where.format(f" {key[:20]}\u200b{key[20:]}" if "notes" in where else key)
    path.parent.mkdir(exist_ok=True)
    path.write_text(LEAVE)
    done = await look(source)
    assert numbers(done) == (0, 0, 0, 1)
    assert "Rename it, and have the key exchanged." in done.problems[0]["sentence"]
    client = await signed_in(company.alice)
    page = await client.get(reverse("documents:sources", args=["hr"]))
    recorded = str(list(AuditEvent.objects.filter(department_id=hr.pk).values()))
    for told in (str(done.problems), page.content.decode(), recorded):
        assert key not in told.replace("\u200b", "")
    # nor by way of a file that is known under another name
    (share / "policies" / "travel.md").rename(share / "policies" / f"{key}.txt")
    assert numbers(await look(source)) == (0, 0, 1, 2)
    assert key not in str(await execute(hr, "SELECT filename, title, folder FROM version"))


async def test_an_upload_whose_name_is_a_key_once_it_is_cleaned_is_refused(company: Company, hr: Department) -> None:
    key = "sk-" + "proj-" + "aB3d" * 12
    with pytest.raises(UploadRefused, match="looks like a key"):
        await upload(hr, company.alice, LEAVE, f"{key[:20]}\u200b{key[20:]}.md")
