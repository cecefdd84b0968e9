"""Who gets what, at every address: each route x each person x what is theirs, another department's, another company's.

The routes come from the URLconf. One without a row here fails: decide who may reach it, then write the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from chatgrid.chat.models import Conversation, Message
from departments.documents.models import DocumentSource
from departments.documents.store import open_store
from departments.documents.uploads import accept_upload
from departments.models import Department
from tests.company import Company, give_store, make_company, signed_in

NOBODY = None
PEOPLE = ("alice", "bob", "carol", "dave", "ivan", "ada", "stranger", NOBODY)


@dataclass(frozen=True)
class Things:
    """What the routes are asked about: all of it is HR's, and the conversation is Bob's."""

    company: Company
    other: Company
    conversation: Conversation
    call_id: UUID
    document_id: UUID
    version_id: UUID

    def person(self, name: str | None) -> Any:
        if name == "stranger":
            return self.other.bob  # a member of an HR with the same address in another company
        return getattr(self.company, name) if name else None


@dataclass(frozen=True)
class Row:
    """One route and what each person gets there. Whoever is not named gets 404; somebody signed out gets 302."""

    method: str
    arguments: Callable[[Things], list[Any]]
    expected: dict[str | None, int]
    body: dict[str, Any] | None = None


def slug(_: Things) -> list[Any]:
    return ["hr"]


def conversation(things: Things) -> list[Any]:
    return [things.conversation.pk]


def document(things: Things) -> list[Any]:
    return ["hr", things.document_id]


def version(things: Things) -> list[Any]:
    return ["hr", things.version_id]


def source(things: Things) -> list[Any]:
    made, _ = DocumentSource.objects.get_or_create(
        department=things.company.hr, name="Share", defaults={"kind": "folder", "place": "share"}
    )
    return ["hr", made.pk]


# in their own company's HR the stranger is a member like any other: the address is the same, the department is not
HR_MEMBERS = {"alice": 200, "bob": 200, "carol": 200, "stranger": 200}
# who manages HR's documents is told what is missing; a member knows that there is a rule
ADMINS = {"alice": 404, "bob": 403, "carol": 403, "stranger": 403}
MEMBERS = ("alice", "bob", "carol", "dave", "stranger")
MATRIX: dict[str, Row] = {
    "home": Row("get", lambda _: [], dict.fromkeys(MEMBERS, 302) | {"ivan": 200, "ada": 200}),
    "chat:new": Row("get", slug, HR_MEMBERS),
    # an empty question: access is decided before it is read
    "chat:ask_new": Row("post", slug, dict.fromkeys(HR_MEMBERS, 400)),
    "chat:conversation": Row("get", conversation, {"bob": 200}),
    "chat:ask": Row("post", conversation, {"bob": 400}),
    "chat:rename": Row("post", conversation, {"bob": 302}, {"title": "Leave"}),
    "chat:stop": Row("post", lambda things: [things.call_id], {"bob": 204}),
    "chat:budget": Row("get", slug, HR_MEMBERS),
    # without a reason, and without a request: access is decided before either is looked at
    "chat:budget_ask": Row("post", slug, dict.fromkeys(HR_MEMBERS, 400)),
    "chat:budget_answer": Row(
        "post", lambda things: ["hr", things.call_id], {"alice": 404, "bob": 403, "carol": 403, "stranger": 403}
    ),
    "chat:budget_end_grant": Row("post", lambda things: ["hr", uuid4()], ADMINS),
    "documents:list": Row("get", slug, HR_MEMBERS | {"stranger": 503}),  # their HR has no store yet
    "documents:status": Row("get", slug, HR_MEMBERS | {"stranger": 503}),
    "documents:detail": Row("get", document, {"alice": 200, "bob": 200, "carol": 200, "stranger": 503}),
    "documents:original": Row(
        "get",
        lambda things: [*document(things), things.version_id],
        {"alice": 200, "bob": 200, "carol": 200, "stranger": 503},
    ),
    "documents:page": Row(  # the document is no PDF: whoever may read it gets as far as that
        "get", lambda things: [*document(things), things.version_id, 1], {"stranger": 503}
    ),
    "documents:upload": Row("post", slug, {"alice": 400, "bob": 403, "carol": 403, "stranger": 403}),
    "documents:retry": Row("post", document, {"alice": 302, "bob": 403, "carol": 403, "stranger": 403}),
    "assistant:rules": Row("get", slug, HR_MEMBERS),
    # without a form: who may is told what is missing
    "assistant:preview": Row("post", slug, {"alice": 400, "bob": 403, "carol": 403, "stranger": 403}),
    "assistant:try": Row("post", slug, {"alice": 302, "bob": 403, "carol": 403, "stranger": 403}),
    "assistant:trial": Row("get", lambda _: ["hr", uuid4()], ADMINS),
    "documents:held": Row("get", slug, ADMINS | {"alice": 200, "stranger": 403}),
    # a document that never waited has nothing to decide
    "documents:review": Row("get", version, ADMINS),
    "documents:decide": Row("post", version, ADMINS),
    "documents:cancel": Row("post", document, {"alice": 302, "bob": 403, "carol": 403, "stranger": 403}),
    "documents:review_day": Row("post", document, {"alice": 302, "bob": 403, "carol": 403, "stranger": 403}),
    "documents:bulk": Row("post", slug, {"alice": 302, "bob": 403, "carol": 403, "stranger": 403}),
    "documents:receipts": Row("get", slug, {"alice": 200, "bob": 403, "carol": 403, "stranger": 403}),
    "documents:use": Row("get", slug, ADMINS | {"alice": 200, "stranger": 403}),
    "documents:bench": Row("get", slug, ADMINS | {"alice": 200, "stranger": 403}),
    # nothing is asked, kept or begun by an empty form
    "documents:try": Row("post", slug, ADMINS | {"alice": 400}),
    "documents:keep": Row("post", slug, ADMINS | {"alice": 400}),
    "documents:measure": Row("post", slug, ADMINS | {"alice": 302}),
    "documents:rebuild": Row("post", slug, ADMINS | {"alice": 400}),
    "documents:change": Row("post", slug, ADMINS | {"alice": 302}, {"act": "give_up"}),
    "documents:forget": Row("post", document, ADMINS),
    "documents:sources": Row("get", slug, {"alice": 200, "bob": 403, "carol": 403, "stranger": 403}),
    "documents:source": Row(
        "post", source, {"alice": 302, "bob": 403, "carol": 403, "stranger": 403}, {"act": "pause"}
    ),
    "documents:delete": Row("post", document, {"bob": 403, "carol": 403, "stranger": 403, "alice": 302}),
    "department_key": Row("get", slug, {"alice": 200, "bob": 403, "carol": 403, "stranger": 403}),
    # closed until the organization allows it: tests/chatgrid/console/test_pasting.py
    "department_key_paste": Row("get", slug, dict.fromkeys(("alice", "bob", "carol", "stranger"), 403)),
    # IT and auditors, who are asked for a fresh sign-in first
    "export_record": Row("get", lambda _: [], {"ivan": 302, "ada": 302} | dict.fromkeys(MEMBERS, 403)),
    # last: the conversation is gone after it
    "chat:delete": Row("post", conversation, {"bob": 302}),
}
# route -> why the matrix has nothing to say about it
EXCEPTIONS = {
    "health": "public: tests/chatgrid/test_health.py",
    "csp_report": "public: tests/chatgrid/test_health.py",
    "security_txt": "public: tests/attacks/test_server.py",
    "account_": "nobody's objects: tests/chatgrid/accounts/test_sign_in.py",
    "mfa_": "one's own second factor: tests/chatgrid/accounts/test_second_factor.py",
    "admin:": "IT's console has a matrix of its own: tests/chatgrid/console",
}


def names(resolver: URLResolver | None = None, space: str = "") -> set[str]:
    found: set[str] = set()
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            found |= names(entry, f"{entry.namespace}:" if entry.namespace else space)
        elif isinstance(entry, URLPattern):
            found.add(f"{space}{entry.name or entry.pattern}")
    return found


def test_every_route_has_a_row() -> None:
    missing = {name for name in names() if name not in MATRIX and not name.startswith(tuple(EXCEPTIONS))}
    assert not missing, f"Decide who may reach these, then add them to MATRIX: {missing}"


def test_no_row_is_dead() -> None:
    assert set(MATRIX) <= names()
    assert all(any(name.startswith(start) for name in names()) for start in EXCEPTIONS)


async def make_things() -> Things:
    company, other = make_company(), make_company()
    give_store(company.hr)
    found = Conversation.objects.create(department=company.hr, owner=company.bob, title="Leave")
    answer = Message.objects.create(conversation=found, role="assistant", call_id=uuid4(), text="28 days.")
    file = SimpleUploadedFile("leave.md", b"# Leave\n\nEverybody has 28 days.")
    department = Department.objects.select_related("organization").get(pk=company.hr.pk)
    upload = await accept_upload(department, company.alice, "leave.md", file)
    assert answer.call_id
    return Things(company, other, found, answer.call_id, upload.version.document_id, upload.version.id)


async def ask(client: AsyncClient, row: Row, name: str, things: Things) -> int:
    address = reverse(name, args=row.arguments(things))
    response = await getattr(client, row.method)(address, row.body or {})
    if hasattr(response, "streaming") and response.streaming:
        response.close()
    return int(response.status_code)


@pytest.mark.parametrize("name", MATRIX)
async def test_each_person_gets_what_is_theirs_and_nothing_else(name: str) -> None:
    things, row = await make_things(), MATRIX[name]
    # those with a right come last: what they do may be the end of the thing
    for who in sorted(PEOPLE, key=lambda each: row.expected.get(each, 404) in {200, 204, 302}):
        person = things.person(who)
        client = await signed_in(person) if person else AsyncClient()
        expected = row.expected.get(who, 404) if person else 302
        assert await ask(client, row, name, things) == expected, f"{who} at {name}"


@pytest.mark.parametrize("name", [name for name in MATRIX if "conversation" in name or name.startswith("documents:")])
async def test_what_is_not_there_looks_like_what_is_not_yours(name: str) -> None:
    """Same status and same body for another person's object and for one that never was."""
    things, row = await make_things(), MATRIX[name]
    if len(row.arguments(things)) == 1 and row.arguments is slug:
        pytest.skip("has no object id")
    give_store(things.other.hr)
    client = await signed_in(things.other.alice)
    missing = Things(things.company, things.other, Conversation(pk=uuid4()), uuid4(), uuid4(), uuid4())
    foreign = await getattr(client, row.method)(reverse(name, args=row.arguments(things)), row.body or {})
    unknown = await getattr(client, row.method)(reverse(name, args=row.arguments(missing)), row.body or {})
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content


async def test_a_foreign_request_changes_nothing() -> None:
    things = await make_things()
    client = await signed_in(things.other.alice)
    for name in ("chat:rename", "chat:delete", "documents:delete", "documents:retry"):
        row = MATRIX[name]
        await client.post(reverse(name, args=row.arguments(things)), row.body or {})
    assert Conversation.objects.get(pk=things.conversation.pk).title == "Leave"
    async with open_store(things.company.hr) as store:
        assert await store.get_document(things.document_id) is not None
