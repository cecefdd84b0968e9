"""R16, R17, R21, R22, R24, R25, R26, R30: text and files of an attacker, and what becomes of them everywhere."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import socket
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.chat.models import Conversation, Message
from chatgrid.console.site import site
from departments.documents.names import clean_filename
from departments.documents.store import open_store
from departments.keys.redaction import KeyRedactionFilter
from tests.attacks.places import Loot, follow_stream, routes, send
from tests.company import Company, give_key, signed_in
from tests.departments.calls.calling import ask, whole
from tests.departments.documents import files
from tests.departments.documents.shelf import add, upload, uploaded
from tests.provider import Provider

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [path for folder in ("chatgrid", "departments", "audit") for path in (ROOT / folder).rglob("*.py")]
PAGES = {f"{admin.opts.app_label}_{admin.opts.model_name}": admin for admin in site._registry.values()}
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "' onfocus=alert(1) autofocus x='",
    "</textarea></title><iframe src=https://evil.example/>",
    "{{ 1234*5678 }}{% debug %}<style>@import 'https://evil.example/'</style>",
    "![x](https://evil.example/?d=1) <a href=javascript:alert(1)>x</a>",
)
OWN_ADDRESS = re.compile(r"^(?:/(?!/)|#|\?|\.|mailto:|$)")


class Page(HTMLParser):
    """Collects whatever could run, load or send something: none of it may come from an attacker's text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrongs: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script" and values.get("type") != "application/json":
            own = (values.get("src") or "").startswith(("/static/", "/admin/jsi18n/"))
            self.wrongs += [] if own else ["inline script"]
        if tag in {"iframe", "object", "embed", "base", "style", "applet", "frame"}:
            self.wrongs.append(f"<{tag}>")
        if tag == "meta" and "http-equiv" in values:
            self.wrongs.append("meta http-equiv")
        for name, value in attrs:
            if name.startswith("on") or name in {"style", "srcdoc"}:
                self.wrongs.append(f"{tag}[{name}]")
            loads = tag != "a" and name in {"src", "srcset", "action", "formaction", "poster", "data", "href"}
            if loads and not OWN_ADDRESS.match(value or ""):
                self.wrongs.append(f"{tag}[{name}={value}]")
            if tag == "a" and name == "href" and not re.match(r"^(?:/(?!/)|#|\?|\.|https://|mailto:|$)", value or ""):
                self.wrongs.append(f"a[href={value}]")


async def pages_that_show(company: Company, values: dict[str, Any]) -> list[tuple[str, str]]:
    """Every page of the product and the console that shows text somebody gave, as those who see it."""
    shown = []
    for person, addresses in (
        (company.bob, ["/d/hr/", reverse("chat:conversation", args=[values["conversation_id"]]), "/nowhere/<b>/"]),
        (company.alice, ["/d/hr/documents/", "/d/hr/documents/?q=%3Cscript%3E%22'",
                         reverse("documents:detail", args=["hr", values["document_id"]]),
                         "/accounts/password/change/"]),
        (company.ivan, [reverse(f"admin:{name}_changelist") for name in (
            "accounts_user", "departments_department", "departments_membership", "departments_organization",
            "audit_auditevent", "limits_limit", "keys_keyreference")] + [
            reverse("admin:departments_department_change", args=[company.hr.pk]),
            reverse("admin:departments_department_history", args=[company.hr.pk]),
            reverse("admin:accounts_user_change", args=[company.bob.pk]), reverse("admin:index")]),
    ):  # fmt: skip
        client = await signed_in(person)
        for address in addresses:
            _, body = await send(client, "get", address)
            shown.append((address, body.decode()))
    return shown


@pytest.mark.parametrize("text", HOSTILE)
async def test_r16_hostile_text_is_only_text_in_every_place_where_it_is_shown(loot: Loot, text: str) -> None:
    company = loot.company
    type(company.bob).objects.filter(pk=company.bob.pk).update(name=text[:120])
    type(company.hr).objects.filter(pk=company.hr.pk).update(name=text[:120], instructions=text)
    type(company.organization).objects.filter(pk=company.organization.pk).update(name=text[:120])
    version = await add(company.hr, company.alice, f"# {text}\n\n{text}\n\nFive unused days.\n", f"{text[:60]}.md")
    cited = {"number": 1, "document": str(version.document_id), "version": str(version.id), "ordinal": 0, "title": text,
             "headings": [text], "locator": {"sheet": text}, "quote": text, "uploader": text,
             "uploaded_at": "2026-11-23T09:30:00+00:00"}  # fmt: skip
    found = Conversation.objects.create(department=company.hr, owner=company.bob, title=text[:80])
    Message.objects.create(conversation=found, role="person", text=text)
    Message.objects.create(conversation=found, role="assistant", text=f"{text} [1]", citations=[cited])
    Message.objects.create(conversation=found, role="assistant", state="failed", text="", problem=text)
    values = {"conversation_id": found.pk, "document_id": version.document_id}
    for address, html in await pages_that_show(company, values):
        assert Page(html).wrongs == [], address
        assert "<script>alert" not in html
        assert "7006652" not in html, "a template was rendered from text"


