"""The list of many documents: choosing, acting on many at once, live rows, quotas, receipts and days of review."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from departments.documents import tasks
from departments.documents.store import open_store
from departments.models import Department
from tests.company import Company, signed_in
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, execute, ready, upload, version_of

JSON = {"accept": "application/json"}


@pytest.fixture
async def shelf(company: Company, provider: Any) -> Company:
    """A company whose HR has a key and a store."""
    ready(company.hr)
    return company


def address(name: str, *arguments: Any) -> str:
    return reverse(f"documents:{name}", args=["hr", *arguments])


async def page(client: AsyncClient, **choices: str) -> str:
    return (await client.get(address("list"), choices)).content.decode()


async def titles(department: Department) -> set[str]:
    async with open_store(department) as store:
        return {document.title for document in (await store.list_documents(limit=500)).documents}


async def test_the_list_is_narrowed_by_state_kind_person_and_folder_and_put_in_order(shelf: Company) -> None:
    await add(shelf.hr, shelf.alice, LEAVE, folder="Policies/2026")
    await add(shelf.hr, shelf.bob, "item,price\nbolt,1.5\n", "prices.csv")
    await add(shelf.hr, shelf.alice, "\x00\x01\x02" * 100, "broken.pdf")
    client = await signed_in(shelf.bob)
    rows = {
        choice: [name for name in ("leave.md", "prices.csv", "broken.pdf") if f"{name}</span>" in text]
        for choice, text in {
            "failed": await page(client, state="failed"),
            "csv": await page(client, kind="csv"),
            "bob": await page(client, by=str(shelf.bob.pk)),
            "folder": await page(client, q="policies/2026"),
            "nonsense": await page(client, state="'; --", by="nobody", order="up"),
        }.items()
    }
    assert rows["failed"] == ["broken.pdf"]
    assert rows["csv"] == rows["bob"] == ["prices.csv"]
    assert rows["folder"] == ["leave.md"]
    assert len(rows["nonsense"]) == 3
    by_size = await page(client, order="largest")
    assert by_size.index("broken.pdf</span>") < by_size.index("leave.md</span>") < by_size.index("prices.csv</span>")


async def test_the_counts_above_the_list_are_those_of_the_department(shelf: Company) -> None:
    await add(shelf.hr, shelf.alice, LEAVE)
    await upload(shelf.hr, shelf.alice, TRAVEL, "travel.md")
    text = await page(await signed_in(shelf.alice))
    assert "Ready (1)" in text
    assert "Working (1)" in text
    assert "<strong>1</strong> of 2 ready" in text
    assert "2 of 20,000 files" in text


async def five_hundred(company: Company) -> None:
    """One real document and 499 rows like it."""
    await add(company.hr, company.alice, LEAVE)
    same = "filename, original_key, sha256, bytes, kind, uploader_id, uploader_name, state"
    await execute(
        company.hr,
        "INSERT INTO document (id, title, filename)"
        " SELECT gen_random_uuid(), 'Copy ' || n, 'copy.md' FROM generate_series(1, 499) AS n",
    )
    await execute(
        company.hr,
        f"INSERT INTO version (id, document_id, number, title, {same})"
        " SELECT gen_random_uuid(), document.id, 1, document.title, "
        + same.replace(", ", ", pattern.").replace("filename", "pattern.filename", 1)
        + " FROM document, (SELECT * FROM version LIMIT 1) AS pattern WHERE document.filename = 'copy.md'",
    )


async def test_a_page_of_five_hundred_rows_is_one_page(shelf: Company) -> None:
    await five_hundred(shelf)
    text = await page(await signed_in(shelf.alice), per="500")
    assert text.count('class="cell-document"') == 500
    assert text.count("csrfmiddlewaretoken") < 6  # one for each form of the page, not one for each row


async def test_what_changed_since_the_last_look_comes_as_rows_with_the_summary(shelf: Company) -> None:
    client = await signed_in(shelf.bob)
    waiting = await upload(shelf.hr, shelf.alice, LEAVE)
    first = (await client.get(address("status"))).json()
    assert first["working"] == 1
    await execute(shelf.hr, "UPDATE version SET changed_at = now() - interval '1 hour'")
    calm = (await client.get(address("status"), {"since": first["since"]})).json()
    assert calm["rows"] == {}
    await execute(shelf.hr, "UPDATE version SET state = 'failed', sentence = 'It is torn.'")
    changed = (await client.get(address("status"), {"since": calm["since"]})).json()
    assert set(changed["rows"]) == {str(waiting.document_id)}
    assert "It is torn." in changed["rows"][str(waiting.document_id)]
    assert "1 failed" in changed["summary"]
    assert changed["counts"] == {"": 1, "ready": 0, "working": 0, "failed": 1, "cancelled": 0, "held": 0}
    nonsense = await client.get(address("status"), {"since": "yesterday", "id": "x"})
    assert nonsense.status_code == 200


async def test_a_renewed_lease_is_no_change(shelf: Company) -> None:
    await upload(shelf.hr, shelf.alice, LEAVE)
    [before] = await execute(shelf.hr, "SELECT changed_at FROM version")
    await execute(shelf.hr, "UPDATE version SET lease_until = now()")
    [after] = await execute(shelf.hr, "SELECT changed_at FROM version")
    assert before == after


async def test_a_waiting_file_is_cancelled_and_can_be_read_after_all(shelf: Company) -> None:
    version = await upload(shelf.hr, shelf.alice, LEAVE)
    client = await signed_in(shelf.alice)
    answer = await client.post(address("cancel", version.document_id), headers=JSON)
    assert "Cancelled" in answer.json()["rows"][str(version.document_id)]
    cancelled = await version_of(shelf.hr, version.id)
    assert "Cancelled by Alice" in cancelled.sentence
    assert AuditEvent.objects.filter(department_id=shelf.hr.pk, event=Event.DOCUMENT_CANCELLED).count() == 1
    again = await client.post(address("cancel", version.document_id))  # it has ended: nothing to cancel
    assert again.status_code == 302
    assert AuditEvent.objects.filter(department_id=shelf.hr.pk, event=Event.DOCUMENT_CANCELLED).count() == 1
    await client.post(address("retry", version.document_id))
    assert (await version_of(shelf.hr, version.id)).state.is_working


async def test_many_are_cancelled_and_tried_again_at_once(shelf: Company) -> None:
    versions = [await upload(shelf.hr, shelf.alice, f"text {number}", f"{number}.txt") for number in range(3)]
    client = await signed_in(shelf.alice)
    chosen = [str(version.document_id) for version in versions]
    await client.post(address("bulk"), {"act": "cancel", "id": [*chosen, str(uuid4()), "nonsense"]})
    assert "3 documents are cancelled" in await page(client)
    await client.post(address("bulk"), {"act": "retry", "id": chosen[:1]})
    assert "1 document is read again" in await page(client)
    states = [(await version_of(shelf.hr, version.id)).state.value for version in versions]
    assert states == ["received", "cancelled", "cancelled"]


async def test_many_are_deleted_only_after_asking_and_each_leaves_a_receipt(shelf: Company) -> None:
    versions = [await add(shelf.hr, shelf.alice, f"text {number}", f"{number}.txt") for number in range(3)]
    client = await signed_in(shelf.alice)
    chosen = [str(version.document_id) for version in versions[:2]]
    asked = await client.post(address("bulk"), {"act": "delete", "id": chosen})
    assert "Delete 2 documents?" in asked.content.decode()
    assert len(await titles(shelf.hr)) == 3
    await client.post(address("bulk"), {"act": "delete", "id": chosen, "sure": "1"})
    assert await titles(shelf.hr) == {"2"}
    await tasks.sweep_department(shelf.hr)
    receipts = (await client.get(address("receipts"))).content.decode()
    written = AuditEvent.objects.filter(department_id=shelf.hr.pk, event=Event.DOCUMENT_DELETED)
    assert written.count() == 2
    assert all(f"Receipt {event.pk}" in receipts for event in written)
    assert "deleted by Alice" in receipts
    assert "1 file removed" in receipts


async def test_nothing_chosen_and_an_unknown_act_change_nothing(shelf: Company) -> None:
    version = await upload(shelf.hr, shelf.alice, LEAVE)
    client = await signed_in(shelf.alice)
    await client.post(address("bulk"), {"act": "delete", "sure": "1"})
    assert "Choose documents first" in await page(client)
    await client.post(address("bulk"), {"act": "explode", "id": [str(version.document_id)]})
    assert len(await titles(shelf.hr)) == 1


async def test_a_department_that_is_full_says_so_and_keeps_nothing(shelf: Company) -> None:
    Department.objects.filter(pk=shelf.hr.pk).update(files_allowed=1)
    client = await signed_in(shelf.alice)

    async def send(text: str) -> Any:
        return await client.post(address("upload"), {"documents": [file(text)]}, headers=JSON)

    assert (await send(LEAVE)).status_code == 200
    refused = await send(TRAVEL)
    assert refused.status_code == 422
    assert "may keep 1 files and has 1" in refused.json()["sentence"]
    Department.objects.filter(pk=shelf.hr.pk).update(files_allowed=None, bytes_allowed=len(LEAVE) + 3)
    assert "ask IT for more" in (await send(TRAVEL)).json()["sentence"]
    assert len(await titles(shelf.hr)) == 1
    assert "nearly-full" in await page(client)


async def test_a_day_of_review_is_noted_found_and_taken_away(shelf: Company) -> None:
    version = await add(shelf.hr, shelf.alice, LEAVE)
    await add(shelf.hr, shelf.alice, TRAVEL, "travel.md")
    client = await signed_in(shelf.alice)
    yesterday = (timezone.localdate() - timedelta(days=1)).isoformat()
    await client.post(address("review_day", version.document_id), {"review_on": yesterday})
    assert "1 document should be reviewed by now" in await page(client)
    due = await page(client, due="1")
    assert "leave.md" in due
    assert "travel.md" not in due
    assert (await client.post(address("review_day", version.document_id), {"review_on": "soon"})).status_code == 400
    await client.post(address("review_day", version.document_id), {"review_on": ""})
    assert "should be reviewed" not in await page(client)


async def test_what_nobody_renewed_for_a_year_is_pointed_out(shelf: Company) -> None:
    await add(shelf.hr, shelf.alice, LEAVE)
    assert "renewed for a year" not in await page(await signed_in(shelf.alice))
    await execute(shelf.hr, "UPDATE version SET uploaded_at = now() - interval '366 days'")
    assert "1 has not been renewed for a year" in await page(await signed_in(shelf.alice))


def file(text: str, name: str = "leave.md") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode())
