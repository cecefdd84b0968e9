"""R12 to R15: signing in, passwords, who exists, and what a mere link may do."""

from __future__ import annotations

import ast
import asyncio
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.forms import default_token_generator
from django.core import mail
from django.core.cache import cache
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection
from django.test import AsyncClient, RequestFactory, override_settings
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent
from departments.http import client_address
from departments.models import Organization, SecondFactor
from tests.attacks.places import CSRF, Loot, product_routes, routes, send
from tests.chatgrid.test_access_matrix import MATRIX
from tests.company import PASSWORD, Company, freshly_signed_in, signed_in

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [path for folder in ("chatgrid", "departments", "audit") for path in (ROOT / folder).rglob("*.py")]
# path -> why its random numbers need not be secret
MAY_BE_RANDOM = {
    "chatgrid/dev/": "stand-ins of a laptop: made-up answers and their times",
    "departments/keys/vaults/labelled.py": "spreads the tries of several writers",
}


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
        (2, "203.0.113.9", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, "[2001:db8::7]:4711", "2001:db8::7"),
        (1, "2001:db8::7", "2001:db8::7"),
    ],
)
def test_r12_an_address_is_what_our_own_proxies_saw(trusted: int, forwarded: str, seen: str) -> None:
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded} if forwarded else {})
    with override_settings(TRUSTED_PROXIES=trusted):
        assert client_address(request) == seen


async def test_r12_a_stranger_who_guesses_behind_our_proxy_locks_nobody_else_out(company: Company) -> None:
    """The limits of the sign-in count browsers, not the proxy that all of them come through."""
    cache.clear()

    async def sign_in_from(address: str, login: str, password: str) -> int:
        form = {"login": login, "password": password}
        forwarded = {"X-Forwarded-For": f"192.0.2.77, {address}"}  # the first entry is what the browser claims
        return (await AsyncClient().post(reverse("account_login"), form, headers=forwarded)).status_code

    with override_settings(TRUSTED_PROXIES=1):
        for number in range(12):
            await sign_in_from("203.0.113.9", f"nobody-{number}@nowhere.example", "wrong")
        assert await sign_in_from("203.0.113.9", company.bob.email, PASSWORD) == 200, "the guesser is stopped"
        assert await sign_in_from("198.51.100.1", company.bob.email, PASSWORD) == 302
    cache.clear()


def test_r12_no_other_company_s_sign_in_can_take_over_an_account() -> None:
    """No sign-in by a third party is offered yet. When one is: issuer and subject, never the e-mail address."""
    assert not any(app.startswith("allauth.socialaccount") for app in settings.INSTALLED_APPS)
    assert tuple(map(int, version("django-allauth").split("."))) >= (65, 16, 1)
    assert not [route.name for route in routes() if "social" in route.name or "oauth" in route.name]


async def test_r13_a_reset_link_works_once_and_never_for_another_person(company: Company) -> None:
    mail.outbox.clear()
    cache.clear()
    await AsyncClient().post(reverse("account_reset_password"), {"email": company.bob.email})
    link = re.search(r"http://testserver(\S+)", mail.outbox[0].body)
    assert link
    chosen = {"password1": "another fine phrase", "password2": "another fine phrase"}
    browser = AsyncClient()
    page = await browser.get(link.group(1), follow=True)
    await browser.post(page.request["path"], chosen)
    assert b"password1" not in (await AsyncClient().get(link.group(1), follow=True)).content
    key = default_token_generator.make_token(company.bob)
    foreign = link.group(1).replace(link.group(1).rsplit("-", 1)[1], f"{key}/")
    assert b"password1" not in (await AsyncClient().get(foreign, follow=True)).content