async def test_r16_a_streamed_answer_is_only_text_too(loot: Loot, provider: Provider) -> None:
    answer = "\n\n".join(HOSTILE)
    key = give_key(loot.company.hr)
    for chunks in ([answer], list(answer)):
        provider.misbehave(key, "scripted", times=1, chunks=chunks)
        heard = await follow_stream(await signed_in(loot.company.bob), "/d/hr/ask", "How many unused days?")
        for data in re.findall(r'"(?:html|message_html|question_html)":"((?:[^"\\]|\\.)*)"', heard):
            assert Page(json.loads(f'"{data}"')).wrongs == []


def test_r16_text_becomes_markup_in_few_places() -> None:
    allowed = {
        "chatgrid/chat/markdown.py": "the renderer: sanitised on the same line",
        "chatgrid/chat/present.py": "escaped on the same line",
        "departments/keys/reporting.py": "Django's own error page, escaped there, with keys taken out",
    }
    ways = re.compile(r"mark_safe|SafeString\((?!\"\")|\|safe\b|autoescape off|\|safeseq|html_safe")
    for path in (*PRODUCT, *(ROOT / "templates").rglob("*.html"), *(ROOT / "templates").rglob("*.txt")):
        name = path.relative_to(ROOT).as_posix()
        if ways.search(path.read_text(encoding="utf-8")) and not name.endswith("_message.txt"):
            assert name in allowed, f"{name}: let the template escape, or use chatgrid.chat.markdown"


# what an entity would bring out of a file that every Linux has
HOSTNAME = socket.gethostname()
FILES = {
    "picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>",
    "page.html": b"<!doctype html><script>alert(document.domain)</script><p>Five unused days.</p>",
    "page.xhtml": b"<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>",
    "feed.xml": b"<?xml version='1.0'?><?xml-stylesheet href='https://evil.example/x.xsl'?><a>x</a>",
    "script.js": b"alert(1)",
    "paper.pdf": b"%PDF-1.7 /JavaScript (app.alert(1))",
    "style.css": b"@import 'https://evil.example/';",
    "mail.mht": b"From: x\nContent-Type: text/html\n\n<script>alert(1)</script>",
}


@pytest.mark.parametrize("name", FILES)
async def test_r17_an_uploaded_file_never_becomes_a_page(shared: Loot, name: str) -> None:
    company = shared.company
    file = uploaded("", name)
    file.write(FILES[name] + uuid4().bytes)
    file.size = len(FILES[name]) + 16
    from departments.documents.uploads import accept_upload

    version = (await accept_upload(company.hr, company.alice, name, file)).version
    address = reverse("documents:original", args=["hr", version.document_id, version.id])
    response = await (await signed_in(company.bob)).get(address)
    response.close()
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_r17_nobody_has_a_picture_by_address() -> None:
    from chatgrid.accounts.models import User

    assert not {field.name for field in User._meta.get_fields()} & {"avatar", "picture", "photo", "image", "url"}


@pytest.mark.parametrize("kind", ["docx", "html", "xlsx"])
async def test_r21_a_document_makes_nobody_connect_or_read_a_file(loot: Loot, kind: str) -> None:
    """Through the front door; the parsers themselves: tests/departments/documents/test_extract_hostile.py."""
    evil = "http://127.0.0.1:9/x"
    entity = f'<!DOCTYPE d SYSTEM "{evil}" [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    content = {
        "docx": files.word_with("<w:p><w:r><w:t>&x; five unused days</w:t></w:r></w:p>", entity),
        "html": f"{entity}<html><link rel=stylesheet href={evil}><img src={evil}>five unused days &x;</html>".encode(),
        "xlsx": files.rezip(files.word(), {"word/document.xml": lambda old: entity.encode() + old}),
    }[kind]
    file = uploaded("", f"a.{kind}")
    file.write(content)
    file.size = len(content)
    from departments.documents.ingest import ingest_version
    from departments.documents.uploads import accept_upload

    version = (await accept_upload(loot.company.hr, loot.company.alice, f"a.{kind}", file)).version
    await ingest_version(loot.company.hr, version.id)
    async with open_store(loot.company.hr) as store:
        passages = await store.list_passages(version.id, offset=0, limit=50)
    assert not any(HOSTNAME in passage.text for passage in passages)


