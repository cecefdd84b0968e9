"""The chat's pages. Reading is synchronous; asking runs on the event loop from the browser to the provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_GET, require_POST

from audit.database import DatabaseDown
from audit.events import Event
from audit.writer import Entry, record
from chatgrid.chat import messages
from chatgrid.chat.access import aaccess_answer, aaccess_conversation, access_conversation, access_question_of
from chatgrid.chat.ask import Exchange, ask
from chatgrid.chat.markdown import BlockStream, source_anchor
from chatgrid.chat.models import TITLE_LENGTH, Conversation
from chatgrid.chat.present import SUGGESTIONS, plain, shown_message, shown_messages
from chatgrid.chat.scope import KINDS, ScopeForm, is_chosen
from chatgrid.flood import shield
from chatgrid.misplaced import may_hold_key
from departments.access import aaccess_department, access_department, departments_of
from departments.calls import run
from departments.calls.caller import CallEndedEarly
from departments.calls.limit_headers import headers_of
from departments.calls.meter import ameter_of
from departments.calls.sentences import RECORD_DOWN
from departments.calls.typed import SecretTyped
from departments.http import PersonRequest, client_address, require_person, wants_json
from departments.models import Department
from departments.roles import Right

QUESTION_LENGTH = 16_000  # characters
EMPTY = "Write a question first."
TOO_LONG = f"This is longer than {QUESTION_LENGTH:,} characters. Shorten it, or upload it as a document."


@require_GET
@require_person
def home(request: PersonRequest) -> HttpResponse:
    """To a new chat in the department of the latest conversation, else in the first; the operator to the console."""
    if request.person.organization_id is None:
        return redirect("admin:index")  # of no company, so of no department either
    memberships = list(departments_of(request.person))
    if not memberships:
        return render(request, "chat/home_empty.html")
    latest = Conversation.objects.filter(owner_id=request.person.id).values_list("department_id", flat=True).first()
    chosen = next((m for m in memberships if m.department_id == latest), memberships[0])
    return redirect("chat:new", chosen.department.slug)


@require_GET
@require_person
def new(request: PersonRequest, slug: str) -> HttpResponse:
    department = access_department(request.person, slug, Right.CHAT)
    form = ScopeForm(request.GET)
    return _page(request, department, None, scope=form.kept if form.is_valid() else {})


@require_GET
@require_person
def conversation(request: PersonRequest, conversation_id: UUID) -> HttpResponse:
    found = access_conversation(request.person, conversation_id)
    return _page(request, found.department, found)


@may_hold_key("question")
@require_POST
@require_person
@shield("ask")
async def ask_new(request: PersonRequest, slug: str) -> HttpResponseBase:
    """A question that begins a conversation."""
    department = await aaccess_department(request.person, slug, Right.CHAT)
    return await _ask(request, _exchange(request, department))


@may_hold_key("question")
@require_POST
@require_person
@shield("ask")
async def ask_in(request: PersonRequest, conversation_id: UUID) -> HttpResponseBase:
    """A question in a conversation, or the same question once more (`retry` names the answer to replace)."""
    found, department = await aaccess_conversation(request.person, conversation_id)
    exchange = _exchange(request, department)
    exchange.conversation = found
    if retry := request.POST.get("retry"):
        await _ask_again(exchange, found, retry)
        exchange.scope, exchange.problem = found.scope, ""
        exchange.confirmed = True  # this question has been sent before
    exchange.history = await messages.history_of(found)
    if exchange.replaced:
        # what is asked again is the question, not a part of what was said before
        exchange.history = exchange.history[: _last_question(exchange.history)]
    return await _ask(request, exchange)


@require_POST
@require_person
async def stop(request: PersonRequest, call_id: UUID) -> HttpResponse:
    """End an answer that is being written."""
    await aaccess_answer(request.person, call_id)
    await run.stop(call_id)
    return HttpResponse(status=204)


@require_POST
@require_person
def rename(request: PersonRequest, conversation_id: UUID) -> HttpResponse:
    found = access_conversation(request.person, conversation_id)
    title = messages.title_of(request.POST.get("title", ""))
    if title:
        Conversation.objects.filter(pk=found.pk).update(title=title[:TITLE_LENGTH])
    return redirect("chat:conversation", found.pk)


@require_POST
@require_person
def delete(request: PersonRequest, conversation_id: UUID) -> HttpResponse:
    """Delete the person's own conversation; the record of its calls stays."""
    found = access_conversation(request.person, conversation_id)
    department = found.department
    record(
        Entry(
            event=Event.CONVERSATION_DELETED,
            **department.in_record,
            actor_id=request.person.id,
            actor_name=request.person.name,
            client_address=client_address(request),
            subject_kind="conversation",
            subject_id=str(found.pk),
        )
    )
    found.delete()
    return redirect("chat:new", department.slug)


def _exchange(request: PersonRequest, department: Department) -> Exchange:
    question = request.POST.get("question", "").replace("\r\n", "\n").strip()
    confirmed = request.POST.get("confirmed") == "1"
    exchange = Exchange(request.person, department, question, client_address(request), confirmed=confirmed)
    if is_chosen(request.POST):
        form = ScopeForm(request.POST)
        if form.is_valid():
            exchange.scope = form.kept
        else:
            exchange.problem = form.sentence
    return exchange


async def _ask_again(exchange: Exchange, found: Conversation, answer_id: str) -> None:
    try:
        wanted = UUID(answer_id)
    except ValueError:
        wanted = UUID(int=0)  # not an id: refused like any other that is not there
    answer, question = await sync_to_async(access_question_of)(found, wanted)
    exchange.replaced, exchange.question = answer.pk, question.text


