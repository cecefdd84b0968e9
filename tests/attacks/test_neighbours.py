"""The generated attacks: every id, name, citation, stream and word of one department tried in every other one.

Four departments of two companies, each with a word of its own in every place. Each person then tries everything of the
others: at least `AT_LEAST` attempts, and not one may bring a foreign word, or tell that something is there.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.accounts.models import User
from chatgrid.chat.access import aaccess_answer, aaccess_conversation, access_conversation
from chatgrid.chat.models import Conversation, Message
from departments.access import Forbidden, NotFound, aaccess_department, aaccess_department_by_id, access_department
from departments.documents.deletion import delete_document
from departments.documents.originals import open_original
from departments.documents.records import DocumentVersion
from departments.documents.search import search_by_vector
from departments.documents.store import Store, open_store
from departments.models import Department
from departments.prompts.assemble import PassageData, assemble
from departments.roles import Right
from tests.attacks.places import send
from tests.company import make_company, signed_in
from tests.departments.documents.shelf import add, find, ready
from tests.provider import Provider

WORDS = ("nightingale", "kingfisher", "sandpiper", "goldfinch")
CODES = "# {word} codes\n\nThe code word of this office is {word}, and safe {number} opens with {word} twice.\n"
DOCUMENTS = 3
CONVERSATIONS = 6
QUESTIONS = 60  # searched in every department


@dataclass(frozen=True)
class Quarter:
    """A department, a member who is in no other, and everything in it that could be stolen."""

    department: Department
    person: User
    word: str
    versions: list[DocumentVersion]
    answers: list[Message]

    @property
    def document_id(self) -> UUID:
        return self.versions[0].document_id

    @property
    def version_id(self) -> UUID:
        return self.versions[0].id

    @property
    def conversation(self) -> Conversation:
        return self.answers[0].conversation

    @property
    def answer(self) -> Message:
        return self.answers[0]

    @property
    def ids(self) -> tuple[UUID, ...]:
        """Every id of this department's things: each is tried in every place that takes an id."""
        documents = [each for version in self.versions for each in (version.document_id, version.id)]
        chats = [each for answer in self.answers for each in (answer.conversation_id, answer.pk, answer.call_id)]
        return (*documents, *filter(None, chats), self.department.pk, self.department.organization_id, self.person.pk)


async def make_quarter(department: Department, person: User, word: str) -> Quarter:
    department = Department.objects.select_related("organization").get(pk=ready(department).pk)
    versions = [
        await add(department, person, CODES.format(word=word, number=number), f"{word}-codes-{number}.md")
        for number in range(DOCUMENTS)
    ]
    answers = [make_answer(department, person, word, versions[0]) for _ in range(CONVERSATIONS)]
    return Quarter(department, person, word, versions, answers)


