"""Control 2, from the outside: HR's key is planted, everything is used by everybody, and the key is found nowhere.

Searched for in clear, in base64 at each of its three alignments, in hex and reversed; in pages of every route and
role, the console, exports, tasks and their messages, logs, error reports, the databases, files and static files.
"""

from __future__ import annotations

import base64
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.test import AsyncClient, RequestFactory
from django.urls import reverse
from django.utils.log import AdminEmailHandler
from django.views.debug import get_exception_reporter_class, technical_500_response
from kombu.exceptions import EncodeError

from audit.database import conninfo
from chatgrid.celery import app as celery
from chatgrid.console.site import site
from departments.documents.credentials import store_credential
from departments.documents.ingest import ingest_version
from departments.keys import rotation as rotating
from departments.keys.redaction import KeyRedactionFilter
from departments.keys.rotation import By
from departments.keys.secret import Secret
from tests.chatgrid.test_access_matrix import MATRIX, Things, make_things
from tests.company import give_key, make_key, signed_in
from tests.departments.documents.shelf import LEAVE, upload
from tests.provider import Provider

ROOT = Path(__file__).resolve().parents[2]
TABLES = "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'"
PEOPLE = ("alice", "bob", "carol", "dave", "ivan", "ada", "stranger", None)


def traces(key: Secret) -> list[bytes]:
    """Pieces of the key in every form it could leak in; each long enough to be no accident."""
    value = key.reveal().encode()
    plain = [value[at : at + 14] for at in (9, len(value) // 2 - 20, len(value) - 14)]
    found = [*plain, *(piece[::-1] for piece in plain)]
    found += [piece.hex().encode() for piece in plain] + [piece.hex().upper().encode() for piece in plain]
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"x" * shift + value)
            found += [whole[16:34], whole[-40:-8]]
    return found


class Found(AssertionError):
    """The key was found. The message says where, not what."""


def search(place: str, content: bytes | str, key: Secret) -> None:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    for number, trace in enumerate(traces(key)):
        if trace in data:
            raise Found(f"HR's key is in {place} (form {number})")


@pytest.fixture
async def planted(provider: Provider) -> tuple[Things, Secret]:
    """A company in full use, and the key that must not be seen."""
    things, key = await make_things(), make_key()
    give_key(things.company.hr, key)
    version = await upload(things.company.hr, things.company.alice, LEAVE)
    await ingest_version(things.company.hr, version.id)
    return things, key


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, at every level, through the product's filter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(KeyRedactionFilter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def test_the_search_finds_a_key_in_every_form() -> None:
    key = make_key()
    value = key.reveal().encode()
    forms = [value, value[::-1], value.hex().encode(), value.hex().upper().encode()]
    forms += [base64.b64encode(b"y" * before + value + b"z" * 9) for before in range(7)]
    for form in forms:
        with pytest.raises(Found):
            search("here", b"before " + form + b" after", key)
    search("nothing", b"before sk- and after", key)


async def test_no_page_of_any_route_shows_it_to_anybody(
    planted: tuple[Things, Secret], log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    things, key = planted
    for who in PEOPLE:
        client = await client_of(things, who)
        for name, row in MATRIX.items():
            address = reverse(name, args=row.arguments(things))
            for method in ("get", "post"):
                body = {"question": "How much leave do I have?"} if name.startswith("chat:ask") else row.body
                response = await getattr(client, method)(address, body or {})
                search(f"{method} {name} as {who}", await whole(response), key)
                search(f"the headers of {name} as {who}", repr(response.headers), key)
    search("the log", log.getvalue(), key)
    search("the terminal", "".join(capfd.readouterr()), key)


async def test_no_page_of_the_console_shows_it_to_it_or_an_auditor(
    planted: tuple[Things, Secret], log: io.StringIO
) -> None:
    things, key = planted
    for person in (things.company.ivan, things.company.ada):
        client = await signed_in(person)
        for address in console_pages():
            response = await client.get(address, {"q": key.reveal()[:20]} if address.endswith("/") else {})
            search(f"{address} for {person}", without_query(await whole(response), key), key)
    search("the log", log.getvalue(), key)


BUTTONS = [("rotate",), ("emergency",)]  # the acts behind an object


def console_pages() -> list[str]:
    """Every list, form, history and other page of the console, with the newest object of each kind."""
    pages = [reverse("admin:index")]
    for model, admin in site._registry.items():
        prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        newest = model._default_manager.order_by("-pk").first()
        for pattern in admin.get_urls():
            name = f"admin:{pattern.name}" if getattr(pattern, "name", None) else ""
            if not name.startswith(prefix):
                continue
            takes = pattern.pattern.regex.groups
            if not takes:
                pages.append(reverse(name))
            elif newest is not None:
                pages += [reverse(name, args=[newest.pk, *more]) for more in (BUTTONS if takes > 1 else [()])]
    return pages


def without_query(page: bytes, key: Secret) -> bytes:
    """The page without what was searched for: the beginning of the key comes back in the search box."""
    return page.replace(key.reveal()[:20].encode(), b"")


async def test_tasks_and_their_messages_do_not_carry_it(planted: tuple[Things, Secret], log: io.StringIO) -> None:
    things, key = planted
    ivan = By(things.company.ivan.pk, things.company.ivan.name)
    rotating.start_pasted(things.company.hr, make_key(), ivan)
    pasted = make_key()
    rotating.start_pasted(things.company.finance, pasted, ivan)
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    for name in broker.scan_iter():
        kind = broker.type(name).decode()
        content = {"list": lambda n=name: broker.lrange(n, 0, -1), "hash": lambda n=name: broker.hgetall(n),
                   "string": lambda n=name: broker.get(n), "zset": lambda n=name: broker.zrange(n, 0, -1),
                   "set": lambda n=name: broker.smembers(n)}[kind]()  # fmt: skip
        for secret in (key, pasted):
            search(f"the broker's {name!r}", repr(content), secret)
    for task in celery.tasks.values():
        with pytest.raises((TypeError, EncodeError)):
            task.apply_async((key,))
    for secret in (key, pasted):
        search("the log", log.getvalue(), secret)


async def test_no_database_holds_it(planted: tuple[Things, Secret]) -> None:
    things, key = planted
    store = await store_credential(things.company.hr)
    for address in (conninfo(), store.conninfo()):
        with psycopg.connect(address) as held:
            for (table,) in held.execute(TABLES).fetchall():
                rows = held.execute(f"SELECT t::text FROM {table} t").fetchall()
                search(table, "\n".join(text or "" for (text,) in rows), key)


def test_no_file_holds_it(planted: tuple[Things, Secret]) -> None:
    _, key = planted
    for folder in (settings.DATA_FOLDER, ROOT / "static", ROOT / "templates"):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                search(path.name, path.read_bytes(), key)


def fail_with(value: str) -> None:
    held = {"api_key": value, "headers": [("authorization", f"Bearer {value}")]}
    raise RuntimeError(f"the provider said no to {held['api_key']}")


@pytest.mark.parametrize("debug", [True, False])
def test_an_error_report_does_not_show_a_key_in_a_local_variable(debug: bool, settings: Any) -> None:
    settings.DEBUG = debug
    key = make_key()
    request = RequestFactory().post("/", {"key": key.reveal()}, headers={"x-api-key": key.reveal()})
    try:
        fail_with(key.reveal())
    except RuntimeError:
        error = sys.exc_info()
    page = technical_500_response(request, *error)
    search("the debug page", page.content, key)
    reporter = get_exception_reporter_class(request)(request, *error, is_email=True)
    search("the report's text", reporter.get_traceback_text(), key)
    search("the report's page", reporter.get_traceback_html(), key)


def test_a_mail_to_administrators_does_not_show_it(settings: Any, mailoutbox: list[Any]) -> None:
    settings.ADMINS = [("Operator", "operator@platform.example")]
    key = make_key()
    handler = AdminEmailHandler(include_html=True)
    handler.addFilter(KeyRedactionFilter())
    try:
        fail_with(key.reveal())
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, f"failed with {key.reveal()}", None, sys.exc_info())
    handler.handle(record)
    assert mailoutbox
    for mail in mailoutbox:
        search("a mail", repr(mail.message().as_string()) + repr(mail.subject), key)


SPEAKERS = ("uvicorn.access", "uvicorn.error", "uvicorn", "celery.worker", "celery.task", "django.request", "anything")
# as the commands do it: the server sets its own logging up before it loads the product, the worker after it
PROCESSES = f"""
import logging, sys, uvicorn
uvicorn.Config("chatgrid.asgi:application").load()
from chatgrid.celery import app
key = sys.stdin.read()
def speak():
    for name in {SPEAKERS}:
        logging.getLogger(name).warning('%s - "%s %s HTTP/%s" %d', key, "GET", "/?q=" + key, "1.1", 200)
speak()
app.log.setup(loglevel="INFO")
speak()
"""


def test_no_logger_of_a_web_process_or_of_a_worker_has_a_handler_of_its_own() -> None:
    key = make_key()
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES], input=key.reveal(), capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    said = done.stdout + done.stderr
    search("the output of a process", said, key)
    assert said.count("sk-[redacted:") >= 2 * len(SPEAKERS), said


async def client_of(things: Things, who: str | None) -> AsyncClient:
    person = things.person(who)
    client = await signed_in(person) if person else AsyncClient()
    client.raise_request_exception = False
    return client


async def whole(response: Any) -> bytes:
    if not response.streaming:
        return bytes(response.content)
    return b"".join([chunk async for chunk in response.streaming_content])