NAMES = ["../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "C:\\boot.ini", "%2e%2e%2fpasswd", "a\x00.md",
         "%252e%252e%252f" * 4, "....//....//x", "x" * 4000 + ".md", "CON", "nul.txt", " ", "a\r\nB: c.md",
         "~/.ssh/id", "\u202etxt.exe", "a/b/c.md", "file:///etc/passwd", "${HOME}.md", "$(id).md", "`id`.md",
         "a;rm -rf.md"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=[repr(name[:20]) for name in NAMES])
async def test_r22_a_file_name_is_a_label_and_no_path(shared: Loot, name: str) -> None:
    department = shared.company.hr
    version = await upload(department, shared.company.alice, f"# {uuid4()}\n\nFive unused days.\n", name or "document")
    folder, _, key = version.original_key.partition("/")
    assert folder == str(department.pk)
    assert UUID(key)
    assert (Path(settings.MEDIA_ROOT) / version.original_key).is_file()
    assert clean_filename(name) == version.filename or not name
    assert not re.search(r"[/\\\x00-\x1f\u202a-\u202e]", version.filename)
    assert 0 < len(version.filename) <= 200
    address = reverse("documents:original", args=["hr", version.document_id, version.id])
    response = await (await signed_in(shared.company.bob)).get(address)
    response.close()
    assert "\n" not in response.headers["Content-Disposition"]


def _is_built(node: ast.expr) -> bool:
    """Whether a statement is put together from more than constants of its module."""
    if isinstance(node, ast.JoinedStr):
        values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return not all(isinstance(value, ast.Name) and value.id.isupper() for value in values)
    formatted = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
    text = isinstance(node, ast.Call) and isinstance(getattr(node.func, "value", None), ast.Constant)
    return isinstance(node, ast.BinOp) or (formatted and text)


def test_r24_no_statement_is_put_together_from_text() -> None:
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr in {"execute", "executemany", "raw", "extra", "RawSQL"}:
                    assert not _is_built(node.args[0]), f"{path}:{node.lineno}: use psycopg.sql and parameters"
                if node.func.attr in {"order_by", "values", "annotate", "alias", "filter", "exclude"}:
                    spread = [ast.dump(argument) for argument in node.args if isinstance(argument, ast.Starred)]
                    assert not any("request" in each for each in spread), f"{path}:{node.lineno}: use constants"


@pytest.mark.parametrize(
    "injection", ["1' OR '1'='1", "'; DROP TABLE audit_event; --", "1) UNION SELECT 1 --", "%", "\\", "a\x00"]
)
async def test_r24_an_injection_is_a_word_that_nothing_matches(shared: Loot, injection: str) -> None:
    alice, ivan = await signed_in(shared.company.alice), await signed_in(shared.company.ivan)
    status, body = await send(alice, "get", "/d/hr/documents/", {"q": injection, "from": injection})
    assert status == 200
    # a NUL is dropped, and the letter before it stands in many titles
    assert b"Leave" not in body.split(b"<main")[1] or "\x00" in injection
    for route in routes():
        if route.name.endswith("_changelist"):
            filters = [name for name in PAGES[route.page].list_filter if isinstance(name, str)]
            for parameter in (
                "q",
                "o",
                "p",
                "id__exact",
                "department",
                "e",
                *(f"{name}__exact" for name in filters[:2]),
            ):
                status, _ = await send(ivan, "get", route.address({}), {parameter: injection})
                assert status < 500, (route.name, parameter)
    status, _ = await send(AsyncClient(), "post", reverse("account_login"), {"login": injection, "password": injection})
    assert status == 200


async def test_r24_an_address_that_fills_in_what_no_field_holds_opens_an_empty_form(shared: Loot) -> None:
    ivan = await signed_in(shared.company.ivan)
    for page, admin in PAGES.items():
        names = ["nobody", *(field.name for field in admin.model._meta.get_fields())]
        for value in ("../..", "-1", "9" * 30, "2026-02-30", "\x00"):
            asked = urlencode(dict.fromkeys(names, value))
            address = f"/admin/{page.replace('_', '/', 1)}/add/"
            assert (await send(ivan, "get", f"{address}?{asked}"))[0] < 500, (page, value)
            assert (await send(ivan, "post", address, dict.fromkeys(names, value)))[0] < 500, (page, value)