def make_answer(department: Department, person: User, word: str, version: DocumentVersion) -> Message:
    cited = {"number": 1, "document": str(version.document_id), "version": str(version.id), "ordinal": 0, "title": word,
             "headings": [], "locator": {}, "quote": word, "uploader": word,
             "uploaded_at": "2027-01-01T00:00:00"}  # fmt: skip
    found = Conversation.objects.create(department=department, owner=person, title=f"About {word}")
    Message.objects.create(conversation=found, role="person", text=f"What is {word}?")
    return Message.objects.create(
        conversation=found, role="assistant", call_id=uuid4(), text=f"{word} [1]", citations=[cited]
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quarters(provider: Provider) -> list[Quarter]:
    companies = (make_company(), make_company())
    offices = [(c.hr, c.bob) for c in companies] + [(c.finance, c.dave) for c in companies]
    return [await make_quarter(*office, word) for office, word in zip(offices, WORDS, strict=True)]


# how many attempts each test makes at least: a loop that runs over nothing would find no leak either
AT_LEAST = {
    "address": 2500, "slug": 140, "list": 1900, "search box": 80, "access": 3900, "store": 2300, "search": 760,
    "question": 24,
    "form": 320, "citation": 12, "signed out": 320,
}  # fmt: skip


@pytest.fixture
def tried() -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()
    yield counted
    assert counted
    assert all(times >= AT_LEAST[kind] for kind, times in counted.items()), counted


def test_ten_thousand_attempts_are_made() -> None:
    assert sum(AT_LEAST.values()) >= 10_000


def others(quarters: list[Quarter]) -> list[tuple[Quarter, Quarter]]:
    """Each thief with each victim."""
    return list(itertools.permutations(quarters, 2))


def assert_silent(body: bytes, thief: Quarter, quarters: list[Quarter]) -> None:
    told = body.decode(errors="replace").lower()
    assert not [quarter.word for quarter in quarters if quarter is not thief and quarter.word in told]


def disguised(value: UUID) -> list[str]:
    """One id as it is, and in the spellings that a careless comparison would take for it."""
    text = str(value)
    return [
        text,
        text.upper(),
        value.hex,
        f"{{{text}}}",
        f"urn:uuid:{text}",
        f" {text}",
        f"{text}\x00",
        f"{text}/",
        f"{text},{text}",
    ]


async def test_every_id_at_every_address(quarters: list[Quarter], tried: Counter[str]) -> None:
    """Through the front door: what an address answers to a foreign id, and to one that never was."""
    for thief in quarters:
        client = await signed_in(thief.person)
        slug = thief.department.slug
        places = [
            ("get", lambda x: f"/c/{x}/"), ("post", lambda x: f"/c/{x}/ask"), ("post", lambda x: f"/c/{x}/rename"),
            ("post", lambda x: f"/answers/{x}/stop"), ("get", lambda x, slug=slug: f"/d/{slug}/documents/{x}/"),
            ("get", lambda x, slug=slug: f"/d/{slug}/documents/{x}/original/{x}"),
            ("get", lambda x, slug=slug, own=thief.document_id: f"/d/{slug}/documents/{own}/original/{x}"),
            ("get", lambda x, slug=slug, own=thief.document_id: f"/d/{slug}/documents/{own}/?version={x}"),
        ]  # fmt: skip
        for victim in quarters:
            if victim is thief:
                continue
            for value, (method, address) in itertools.product(victim.ids, places):
                form = {"title": "mine", "question": "hello?"} if method == "post" else None
                status, body = await send(client, method, address(value), form)
                assert status == 404, (method, address(value))
                assert_silent(body, thief, quarters)
                tried["address"] += 1
    assert all(Conversation.objects.get(pk=each.conversation.pk).title == f"About {each.word}" for each in quarters)


async def test_every_slug_of_another_department(quarters: list[Quarter], tried: Counter[str]) -> None:
    for thief, victim in others(quarters):
        client = await signed_in(thief.person)
        foreign = victim.department
        for wrong in (foreign.slug if foreign.slug != thief.department.slug else "", foreign.name, foreign.store_name):
            slug = re.sub(r"[^\w-]", "-", wrong) or "nowhere"
            for method, rest in (("get", ""), ("get", "documents/"), ("get", "documents/status"), ("post", "ask")):
                status, body = await send(client, method, f"/d/{slug}/{rest}", {"question": "x"})
                assert status == 404
                assert_silent(body, thief, quarters)
                tried["slug"] += 1


async def test_ids_in_lists_and_search_boxes(quarters: list[Quarter], tried: Counter[str]) -> None:
    for thief, victim in others(quarters):
        client = await signed_in(thief.person)
        status = reverse("documents:status", args=[thief.department.slug])
        listing = reverse("documents:list", args=[thief.department.slug])
        for value in victim.ids:
            _, body = await send(client, "get", f"{status}?" + "&".join(f"id={each}" for each in disguised(value)[:6]))
            assert not set(json.loads(body)["rows"]) & {str(each) for each in victim.ids}
            assert_silent(body, thief, quarters)
            tried["list"] += 6
        for words in (
            victim.word,
            f"{victim.word}-codes",
            "codes",
            "%",
            "_",
            f"%{victim.word[:4]}%",
            f"{victim.word}' OR '1'='1",
        ):
            _, body = await send(client, "get", listing, {"q": words})
            found = body.split(b'value="')[0] + body.rpartition(b"<tbody")[2]
            assert f"{victim.word} ".encode() not in found.lower()
            tried["search box"] += 1


async def refuses(call: Any) -> bool:
    """Whether an access function says that there is nothing."""
    try:
        found = await call
    except (NotFound, Forbidden):
        return True
    return found is None or found is False


async def test_every_access_function_with_every_foreign_id(quarters: list[Quarter], tried: Counter[str]) -> None:
    """The same one level deeper, where there is no form and no page to refuse first."""
    for thief, victim in others(quarters):
        for value, right in itertools.product(victim.ids, Right):
            person: Any = thief.person
            assert await refuses(aaccess_conversation(person, value))
            assert await refuses(aaccess_answer(person, value))
            assert await refuses(aaccess_department_by_id(person, value, right))
            with pytest.raises(NotFound):
                access_conversation(person, value)
            tried["access"] += 4
        if victim.department.slug != thief.department.slug:
            for right in Right:
                assert await refuses(aaccess_department(thief.person, victim.department.slug, right))
                with pytest.raises(NotFound):
                    access_department(thief.person, victim.department.slug, right)
                tried["access"] += 2


async def test_every_question_to_a_store_with_every_foreign_id(quarters: list[Quarter], tried: Counter[str]) -> None:
    for thief, victim in others(quarters):
        async with open_store(thief.department) as store:
            for value in victim.ids:
                await assert_not_in(store, value)
                tried["store"] += 7
        for value in (victim.document_id, victim.version_id):
            assert await open_original(thief.department, thief.person, value) is None
            assert await delete_document(thief.department, thief.person, value) is None
            tried["store"] += 2
    for quarter in quarters:
        async with open_store(quarter.department) as store:
            assert await store.get_version(quarter.version_id) is not None


async def assert_not_in(store: Store, value: UUID) -> None:
    assert await store.get_document(value) is None
    assert await store.get_documents([value]) == []
    assert await store.get_version(value) is None
    assert await store.list_passages(value, offset=0, limit=10) == []
    assert await store.retry(value) is None
    assert await store.claim(value) is None
    assert (await store.list_documents(matching=str(value))).documents == []


async def test_every_search_text(quarters: list[Quarter], tried: Counter[str]) -> None:
    """Words, and the very vectors of the others' passages: the best a search could be asked for."""
    vectors = {quarter.word: await vector_of(quarter) for quarter in quarters}
    for thief, victim in others(quarters):
        asked = [
            victim.word,
            f"{victim.word} codes",
            f"What is the code word {victim.word}?",
            f"the safe opens with {victim.word}",
        ]
        asked += [f"{victim.word} {number}" for number in range(QUESTIONS)]
        async with open_store(thief.department) as store:
            recipe = await store.recipe()
            for question in asked:
                result = await search_by_vector(store, question, vectors[victim.word], recipe=recipe)
                assert all(thief.word in found.text and victim.word not in found.text for found in result.passages)
                prompt = assemble(
                    instructions="", canary="c", history=(), question="x",
                    passages=[PassageData(1, found.title, "", found.text) for found in result.passages],
                )  # fmt: skip
                assert not any(victim.word in message["content"] for message in prompt.messages)
                tried["search"] += 1


async def vector_of(quarter: Quarter) -> list[float]:
    async with open_store(quarter.department) as store, store.connection() as held:
        row = await (await held.execute("SELECT embedding::text AS vector FROM passage LIMIT 1")).fetchone()
    return [float(number) for number in row["vector"].strip("[]").split(",")]


async def test_questions_through_the_door_of_the_provider(quarters: list[Quarter], tried: Counter[str]) -> None:
    for thief, victim in others(quarters):
        for question in (f"code word {victim.word}", f"Which documents name {victim.word}?"):
            result = await find(thief.department, thief.person, question)
            assert not any(victim.word in found.text for found in result.passages)
            tried["question"] += 1


async def test_disguised_ids_in_forms(quarters: list[Quarter], tried: Counter[str]) -> None:
    """`retry` names an answer, `replaces` a document: a foreign one is not there, however it is spelt."""
    for thief, victim in others(quarters):
        client = await signed_in(thief.person)
        mine = reverse("chat:ask", args=[thief.conversation.pk])
        for value in (victim.answer.pk, victim.conversation.pk, victim.document_id):
            for text in disguised(value):
                status, body = await send(client, "post", mine, {"retry": text})
                assert status == 404
                assert_silent(body, thief, quarters)
                tried["form"] += 1


async def test_a_foreign_citation_leads_nowhere(quarters: list[Quarter], tried: Counter[str]) -> None:
    """An answer that was made to cite another department's document shows a link, and behind it there is nothing."""
    for thief, victim in others(quarters):
        answer = Message.objects.create(
            conversation=thief.conversation, role="assistant", call_id=uuid4(), text="See [1]"
        )
        answer.citations = [victim.answer.citations[0] | {"title": "t", "quote": "q", "uploader": "u"}]
        answer.save()
        client = await signed_in(thief.person)
        _, body = await send(client, "get", reverse("chat:conversation", args=[thief.conversation.pk]))
        links = re.findall(r'href="(/d/[^"#]+)', body.decode())
        assert links
        for link in links:
            if str(victim.document_id) in link:
                status, page = await send(client, "get", link.replace("&amp;", "&"))
                assert status == 404
                assert_silent(page, thief, quarters)
                tried["citation"] += 1
        answer.delete()


async def test_nobody_signed_in_gets_nothing(quarters: list[Quarter], tried: Counter[str]) -> None:
    client = AsyncClient()
    for victim in quarters:
        for value in victim.ids:
            for address in (
                f"/c/{value}/",
                f"/d/{victim.department.slug}/documents/{value}/",
                f"/answers/{value}/stop",
            ):
                status, body = await send(client, "get", address)
                assert status in {302, 405}
                assert_silent(body, victim, quarters)
                tried["signed out"] += 1