async def test_r13_guessing_is_limited(company: Company) -> None:
    cache.clear()
    client = AsyncClient()
    wrong = {"login": company.bob.email, "password": "wrong"}
    for _ in range(6):
        page = await client.post(reverse("account_login"), wrong)
    assert b"Too many" in page.content
    right = {"login": company.bob.email, "password": PASSWORD}
    assert (await client.post(reverse("account_login"), right)).status_code == 200, "not even with the right one"
    statuses = []
    for _ in range(8):
        response = await client.post(reverse("account_reset_password"), {"email": company.carol.email})
        statuses.append(response.status_code)
    assert 429 in statuses
    cache.clear()


async def test_r13_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in(company: Company) -> None:
    browser = await signed_in(company.carol)
    planted = browser.cookies[settings.SESSION_COOKIE_NAME].value
    await browser.post(reverse("account_logout"))
    victim = AsyncClient()
    victim.cookies[settings.SESSION_COOKIE_NAME] = planted
    await victim.get(reverse("account_login"))
    entered = await victim.post(reverse("account_login"), {"login": company.bob.email, "password": PASSWORD})
    assert entered.status_code == 302
    assert victim.cookies[settings.SESSION_COOKIE_NAME].value != planted
    attacker = AsyncClient()
    attacker.cookies[settings.SESSION_COOKIE_NAME] = planted
    assert (await attacker.get(reverse("home"))).url.startswith(reverse("account_login"))


def test_r13_no_security_code_uses_weak_random_numbers() -> None:
    for path in PRODUCT:
        if any(path.relative_to(ROOT).as_posix().startswith(start) for start in MAY_BE_RANDOM):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert "random" not in {alias.name for alias in node.names}, f"{path}: use the secrets module"
            if isinstance(node, ast.ImportFrom):
                assert node.module != "random", f"{path}: use the secrets module"


def test_r13_no_exception_is_dead() -> None:
    assert all((ROOT / start).exists() for start in MAY_BE_RANDOM)


async def test_r14_known_and_unknown_addresses_cannot_be_told_apart(company: Company) -> None:
    def neutral(body: bytes, email: str) -> str:
        without_token = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", body.decode())
        return without_token.replace(email, "")

    cache.clear()
    mail.outbox.clear()
    answers: dict[str, list[Any]] = {}
    for email in (company.bob.email, "nobody@nowhere.example"):
        for name, form in (
            ("account_login", {"login": email, "password": "wrong"}),
            ("account_reset_password", {"email": email}),
        ):
            status, body = await send(AsyncClient(), "post", reverse(name), form)
            answers.setdefault(name, []).append((status, neutral(body, email)))
    for name, (known, unknown) in answers.items():
        assert known == unknown, name
    assert [letter.to for letter in mail.outbox] == [[company.bob.email]], "no letter to a stranger"


class Broken(BaseEmailBackend):
    """A mail server that is away."""

    def send_messages(self, email_messages: Any) -> int:
        raise ConnectionRefusedError


