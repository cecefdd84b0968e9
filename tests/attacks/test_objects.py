"""R01 to R11: what broke in peers where objects, rights and roles are concerned, tried on ChatGrid."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.auth import get_user_model
from django.forms import ModelForm
from django.test import AsyncClient
from django.urls import NoReverseMatch, reverse

from chatgrid.chat.models import Conversation, Message
from chatgrid.console.site import site
from departments.documents import search, store, tasks
from departments.documents.store import open_store
from departments.limits import budget
from departments.models import Department, Membership
from departments.roles import DepartmentRole
from tests.attacks.places import Loot, Route, follow_stream, product_routes, routes, send
from tests.chatgrid.test_access_matrix import MATRIX
from tests.company import Company, give_key, make_company, set_limit, signed_in
from tests.departments.calls.calling import requests_of
from tests.departments.documents.shelf import add, find, ready, uploaded
from tests.provider import Provider

WITH_OBJECT = [route for route in product_routes() if route.has_object]
NESTED = [route for route in WITH_OBJECT if sum(route.placeholders.values()) > 1]
User = get_user_model()


async def being_written(company: Company) -> Message:
    """Bob's answer, once there is one that is being written."""
    for _ in range(500):
        if live := Message.objects.filter(conversation__owner=company.bob, state="writing").first():
            return live
        await asyncio.sleep(0.02)
    raise AssertionError("no answer was begun in 10 s")


def method_of(route: Route) -> str:
    return MATRIX[route.name].method


@pytest.mark.parametrize("route", WITH_OBJECT, ids=lambda route: route.name)
async def test_r01_another_persons_object_looks_like_one_that_never_was(route: Route, shared: Loot, own: Loot) -> None:
    """The thief is in the same department, in another one, or in another company: none learns that it is there."""
    mine = own.values | {"document_id": shared.document_id} if "document_id" in route.placeholders else shared.values
    nothing = shared.values | {f"{route.name} {name}": uuid4() for name, is_id in route.placeholders.items() if is_id}
    of_department = route.name.startswith(("documents:", "assistant:", "chat:budget"))  # whose admin may see it
    thieves = [own.company.alice] if of_department else [shared.company.alice, own.company.bob]
    for thief in thieves:
        client = await signed_in(thief)
        foreign = await send(client, method_of(route), route.address(mine), MATRIX[route.name].body)
        unknown = await send(client, method_of(route), route.address(nothing), MATRIX[route.name].body)
        assert foreign[0] == 404
        assert foreign == unknown
    assert Conversation.objects.get(pk=shared.values["conversation_id"]).title == "Salaries of 2027"


async def test_r01_the_owner_gets_to_each_of_these(loot: Loot) -> None:
    """Otherwise what is refused above may be refused to everybody. What ends a thing comes last."""
    ending = ("chat:delete", "documents:forget", "documents:delete")
    assert set(ending) <= {route.name for route in WITH_OBJECT}
    alice, bob = await signed_in(loot.company.alice), await signed_in(loot.company.bob)
    for route in sorted(WITH_OBJECT, key=lambda route: (route.name in ending, method_of(route) == "post")):
        if route.name == "documents:page":
            continue  # its document is no PDF, which has pages: tests/chatgrid/documents/test_shelf.py
        client = bob if route.name.startswith("chat:") and "budget" not in route.name else alice
        status, body = await send(client, method_of(route), route.address(loot.values), MATRIX[route.name].body)
        assert status in {200, 204, 302, 400}, (route.name, status, body[:200])


async def test_r02_a_child_of_somebody_else_below_a_parent_of_ones_own_is_not_there(shared: Loot, own: Loot) -> None:
    nested = {route.name for route in NESTED}
    assert nested == {"documents:original", "documents:page"}, "write a row for each new nested route"
    client = await signed_in(own.company.alice)
    original = reverse("documents:original", args=["hr", own.document_id, shared.version_id])
    assert (await send(client, "get", original))[0] == 404
    drawn = reverse("documents:page", args=["hr", own.document_id, shared.version_id, 1])
    assert (await send(client, "get", drawn))[0] == 404
    page = reverse("documents:detail", args=["hr", own.document_id])
    assert (await send(client, "get", f"{page}?version={shared.version_id}"))[0] == 404
    held = own.values["documents:review version_id"]  # of another document of the same department
    for name, more in (("documents:original", ()), ("documents:page", (1,))):
        assert (await send(client, "get", reverse(name, args=["hr", own.document_id, held, *more])))[0] == 404, name
    bob = await signed_in(own.company.bob)
    mine = reverse("chat:ask", args=[own.values["conversation_id"]])
    # one from before and one from after whatever stands in the conversation of one's own
    later = await shared.answer.conversation.messages.acreate(role="assistant", call_id=uuid4(), text="Eleven crowns.")
    for foreign in (shared.answer, later):
        assert (await send(bob, "post", mine, {"retry": str(foreign.pk)}))[0] == 404
        assert Message.objects.filter(pk=foreign.pk, text="Eleven crowns.").exists()
    await later.adelete()


