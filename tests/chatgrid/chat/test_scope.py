"""Asking in a part of the documents: one of them, some kinds of file, some days."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone

from chatgrid.chat.models import Conversation, Message
from departments.documents.records import DocumentVersion
from departments.documents.search import Scope
from tests.chatgrid.chat.test_asking import ask_streaming
from tests.company import Company, signed_in
from tests.departments.documents.shelf import LEAVE, add, execute, find, ready
from tests.provider import Provider

QUESTION = "How many unused days may I carry over into the next year?"
OLDER = LEAVE.replace("five unused", "three unused")


@pytest.fixture
async def versions(company: Company, provider: Provider) -> tuple[DocumentVersion, DocumentVersion]:
    """HR with the same rule in a Markdown file of today and a text file of last year."""
    ready(company.hr)
    new = await add(company.hr, company.alice, LEAVE)
    old = await add(company.hr, company.alice, OLDER.replace("# ", "").replace("## ", ""), "leave-2025.txt")
    await execute(
        company.hr, "UPDATE version SET uploaded_at = %s WHERE id = %s", timezone.now() - timedelta(days=400), old.id
    )
    return new, old


async def found_in(company: Company, scope: Scope) -> set[str]:
    return {str(each.version_id) for each in (await find(company.hr, company.bob, QUESTION, scope=scope)).passages}


async def test_a_search_keeps_to_the_document_the_kind_and_the_days(
    company: Company, versions: tuple[DocumentVersion, DocumentVersion]
) -> None:
    new, old = versions
    last_week = timezone.now().date() - timedelta(days=7)
    assert await found_in(company, Scope()) == {str(new.id), str(old.id)}
    assert await found_in(company, Scope(documents=(old.document_id,))) == {str(old.id)}
    assert await found_in(company, Scope(kinds=("markdown",))) == {str(new.id)}
    assert await found_in(company, Scope(since=last_week)) == {str(new.id)}
    assert await found_in(company, Scope(until=last_week)) == {str(old.id)}
    assert await found_in(company, Scope(kinds=("pdf",))) == set()
    assert await found_in(company, Scope(kinds=("markdown",), until=last_week)) == set()


async def cited(client: AsyncClient, company: Company, address: str, **fields: str) -> set[str]:
    """What the newest answer cites."""
    await ask_streaming(client, address, QUESTION, **fields)
    answer = Message.objects.filter(conversation__owner=company.bob, role="assistant").latest("created_at")
    return {citation["version"] for citation in answer.citations}


async def test_the_page_narrows_a_question_and_the_conversation_keeps_it(
    company: Company, versions: tuple[DocumentVersion, DocumentVersion]
) -> None:
    new, old = versions
    client = await signed_in(company.bob)
    assert await cited(client, company, "/d/hr/ask", kind="text") == {str(old.id)}
    conversation = Conversation.objects.get(owner=company.bob)
    page = (await client.get(reverse("chat:conversation", args=[conversation.pk]))).content.decode()
    assert re.search(r'value="text" checked', page)
    assert not re.search(r'value="markdown" checked', page)
    ask = reverse("chat:ask", args=[conversation.pk])
    assert await cited(client, company, ask, document=str(new.document_id), title="Leave") == {str(new.id)}
    page = (await client.get(reverse("chat:conversation", args=[conversation.pk]))).content.decode()
    assert "Only in “Leave”" in page


async def test_asking_again_searches_the_same_part(
    company: Company, versions: tuple[DocumentVersion, DocumentVersion]
) -> None:
    _, old = versions
    client = await signed_in(company.bob)
    await cited(client, company, "/d/hr/ask", kind="text")
    answer = Message.objects.get(conversation__owner=company.bob, role="assistant")
    ask = reverse("chat:ask", args=[answer.conversation_id])
    await ask_streaming(client, ask, "", retry=str(answer.pk))
    again = Message.objects.get(conversation__owner=company.bob, role="assistant")
    assert {citation["version"] for citation in again.citations} == {str(old.id)}
    assert Conversation.objects.get(owner=company.bob).scope == {"kinds": ["text"]}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"since": "2026-02-31"}, "The first day is no day"),
        ({"since": "2026-03-01", "until": "2026-02-01"}, "The first day is after the last one"),
        ({"kind": "exe"}, "exe"),
        ({"document": "not-an-id"}, "valid UUID"),
    ],
)
async def test_a_choice_that_cannot_be_is_said_and_nothing_is_asked(
    company: Company, versions: tuple[DocumentVersion, DocumentVersion], fields: dict[str, str], sentence: str
) -> None:
    client = await signed_in(company.bob)
    response = await client.post("/d/hr/ask", {"question": QUESTION, **fields})
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert QUESTION in response.content.decode()
    assert not Conversation.objects.filter(owner=company.bob).exists()


async def test_a_document_leads_to_a_chat_about_it_alone(
    company: Company, versions: tuple[DocumentVersion, DocumentVersion]
) -> None:
    new, _ = versions
    client = await signed_in(company.bob)
    page = (await client.get(reverse("documents:detail", args=["hr", new.document_id]))).content.decode()
    link = re.search(r'href="(/d/hr/\?document=[^"]+)"', page)
    assert link is not None
    chat = (await client.get(link[1].replace("&amp;", "&"))).content.decode()
    assert "Only in “Leave”" in chat
    assert f'value="{new.document_id}" checked' in chat
