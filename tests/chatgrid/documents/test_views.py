"""The documents pages as a browser uses them: against a real store, with and without a script."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from chatgrid.documents import shelf as shelf_page
from departments.documents.store import open_store
from departments.models import Department
from tests.company import Company, give_store, make_company, signed_in
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, ready, upload

JSON = {"accept": "application/json"}


@pytest.fixture
async def shelf(company: Company, provider: Any) -> Company:
    """A company whose HR has a key and a store."""
    ready(company.hr)
    return company


def file(text: str = LEAVE, name: str = "leave.md") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode())


def address(name: str, *arguments: Any) -> str:
    return reverse(f"documents:{name}", args=["hr", *arguments])


async def titles(department: Department) -> list[str]:
    async with open_store(department) as store:
        return [document.title for document in (await store.list_documents()).documents]


async def test_an_admin_uploads_many_files_without_a_script(shelf: Company) -> None:
    files = [file(LEAVE, "leave.md"), file(TRAVEL, "travel.md")]
    response = await (await signed_in(shelf.alice)).post(address("upload"), {"documents": files})
    assert (response.status_code, response["Location"]) == (302, address("list"))
    assert len(await titles(shelf.hr)) == 2


async def test_a_script_gets_the_row_of_its_file(shelf: Company) -> None:
    response = await (await signed_in(shelf.alice)).post(address("upload"), {"documents": [file()]}, headers=JSON)
    data = response.json()
    assert response.status_code == 200
    assert data["sentence"] == ""
    assert "Waiting" in data["row_html"]
    assert "data-working" in data["row_html"]


async def test_a_file_that_is_already_there_is_not_added_twice(shelf: Company) -> None:
    client = await signed_in(shelf.alice)
    await client.post(address("upload"), {"documents": [file()]}, headers=JSON)
    response = await client.post(address("upload"), {"documents": [file()]}, headers=JSON)
    assert "already here" in response.json()["sentence"]
    assert len(await titles(shelf.hr)) == 1


async def test_an_empty_file_is_refused_with_a_sentence_and_the_others_are_taken(shelf: Company) -> None:
    client = await signed_in(shelf.alice)
    refused = await client.post(address("upload"), {"documents": [file("")]}, headers=JSON)
    assert refused.status_code == 422
    assert "empty" in refused.json()["sentence"]
    await client.post(address("upload"), {"documents": [file("", "nothing.md"), file()]})
    assert len(await titles(shelf.hr)) == 1
    page = (await client.get(address("list"))).content.decode()
    assert "nothing.md: This file is empty" in page
    assert "1 file was added" in page


async def test_an_upload_without_a_file_is_not_understood(shelf: Company) -> None:
    client = await signed_in(shelf.alice)
    assert (await client.post(address("upload"), {})).status_code == 400
    assert (await client.post(address("upload"), {}, headers=JSON)).json()["sentence"] == "Choose a file first."


async def test_an_upload_from_another_site_is_refused(shelf: Company) -> None:
    client = await signed_in(shelf.alice)
    client.handler.enforce_csrf_checks = True
    page = (await client.get(address("list"))).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    refused = await client.post(address("upload"), {"documents": [file(LEAVE)]})
    taken = await client.post(address("upload"), {"documents": [file(TRAVEL)], "csrfmiddlewaretoken": token[1]})
    assert (refused.status_code, taken.status_code) == (403, 302)
    assert len(await titles(shelf.hr)) == 1


@pytest.mark.parametrize("route", ["upload", "retry", "delete"])
async def test_a_member_may_change_nothing_and_others_do_not_learn_that_there_is_anything(
    shelf: Company, route: str
) -> None:
    version = await upload(shelf.hr, shelf.alice, LEAVE)
    people = (shelf.alice, shelf.bob, shelf.dave)
    url = address(route) if route == "upload" else address(route, version.document_id)
    statuses = [
        (await (await signed_in(person)).post(url, {"documents": [file(TRAVEL)]})).status_code for person in people
    ]
    assert statuses == [302, 403, 404]


async def test_members_read_the_list_and_are_offered_no_buttons(shelf: Company) -> None:
    await add(shelf.hr, shelf.alice, LEAVE)
    member = (await (await signed_in(shelf.bob)).get(address("list"))).content.decode()
    admin = (await (await signed_in(shelf.alice)).get(address("list"))).content.decode()
    assert "Ready" in member
    assert "Delete for good" not in member
    assert 'type="file"' not in member
    assert "Delete for good" in admin


async def test_the_list_finds_by_name_and_keeps_names_as_text(shelf: Company) -> None:
    await upload(shelf.hr, shelf.alice, "one", "<img src=x onerror=alert(1)>.txt")
    await upload(shelf.hr, shelf.alice, TRAVEL, "travel.md")
    page = (await (await signed_in(shelf.bob)).get(address("list"), {"q": "onerror"})).content.decode()
    assert page.count('class="cell-document"') == 1
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert "travel.md" not in page


async def test_a_long_list_comes_in_parts(shelf: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_page, "PAGE_SIZES", (2, 500))
    for number in range(3):
        await upload(shelf.hr, shelf.alice, f"text {number}", f"note-{number}.txt")
    client = await signed_in(shelf.bob)
    first = (await client.get(address("list"))).content.decode()
    second = (await client.get(address("list"), {"from": "2"})).content.decode()
    assert "Documents 1 to 2 of 3" in first
    assert "?from=2" in first
    assert "Documents 3 to 3 of 3" in second


async def test_a_document_shows_its_passages_with_anchors(shelf: Company) -> None:
    version = await add(shelf.hr, shelf.alice, LEAVE)
    page = (await (await signed_in(shelf.bob)).get(address("detail", version.document_id))).content.decode()
    assert 'id="passage-0"' in page
    assert "five unused days" in page
    assert "Leave › Carry over" in page


async def test_an_old_version_stays_readable_and_says_so(shelf: Company) -> None:
    old = await add(shelf.hr, shelf.alice, LEAVE)
    new = await add(shelf.hr, shelf.alice, LEAVE.replace("five", "seven"), replaces=old.document_id)
    client = await signed_in(shelf.bob)
    current = (await client.get(address("detail", old.document_id))).content.decode()
    before = (await client.get(address("detail", old.document_id), {"version": str(old.id)})).content.decode()
    assert "seven unused days" in current
    assert "five unused days" in before
    assert f"version {new.number}: <a" in before
    unknown = await client.get(address("detail", old.document_id), {"version": str(uuid4())})
    assert unknown.status_code == 404


async def test_an_unknown_document_is_not_there(shelf: Company) -> None:
    client = await signed_in(shelf.alice)
    gets = [await client.get(address(name, uuid4())) for name in ("detail",)]
    posts = [await client.post(address(name, uuid4())) for name in ("delete", "retry")]
    download = await client.get(address("original", uuid4(), uuid4()))
    assert {response.status_code for response in [*gets, *posts, download]} == {404}


async def test_an_original_leaves_as_a_sandboxed_download(shelf: Company) -> None:
    text = "<script>alert(1)</script>"
    version = await upload(shelf.hr, shelf.alice, text, 'evil"; x=".html')
    response = await (await signed_in(shelf.bob)).get(address("original", version.document_id, version.id))
    body = b"".join([piece async for piece in response.streaming_content])
    assert body.decode() == text
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["X-Content-Type-Options"] == "nosniff"


async def test_a_version_belongs_to_its_document(shelf: Company) -> None:
    leave = await upload(shelf.hr, shelf.alice, LEAVE)
    travel = await upload(shelf.hr, shelf.alice, TRAVEL, "travel.md")
    client = await signed_in(shelf.bob)
    right = await client.get(address("original", leave.document_id, leave.id))
    right.close()
    wrong = await client.get(address("original", leave.document_id, travel.id))
    assert (right.status_code, wrong.status_code) == (200, 404)


async def test_another_companys_ids_are_not_there(shelf: Company) -> None:
    version = await upload(shelf.hr, shelf.alice, LEAVE)
    other = make_company()
    give_store(other.hr)
    client = await signed_in(other.alice)
    assert (await client.get(address("detail", version.document_id))).status_code == 404
    assert (await client.post(address("delete", version.document_id))).status_code == 404
    status = await client.get(address("status"), {"id": str(version.document_id)})
    assert status.json()["rows"] == {}
    assert len(await titles(shelf.hr)) == 1


async def test_the_status_follows_a_document_to_its_end_and_leaves_out_what_is_gone(shelf: Company) -> None:
    waiting = await upload(shelf.hr, shelf.alice, LEAVE)
    done = await add(shelf.hr, shelf.alice, TRAVEL, "travel.md")
    client = await signed_in(shelf.bob)
    asked = {"id": [str(waiting.document_id), str(done.document_id), str(uuid4()), "nonsense"]}
    rows = (await client.get(address("status"), asked)).json()["rows"]
    assert set(rows) == {str(waiting.document_id), str(done.document_id)}
    assert "data-working" in rows[str(waiting.document_id)]
    assert "data-working" not in rows[str(done.document_id)]


async def test_deleting_takes_the_document_away_and_says_so(shelf: Company) -> None:
    version = await add(shelf.hr, shelf.alice, LEAVE)
    client = await signed_in(shelf.alice)
    response = await client.post(address("delete", version.document_id))
    assert response.status_code == 302
    assert await titles(shelf.hr) == []
    assert "is deleted" in (await client.get(address("list"))).content.decode()
    assert (await client.get(address("detail", version.document_id))).status_code == 404


async def test_a_failed_document_shows_its_sentence_and_can_be_tried_again(shelf: Company) -> None:
    failed = await add(shelf.hr, shelf.alice, "\x00\x01\x02" * 100, "broken.pdf")
    client = await signed_in(shelf.alice)
    page = (await client.get(address("list"))).content.decode()
    assert failed.sentence in page
    assert "Try again" in page
    assert (await client.post(address("retry", failed.document_id))).status_code == 302
    rows = (await client.get(address("status"), {"id": str(failed.document_id)})).json()["rows"]
    assert "data-working" in rows[str(failed.document_id)]


async def test_a_department_without_a_store_gets_a_sentence(company: Company) -> None:
    client = await signed_in(company.alice)
    page = await client.get(address("list"))
    script = await client.get(address("status"), headers=JSON)
    assert (page.status_code, script.status_code) == (503, 503)
    assert "Documents are away" in page.content.decode()
    assert script.json()["sentence"]