async def test_r03_a_live_answer_is_neither_heard_nor_stopped_by_others(loot: Loot, provider: Provider) -> None:
    key = give_key(loot.company.hr)
    provider.misbehave(key, "long", times=1, tokens_per_second=60)
    bob, carol = await signed_in(loot.company.bob), await signed_in(loot.company.carol)
    streaming = asyncio.create_task(follow_stream(bob, "/d/hr/ask", "Tell me all about leave."))
    live = await being_written(loot.company)
    assert live.call_id not in {live.conversation_id, live.pk}, "an id of one thing must not open another"
    assert (await send(carol, "post", reverse("chat:stop", args=[live.call_id])))[0] == 404
    assert (await send(carol, "get", reverse("chat:conversation", args=[live.conversation_id])))[0] == 404
    assert not streaming.done(), "the answer goes on"
    assert (await send(bob, "post", reverse("chat:stop", args=[live.call_id])))[0] == 204
    await streaming


def test_r04_nothing_that_a_request_or_a_task_hands_over_names_a_store() -> None:
    names = {"store_name", "database", "table", "schema", "collection", "index", "dsn"}
    public = [member for module in (search, store, tasks) for _, member in inspect.getmembers(module, callable)]
    public += [method for _, method in inspect.getmembers(store.Store, inspect.isfunction)]
    public += [route.view for route in routes()]
    for function in public:
        if inspect.isfunction(function):
            assert not names & set(inspect.signature(function).parameters), function


async def test_r04_a_search_finds_markers_of_its_own_department_only(provider: Provider) -> None:
    company = make_company()
    for department, word in ((company.hr, "nightingale"), (company.finance, "kingfisher")):
        ready(department)
        await add(department, company.carol, f"# Codes\n\nThe code word of this department is {word}.\n", f"{word}.md")
    for department, person, word in (
        (company.hr, company.bob, "nightingale"),
        (company.finance, company.dave, "kingf"),
    ):
        found = await find(department, person, "What is the code word of this department? nightingale kingfisher")
        assert found.passages
        assert all(word in passage.text for passage in found.passages)
    with pytest.raises(ValueError, match="its own store"):
        async with open_store(company.finance) as foreign:
            await search.search(foreign, company.hr, None, "code", limit=1)  # type: ignore[arg-type]


async def test_r04_who_moved_takes_nothing_along_and_the_prompt_holds_no_foreign_word(provider: Provider) -> None:
    company = make_company()
    for department, word in ((company.hr, "nightingale"), (company.finance, "kingfisher")):
        ready(department)
        await add(department, company.carol, f"# Codes\n\nThe code word of this department is {word}.\n", f"{word}.md")
    Membership.objects.filter(user=company.bob).delete()
    Membership.objects.create(user=company.bob, department=company.finance)
    provider.misbehave(give_key(company.finance), "echo")
    bob = await signed_in(company.bob)
    question = "What is the code word of this department, if it is not nightingale?"
    await follow_stream(bob, "/d/finance/ask", question)
    # what the provider was sent: the page would not show an echo of the rules
    heard = [sent for sent in map(str, provider.journal()["requests"]) if question in sent and "messages" in sent][-1]
    assert "kingfisher" in heard
    assert "word of this department is nightingale" not in heard
    assert (await send(bob, "post", "/d/hr/ask", {"question": "The code word?"}))[0] == 404


async def test_r05_a_foreign_document_is_not_replaced_attached_or_cited(shared: Loot, own: Loot) -> None:
    client = await signed_in(own.company.alice)
    body = {"documents": [uploaded("# Mine\n\nWhoever reads this", "mine.md")], "replaces": str(shared.document_id)}
    status, answer = await send(
        client, "post", reverse("documents:upload", args=["hr"]), body, headers={"Accept": "application/json"}
    )
    assert status == 422
    assert b"not there any more" in answer
    async with open_store(shared.company.hr) as there:
        detail = await there.get_document(shared.document_id)
        assert detail is not None
        assert [version.id for version in detail.versions] == [shared.version_id]
    async with open_store(own.company.hr) as here:
        assert await here.get_document(shared.document_id) is None
        assert await here.get_version(shared.version_id) is None


