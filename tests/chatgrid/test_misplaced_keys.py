"""A key that somebody types into the wrong field is kept nowhere and shown to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import AsyncClient
from django.urls import reverse

from audit.models import AuditEvent
from chatgrid.chat.models import Conversation
from chatgrid.misplaced import TITLE
from departments.documents.listing import Filter, list_fitting
from departments.documents.store import open_store
from departments.documents.use import list_unanswered
from departments.keys import rotation as rotating
from departments.keys.models import KeyReference
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.models import Department, Organization
from tests.attacks.places import product_routes
from tests.company import Company, freshly_signed_in, give_key, give_store, make_key, signed_in
from tests.provider import Provider


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


async def send(client: AsyncClient, address: str, values: Mapping[str, str], key: Secret) -> str:
    """Type it, follow what comes, and look for the key everywhere it could have gone."""
    response = await client.post(address, values, follow=True)
    page: str = response.content.decode()
    session = await client.asession()
    kept = repr(list(AuditEvent.objects.values("details").order_by("-at")[:50])) + repr(list(session.items()))
    kept += repr(list(Rotation.objects.values())) + repr(list(Department.objects.values()))
    assert key.reveal()[10:40] not in page + kept + repr(client.cookies)
    assert response.status_code == 400
    return page


async def test_a_key_in_the_field_for_the_reason_is_refused(company: Company) -> None:
    key, client = make_key(), await freshly_signed_in(company.ivan)
    swapped = {"department": str(company.hr.pk), "key": "a new year", "reason": f"because {key.reveal()}"}
    page = await send(client, reverse("admin:keys_keyreference_paste"), swapped, key)
    assert "“reason” holds something that looks like a key" in page
    twice = {**swapped, "key": key.reveal()}
    await send(client, reverse("admin:keys_keyreference_paste"), twice, key)
    assert not Rotation.objects.filter(department=company.hr).exists()


async def test_a_department_s_admin_is_told_the_same(company: Company) -> None:
    Organization.objects.filter(pk=company.organization.pk).update(admins_paste_keys=True)
    key, client = make_key(), await freshly_signed_in(company.alice)
    await send(client, "/d/hr/key/paste/", {"key": key.reveal(), "reason": key.reveal()}, key)
    assert not Rotation.objects.filter(department=company.hr).exists()


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "old sign-in"])
async def test_a_key_as_the_reason_of_an_emergency_is_not_carried_over_a_sign_in(company: Company, fresh: bool) -> None:
    give_key(company.hr)
    key, client = make_key(), await (freshly_signed_in if fresh else signed_in)(company.ivan)
    reference = KeyReference.objects.get(department=company.hr)
    address = reverse("admin:keys_keyreference_ask", args=[reference.pk, "emergency"])
    await send(client, address, {"reason": f"it leaked: {key.reveal()}", "confirming": "1"}, key)
    assert not Rotation.objects.filter(department=company.hr).exists()


async def test_a_key_in_a_department_s_name_or_instructions_is_not_saved(company: Company) -> None:
    key, client = make_key(), await freshly_signed_in(company.ivan)
    address = reverse("admin:departments_department_change", args=[company.hr.pk])
    values: dict[str, Any] = {"name": key.reveal(), "instructions": f"use {key.reveal()}"}
    await send(client, address, values, key)
    await send(client, address, {key.reveal(): "a name of a field"}, key)


def rows_with(key: Secret) -> list[str]:
    """Tables of ChatGrid's own database with a row that holds any part of the key."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(
                f'SELECT EXISTS (SELECT FROM "{table}" t WHERE t::text LIKE %s)', [f"%{key.reveal()[8:24]}%"]
            )
            found += [table] if cursor.fetchone()[0] else []
    return found


async def test_no_form_of_the_product_takes_a_key_in_a_field_for_something_else(company: Company) -> None:
    key, client = make_key(), await freshly_signed_in(company.alice)
    fields = ("reason", "title", "folder", "name", "instructions", "question", "query", "anything")
    posts = [route for route in product_routes() if not hasattr(route.view, "may_hold_key")]
    for route in posts:
        values = {name: uuid4() if is_object else 1 for name, is_object in route.placeholders.items()} | {"slug": "hr"}
        response = await client.post(route.address(values), dict.fromkeys(fields, key.reveal()))
        assert response.status_code == 400, route.name
        assert key.reveal()[10:40] not in response.content.decode()
    assert len(posts) > 25
    assert await sync_to_async(rows_with)(key) == []


@pytest.mark.parametrize("field", ["title", "kind", "since"])
async def test_beside_a_question_too(company: Company, field: str) -> None:
    key, client = make_key(), await signed_in(company.bob)
    values = {"question": "How long is leave?", "document": str(uuid4()), field: key.reveal()}
    response = await client.post("/d/hr/ask", values, headers={"accept": "text/event-stream"})
    assert (response.status_code, response.json()["title"]) == (400, TITLE)
    assert not await Conversation.objects.filter(owner=company.bob).aexists()


async def test_the_name_of_a_file_is_not_taken_either(company: Company) -> None:
    key, client = make_key(), await signed_in(company.alice)
    give_store(company.hr)
    file = SimpleUploadedFile(f"{key.reveal()}.txt", b"Leave is 25 days.")
    response = await client.post("/d/hr/documents/upload", {"documents": file}, headers={"accept": "application/json"})
    assert response.status_code == 400
    assert "“name of a file” holds something that looks like a key" in response.json()["sentence"]
    async with open_store(company.hr) as store:
        assert (await list_fitting(store, Filter())).total == 0


async def test_a_password_in_the_shape_of_a_key_is_still_a_password(company: Company) -> None:
    key = make_key()
    company.bob.set_password(key.reveal())
    await company.bob.asave()
    client = AsyncClient()
    response = await client.post("/accounts/login/", {"login": company.bob.email, "password": key.reveal()})
    assert response.status_code == 302
    response = await client.post("/accounts/login/", {"login": key.reveal(), "password": "x"})
    assert response.status_code == 400


async def test_a_question_that_is_sent_with_its_key_leaves_none_in_the_title_nor_among_what_is_unanswered(
    company: Company, provider: Provider
) -> None:
    key, client = make_key(), await signed_in(company.bob)
    give_key(company.hr)
    give_store(company.hr)
    question = {"question": f"What is {key.reveal()} for?", "confirmed": "1"}
    assert (await client.post("/d/hr/ask", question)).status_code == 303
    found = await Conversation.objects.aget(owner=company.bob)
    assert found.title == "What is [key removed] for?"
    async with open_store(company.hr) as store:
        missed = await list_unanswered(store, date(2000, 1, 1), offset=0, limit=10)
    assert [each.question for each in missed.questions] == ["What is [key removed] for?"]


async def test_a_conversation_is_not_renamed_to_a_secret(company: Company) -> None:
    key, client = make_key(), await signed_in(company.bob)
    found = await Conversation.objects.acreate(department=company.hr, owner=company.bob, title="Leave")
    assert (await client.post(f"/c/{found.pk}/rename", {"title": key.reveal()})).status_code == 400
    await found.arefresh_from_db()
    assert found.title == "Leave"
    hidden = "password: \u200bhunter22-" + "x" * 90
    assert (await client.post(f"/c/{found.pk}/rename", {"title": hidden})).status_code == 302
    await found.arefresh_from_db()
    assert found.title == "[password removed]"