def _last_question(history: Iterable[tuple[str, str]]) -> int:
    return max((place for place, (role, _) in enumerate(history) if role == "person"), default=0)


async def _ask(request: PersonRequest, exchange: Exchange) -> HttpResponseBase:
    if not exchange.question or len(exchange.question) > QUESTION_LENGTH:
        return await _not_asked(request, exchange, 400, "Not sent", TOO_LONG if exchange.question else EMPTY)
    if exchange.problem:
        return await _not_asked(request, exchange, 400, "Not sent", exchange.problem)
    text = ask(exchange)
    try:
        await anext(text)
    except CallEndedEarly as early:
        status, may_confirm = (422, early.may_confirm) if isinstance(early, SecretTyped) else (429, False)
        response = await _not_asked(request, exchange, status, early.title, early.sentence, may_confirm=may_confirm)
        for name, value in headers_of(early).items():
            response.headers[name] = value
        return response
    if wants_json(request):
        return _streamed(request, exchange, text)
    async with aclosing(text):
        async for _ in text:
            pass
    return await _after_post(request, exchange)


async def _after_post(request: PersonRequest, exchange: Exchange) -> HttpResponse:
    """Without JavaScript: to the conversation, where the whole answer stands."""
    if exchange.conversation is None:
        return await _not_asked(request, exchange, 503, "No answer", RECORD_DOWN)
    page = reverse("chat:conversation", args=[exchange.conversation.pk])
    response = redirect(f"{page}#latest")
    response.status_code = 303
    return response


def _streamed(request: PersonRequest, exchange: Exchange, text: AsyncGenerator[str]) -> HttpResponseBase:
    response = StreamingHttpResponse(_events(request, exchange, text), content_type="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _events(request: PersonRequest, exchange: Exchange, text: AsyncGenerator[str]) -> AsyncIterator[bytes]:
    """The exchange as server-sent events: start, block…, done or problem."""
    answer = exchange.answer
    assert answer is not None, "the first item of ask() has come"  # noqa: S101
    yield _event("start", _started(exchange))
    blocks = BlockStream(exchange.numbers, source_anchor(answer.pk))
    async with aclosing(text):
        async for flush in text:
            for index, html in blocks.feed(flush):
                yield _event("block", {"index": index, "html": html})
    for index, html in blocks.finish():
        yield _event("block", {"index": index, "html": html})
    name = "done" if answer.state in {"complete", "stopped"} else "problem"
    ended = {"state": answer.state, "message_html": _message_html(request, exchange)}
    yield _event(name, ended | {"meter_html": await _meter_html(request, exchange)})


def _started(exchange: Exchange) -> dict[str, Any]:
    found = exchange.conversation
    return {
        "conversation_url": reverse("chat:conversation", args=[found.pk]) if found else "",
        "title": found.title if found else "",
        "question_html": plain(exchange.question),
        "stop_url": reverse("chat:stop", args=[exchange.call_id]),
    }


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


def _message_html(request: PersonRequest, exchange: Exchange) -> str:
    assert exchange.answer is not None  # noqa: S101
    message = shown_message(exchange.answer, exchange.department, last=exchange.conversation is not None)
    ask_url = _ask_url(exchange.department, exchange.conversation)
    # only an answer that can be asked for again has a form, and a token is made for each
    token = SimpleLazyObject(partial(get_token, request))
    # without the request: a fragment has no use for the frame of a page, which reads the database
    return render_to_string("chat/_message.html", {"message": message, "ask_url": ask_url, "csrf_token": token})


async def _meter_html(request: PersonRequest, exchange: Exchange) -> str:
    """The meter after this answer; empty where the database is away, and the page keeps the old one."""
    try:
        # the settlement has brought it along; an exchange that ended before a call was made has none
        meter = exchange.meter or await ameter_of(request.person, exchange.department)
    except DatabaseDown:
        return ""
    return render_to_string("chat/_meter.html", {"meter": meter, "department": exchange.department})


async def _not_asked(
    request: PersonRequest, exchange: Exchange, status: int, title: str, sentence: str, *, may_confirm: bool = False
) -> HttpResponse:
    """Nothing was sent: the reason in words, and the question still in the box; `may_confirm` offers to send it."""
    refused = {"title": title, "sentence": sentence, "may_confirm": may_confirm}
    if wants_json(request):
        return JsonResponse(refused, status=status)
    return await sync_to_async(_page)(
        request,
        exchange.department,
        exchange.conversation,
        status=status,
        refused=refused,
        question=exchange.question,
        scope=exchange.scope,
    )


def _page(
    request: PersonRequest,
    department: Department,
    found: Conversation | None,
    *,
    status: int = 200,
    refused: dict[str, Any] | None = None,
    question: str = "",
    scope: dict[str, Any] | None = None,
) -> HttpResponse:
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    context = {
        "department": department,
        "conversation": found,
        "messages": shown_messages(found.messages.all(), department) if found else [],
        "suggestions": SUGGESTIONS,
        "ask_url": _ask_url(department, found),
        "refused": refused,
        "question": question,
        "scope": (found.scope if found else {}) if scope is None else scope,
        "kinds": KINDS,
        "answer_seconds": settings.ANSWER_SECONDS,
    }
    return render(request, "chat/conversation.html", context, status=status)


def _ask_url(department: Department, found: Conversation | None) -> str:
    if found is None:
        return reverse("chat:ask_new", args=[department.slug])
    return reverse("chat:ask", args=[found.pk])