async def test_r06_a_file_leaves_for_members_only_and_goes_for_admins_only(shared: Loot) -> None:
    address = reverse("documents:original", kwargs={k: shared.values[k] for k in ("slug", "document_id", "version_id")})
    expected = {shared.company.bob: 200, shared.company.dave: 404, shared.company.ivan: 404, shared.company.ada: 404}
    for person, status in expected.items():
        assert (await send(await signed_in(person), "get", address))[0] == status, person
    assert (await send(AsyncClient(), "get", address))[0] == 302
    gone = reverse("documents:delete", args=["hr", shared.document_id])
    assert (await send(await signed_in(shared.company.bob), "post", gone))[0] == 403
    assert (await send(await signed_in(shared.company.dave), "post", gone))[0] == 404


async def test_r07_a_member_reads_and_changes_nothing_whatever_the_method(shared: Loot) -> None:
    writes = {name for name, row in MATRIX.items() if name.startswith("documents:") and row.method == "post"}
    admins = {"upload", "retry", "cancel", "delete", "decide", "review_day", "bulk", "source"}
    admins |= {"try", "keep", "measure", "rebuild", "change", "forget"}
    assert writes == {f"documents:{name}" for name in admins}, "new: is it for admins only?"
    bob = await signed_in(shared.company.bob)
    for route in product_routes():
        if route.name.startswith("documents:"):
            for method in ("post", "put", "patch", "delete"):
                status, _ = await send(bob, method, route.address(shared.values))
                assert status in {403, 405}, (route.name, method)
    async with open_store(shared.company.hr) as there:
        assert await there.get_document(shared.document_id) is not None


def test_r08_every_form_names_its_fields() -> None:
    names = {
        admin: {getattr(url.callback, "__name__", "") for url in admin.get_urls()} for admin in site._registry.values()
    }
    has_forms = [admin for admin, views in names.items() if "change_view" in views]  # the record's pages have none
    assert len(has_forms) >= len(names) - 1
    for admin in has_forms:
        methods = ("get_fields", "get_fieldsets")
        named = any(getattr(type(admin), method) is not getattr(ModelAdmin, method) for method in methods)
        assert admin.fields or admin.fieldsets or named, f"{admin}: name its fields"
    ours = [form for form in ModelForm.__subclasses__() if form.__module__.startswith(("chatgrid", "departments"))]
    assert all(getattr(getattr(form, "Meta", None), "fields", ()) != "__all__" for form in ours)


async def test_r08_fields_that_nobody_asked_for_change_nothing(loot: Loot) -> None:
    extra = {
        "role": "admin", "is_staff": "1", "is_superuser": "1", "is_active": "1",
        "department": str(loot.company.finance.pk),
        "department_id": str(loot.company.finance.pk), "owner": str(loot.company.alice.pk),
        "owner_id": str(loot.company.alice.pk),
        "organization": str(make_company().organization.pk), "user_id": str(loot.company.alice.pk),
        "budget": "999999999",
        "tokens_per_day": "999999999", "model": "gpt-6-sol", "instructions": "Say everything.", "title": "Renamed",
    }  # fmt: skip
    client = await signed_in(loot.company.bob)
    for name in ("chat:rename", "chat:ask"):
        await send(client, "post", reverse(name, args=[loot.values["conversation_id"]]), extra | {"question": "Leave?"})
    await send(client, "post", reverse("account_change_password"), extra)
    bob = User.objects.get(pk=loot.company.bob.pk)
    assert (bob.role, bob.is_staff, bob.is_superuser) == ("member", False, False)
    assert bob.organization_id == loot.company.organization.pk
    assert Membership.objects.get(user=bob).role == DepartmentRole.MEMBER
    found = Conversation.objects.get(pk=loot.values["conversation_id"])
    assert (found.owner_id, found.department_id, found.title) == (bob.pk, loot.company.hr.pk, "Renamed")
    assert Department.objects.get(pk=loot.company.hr.pk).model != "gpt-6-sol"


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": "Bearer {session}"}, {"Authorization": "Basic {basic}"}, {"X-API-Key": "{session}"},
        {"X-Forwarded-User": "{email}"}, {"Remote-User": "{email}"}, {"X-Remote-User": "{email}"},
        {"X-User-Id": "{id}"},
        {"X-Forwarded-Email": "{email}"}, {"X-Auth-Request-Email": "{email}"}, {"api-key": "{session}"},
    ],
    ids=str,
)  # fmt: skip
async def test_r09_there_is_one_way_to_be_somebody_and_no_header_is_it(shared: Loot, header: dict[str, str]) -> None:
    bob = shared.company.bob
    session = (await signed_in(bob)).cookies["chatgrid_session"].value
    values = {"session": session, "email": bob.email, "id": bob.pk, "basic": "Ym9iOmIgbG9uZyBlbm91Z2ggcGhyYXNl"}
    sent = {name: value.format(**values) for name, value in header.items()}
    for route in product_routes():
        status, _ = await send(AsyncClient(headers=sent), "get", route.address(shared.values))
        assert status in {302, 405}, route.name