async def test_r28_no_list_tells_letter_by_letter_what_it_does_not_show(shared: Loot) -> None:
    """Else IT could read the hash of a password: ?password__startswith=argon2$… shows the person or does not."""
    ivan = await signed_in(shared.company.ivan)
    refused = set()
    for page, admin in PAGES.items():
        for field in admin.model._meta.fields:
            if page != "audit_auditevent" and field.name not in {"id", *map(str, admin.list_display)}:
                asked = f"/admin/{page.replace('_', '/', 1)}/?{field.name}__startswith=a"
                status, _ = await send(ivan, "get", asked)
                if status == 400:
                    refused.add(f"{page}.{field.name}")
                else:
                    assert field.name in str(admin.list_filter) or status in {302, 403, 404}, (page, field.name, status)
    assert {"accounts_user.password", "departments_department.instructions"} <= refused


async def test_r24_a_row_that_is_none_is_no_choice_in_a_list(shared: Loot) -> None:
    ivan = await signed_in(shared.company.ivan)
    tried = 0
    for page, admin in PAGES.items():
        if not admin.actions:
            continue
        for chosen in ("-1", "9" * 25, "'", "\x00", "[]", "\u202e"):
            sent = {"action": _name_of(admin.actions[0]), "_selected_action": chosen, "index": "0"}
            status, _ = await send(ivan, "post", f"/admin/{page.replace('_', '/', 1)}/", sent)
            assert status == 400, (page, chosen)
            tried += 1
    assert tried


def _name_of(action: Any) -> str:
    return action if isinstance(action, str) else str(action.__name__)


TEMPLATES = ["{{ 1234*5678 }}", "{% debug %}", "{{ settings.SECRET_KEY }}", "${CHATGRID_SECRET_KEY}", "$HOME", "%(x)s",
             "{0.__class__}",
             "#{1234*5678}", "<%= 1234*5678 %>", "{{ ''.__class__.__mro__ }}", "`id`", "$(id)", "%s%s%n"]  # fmt: skip


async def test_r25_braces_come_out_as_typed_and_reach_the_model_as_typed(company: Company, provider: Provider) -> None:
    provider.misbehave(give_key(company.hr), "echo")
    company.hr.instructions = " ".join(TEMPLATES)
    company.hr.save()
    heard = await whole(ask(company, question=f"Look: {' '.join(TEMPLATES)}"))
    # the echo ends where the rules begin to be repeated; what the model was sent is in the provider's books
    assert "49" not in heard
    from departments.prompts.assemble import assemble

    prompt = assemble(
        instructions=" ".join(TEMPLATES), canary="c", passages=(), history=(), question=" ".join(TEMPLATES)
    )
    for text in TEMPLATES:
        assert all(text in message["content"] for message in prompt.messages)


def test_r25_nothing_is_rendered_as_a_template_that_is_not_a_file_of_ours() -> None:
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
            assert name not in {"from_string", "Template", "eval", "exec", "literal_eval", "compile_command"}, path


async def test_r26_a_placeholder_stays_text(loot: Loot, provider: Provider) -> None:
    provider.misbehave(
        give_key(loot.company.hr), "scripted", chunks=["${CHATGRID_SECRET_KEY} $PATH %PATH% {{SECRET_KEY}}"]
    )
    heard = await follow_stream(await signed_in(loot.company.bob), "/d/hr/ask", "${CHATGRID_SECRET_KEY} $PATH")
    assert "${CHATGRID_SECRET_KEY} $PATH %PATH% {{SECRET_KEY}}" in heard
    assert settings.SECRET_KEY not in heard


@pytest.mark.parametrize(
    "text", ["a\nERROR forged line", "a\r\nforged", "\x1b[2J\x1b[31mred", "\u2028forged", "\u202eforged", "a\x85b"]
)
def test_r30_one_record_is_one_line_whatever_it_says(text: str) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(KeyRedactionFilter())
    logger = logging.getLogger("chatgrid.test.attack")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.error("document %s of %s", text, {"person": text})
        logger.error(text)
    finally:
        logger.removeHandler(handler)
    lines = written.getvalue()
    assert lines.count("\n") == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", lines)


def test_r30_every_handler_of_ours_has_the_filter() -> None:
    assert all("redact" in handler["filters"] for handler in settings.LOGGING["handlers"].values())