async def test_r14_a_mail_server_that_is_away_tells_nobody_who_has_an_account(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    cache.clear()
    with override_settings(EMAIL_BACKEND=f"{__name__}.{Broken.__name__}"):
        answers = [
            await send(AsyncClient(), "post", reverse("account_reset_password"), {"email": email})
            for email in (company.bob.email, "nobody@nowhere.example")
        ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 302
    assert f"password link of person {company.bob.pk} not sent" in caplog.text
    assert company.bob.email not in caplog.text


async def test_r14_nobody_waits_longer_for_an_address_that_is_known(company: Company) -> None:
    """The letter goes out when the whole answer has: how long a mail server takes is not in the time of the answer."""
    from chatgrid.asgi import application

    cache.clear()
    mail.outbox.clear()
    sent: list[tuple[str, int]] = []
    body = f"email={company.bob.email.replace('@', '%40')}&csrfmiddlewaretoken={CSRF}".encode()
    headers = {"host": "localhost", "cookie": f"chatgrid_csrf={CSRF}", "origin": "http://localhost",
               "content-type": "application/x-www-form-urlencoded"}  # fmt: skip
    path = reverse("account_reset_password")
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "server": ("127.0.0.1", 80),
             "client": ("127.0.0.1", 1), "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}  # fmt: skip
    waiting = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else await asyncio.Event().wait()  # type: ignore[return-value]

    async def note(message: Any) -> None:
        sent.append((message["type"], len(mail.outbox)))

    await application(scope, receive, note)
    assert sent[-1] == ("http.response.body", 0)
    assert [letter.to for letter in mail.outbox] == [[company.bob.email]]


def rows() -> dict[str, int]:
    """How many rows each table has, and a digest of them: what a GET must leave alone."""
    found = {}
    for model in apps.get_models():
        if model._meta.label in {"audit.AuditEvent", "sessions.Session"} or model._meta.app_label == "audit":
            continue
        table = connection.ops.quote_name(model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT coalesce(sum(hashtext({table}::text)::bigint), 0), count(*) FROM {table}")
            found[model._meta.label] = cursor.fetchone()
    return found


async def test_r15_no_get_changes_anything(loot: Loot) -> None:
    """Every route, as everybody who may open it; what is written is the record of a download and nothing else."""
    clients = [await signed_in(person) for person in (loot.company.alice, loot.company.ivan)]
    before = rows()
    recorded = set(AuditEvent.objects.values_list("id", flat=True))
    for client in (*clients, AsyncClient()):
        for route in routes():
            await send(client, "get", route.address(loot.values))
            await send(client, "head", route.address(loot.values))
    new = AuditEvent.objects.exclude(id__in=recorded).values_list("event", flat=True)
    assert set(new) <= {Event.DOCUMENT_DOWNLOADED, Event.SECRET_READ}
    assert rows() == before


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\\\evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "\t//evil.example",
]


@pytest.mark.parametrize("address", ELSEWHERE)
async def test_r15_a_link_to_a_page_of_the_account_never_leads_elsewhere(company: Company, address: str) -> None:
    """Signed out, signed in and renewing: the page that follows is ours, whatever the link said."""
    who = {"login": company.bob.email, "password": PASSWORD}
    stranger, member = AsyncClient(), await signed_in(company.bob)
    answers = [
        await stranger.post(reverse("account_login"), {**who, "next": address}),
        await member.get(reverse("account_login"), {"next": address}),
        await member.post(reverse("account_reauthenticate"), {"password": PASSWORD, "next": address}),
        await member.post(reverse("account_logout"), {"next": address}),
    ]
    assert [answer.status_code for answer in answers] == [302] * 4
    assert [answer.url for answer in answers if "evil" in answer.url or "script" in answer.url] == []


async def test_r15_no_page_of_a_role_opens_without_the_second_factor_that_is_asked_for(shared: Loot) -> None:
    """Every route that a plain member gets nothing of: closed to the admin, to IT and to the auditor alike."""
    company = shared.company
    Organization.objects.filter(pk=company.organization.pk).update(second_factor=SecondFactor.PRIVILEGED)
    clients = {who: await freshly_signed_in(getattr(company, who)) for who in ("alice", "ivan", "ada")}
    closed = 0
    for route in routes():
        row = MATRIX.get(route.name)
        if route.name == "export_record" or (route.name.startswith("admin:") and route.name != "admin:login"):
            whose, method = ("ivan", "ada"), "get"
        elif row and row.expected.get("bob") == 403:
            whose, method = ("alice",), row.method
        else:
            continue
        for who in whose:
            status, _ = await send(clients[who], method, route.address(shared.values), row.body if row else None)
            assert status in {403, 405}, (route.name, who, status)
            closed += status == 403
    Organization.objects.filter(pk=company.organization.pk).update(second_factor=SecondFactor.OFF)
    assert closed > 100


async def test_r15_a_script_that_is_signed_out_learns_nothing(loot: Loot) -> None:
    for route in product_routes():
        status, body = await send(AsyncClient(), "get", route.address(loot.values))
        assert status in {302, 405}
        assert b"Eleven crowns" not in body