@pytest.mark.parametrize("change", ["closed", "removed", "moved", "department closed"])
async def test_r10_a_right_that_ends_ends_at_once_also_in_a_stream(
    loot: Loot, provider: Provider, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(budget, "RENEW_SECONDS", 0.05)
    company = loot.company
    provider.misbehave(give_key(company.hr), "long", times=1, tokens_per_second=100)
    bob = await signed_in(company.bob)
    streaming = asyncio.create_task(follow_stream(bob, "/d/hr/ask", "Tell me all about leave."))
    await being_written(company)
    match change:
        case "closed":
            User.objects.filter(pk=company.bob.pk).update(is_active=False)
        case "removed":
            Membership.objects.filter(user=company.bob).delete()
        case "moved":
            Membership.objects.filter(user=company.bob).update(department=company.finance)
        case "department closed":
            Department.objects.filter(pk=company.hr.pk).update(is_active=False)
    assert "Your access to this department ended" in await asyncio.wait_for(streaming, 10)
    for address in ("/d/hr/", reverse("chat:conversation", args=[loot.values["conversation_id"]])):
        assert (await send(bob, "get", address))[0] in {302, 404}
    assert (await send(bob, "post", "/d/hr/ask", {"question": "And now?"}))[0] in {302, 404}


async def test_r10_a_task_that_starts_late_asks_again_whether_it_still_may(loot: Loot, provider: Provider) -> None:
    from departments.documents.uploads import accept_upload

    key = give_key(loot.company.hr)
    late = await accept_upload(
        loot.company.hr, loot.company.alice, "late.md", uploaded("# Late\n\nToo late.", "late.md")
    )
    Department.objects.filter(pk=loot.company.hr.pk).update(is_active=False)
    await tasks.ingest_one(loot.company.hr.pk, late.version.id)
    assert requests_of(provider, key) == []


async def test_r11_nobody_becomes_an_admin_by_being_first(company: Company) -> None:
    before = User.objects.filter(is_superuser=True).count()
    with pytest.raises(NoReverseMatch):
        reverse("account_signup")
    newcomer = {
        "email": "first@nobody.example",
        "password1": "a long enough phrase",
        "password2": "a long enough phrase",
    }

    async def arrive(number: int) -> None:
        await send(AsyncClient(), "post", "/accounts/signup/", newcomer | {"email": f"{number}@nobody.example"})
        await send(AsyncClient(), "post", reverse("account_login"), {"login": company.bob.email, "password": "x"})

    await asyncio.gather(*(arrive(number) for number in range(20)))
    ivan = await signed_in(company.ivan)
    fields = {"name": "Eve", "email": "eve@nobody.example", "role": "it", "is_superuser": "on", "is_staff": "on"}
    forms: dict[str, Any] = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    await send(ivan, "post", reverse("admin:accounts_user_add"), fields | forms)
    assert User.objects.filter(is_superuser=True).count() == before
    assert not User.objects.filter(email__endswith="@nobody.example", is_superuser=True).exists()


async def test_r07_limits_are_not_raised_by_those_they_bind(company: Company) -> None:
    limit = set_limit(company, person=company.bob, tokens_per_day=10)
    address = reverse("admin:limits_limit_change", args=[limit.pk])
    for person in (company.bob, company.alice, company.ada):
        assert (await send(await signed_in(person), "post", address, {"tokens_per_day": "999999"}))[0] == 403
    limit.refresh_from_db()
    assert limit.tokens_per_day == 10
