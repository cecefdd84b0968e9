"""The headers of every response, on every route, whoever asks and however it ends: exactly these."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import AsyncClient
from django.urls import reverse

from chatgrid.bodies import FORM_BYTES
from chatgrid.middleware import CONTENT_SECURITY_POLICY, HEADERS
from tests.attacks.places import Loot, raw, routes
from tests.company import PASSWORD, Company, signed_in

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; report-uri /csp-report"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
    "x-frame-options": "DENY",
}
# what a response may say besides; a header that is not in one of the lists fails
FURTHER = {"content-type", "content-length", "cache-control", "vary", "location", "allow", "expires", "last-modified",
           "etag",
           "set-cookie", "retry-after", "content-disposition", "x-accel-buffering", "content-language"}  # fmt: skip
SANDBOXED = "default-src 'none'; sandbox"  # the policy of a download


def assert_headers(headers: dict[str, str], where: object) -> None:
    told = {name.lower(): value for name, value in headers.items()}
    policy = told.pop("content-security-policy")
    assert policy in {EXPECTED["content-security-policy"], SANDBOXED}, where
    for name, value in EXPECTED.items():
        if name != "content-security-policy":
            assert told.pop(name, None) == value, (where, name)
    assert set(told) <= FURTHER, (where, set(told) - FURTHER)
    assert "no-store" in told["cache-control"], where


async def test_every_route_has_exactly_these_headers_whoever_asks(shared: Loot) -> None:
    clients = {who: await signed_in(getattr(shared.company, who)) for who in ("bob", "ivan")} | {
        "nobody": AsyncClient()
    }
    for route in routes():
        for who, client in clients.items():
            for method in ("get", "put", "options"):
                response = await getattr(client, method)(route.address(shared.values))
                response.close()
                assert_headers(dict(response.headers), (route.name, who, method, response.status_code))


@pytest.mark.parametrize("path", [b"/nowhere", b"/static/nowhere.js", b"/d/%ff/", b"/accounts/login", b"/c/1/"])
async def test_errors_have_them_too(path: bytes) -> None:
    status, headers, _ = await raw(path, headers=[(b"host", b"localhost")])
    assert status in {301, 302, 404}
    assert_headers(headers, path)


async def test_r31_a_file_of_ours_is_shared_with_no_other_origin() -> None:
    status, headers, _ = await raw(
        b"/static/css/base.css", headers=[(b"host", b"localhost"), (b"origin", b"https://a.b")]
    )
    assert status == 200
    assert [name for name in headers if name.startswith("access-control")] == []
    assert all(headers[name] == value for name, value in EXPECTED.items())


ODD = {
    "a name that is not ours": (b"/", [(b"host", b"evil.example")], 400),
    "a NUL in a header": (b"/", [(b"host", b"localhost"), (b"accept-language", b"en\x00de")], 400),
    "a length that is none": (b"/accounts/login/", [(b"host", b"localhost"), (b"content-length", b"x")], 200),
    "an address without end": (b"/c/" + b"x" * 60_000, [(b"host", b"localhost")], 404),
    "a header without end": (b"/healthz", [(b"host", b"localhost"), (b"x-more", b"x" * 100_000)], 200),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("in_production", [False, True])
async def test_a_request_that_no_page_sees_is_answered_with_them(
    case: str, in_production: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before any view, and in production before the redirect to https, which reads the Host header itself."""
    from chatgrid import asgi

    path, sent, status = ODD[case]
    if in_production:
        settings.SECURE_SSL_REDIRECT = True
        monkeypatch.setattr(asgi, "application", asgi.Handler())
        status = 301 if status != 400 and len(path) < 8_000 else 400  # Django sends nobody to an endless address
    found, headers, body = await raw(path, headers=sent)
    assert found == status, body[:200]
    assert_headers(headers, case)


async def test_a_body_that_is_too_large_is_refused_with_them() -> None:
    sent = [(b"host", b"localhost"), (b"content-type", b"application/x-www-form-urlencoded")]
    status, headers, _ = await raw(b"/csp-report", method="POST", headers=sent, body=b"a=" + b"x" * 1_100_000)
    assert status == 400
    assert_headers(headers, "too large")


async def test_a_body_that_never_ends_is_refused_with_them() -> None:
    sent = [(b"host", b"localhost"), (b"content-type", b"text/plain")]
    status, headers, _ = await raw(b"/nowhere", method="POST", headers=sent, body=bytes(FORM_BYTES + 1))
    assert status == 413
    assert_headers(headers, "without end")


async def test_a_form_from_elsewhere_is_refused_with_them(shared: Loot) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    await client.aforce_login(shared.company.bob)
    response = await client.post("/d/hr/ask", {"question": "x"})
    assert response.status_code == 403
    assert_headers(dict(response.headers), "refused")


def test_the_policy_names_no_other_place_and_no_way_around_it() -> None:
    assert EXPECTED["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert HEADERS["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    for weak in ("unsafe", "data:", "blob:", "http", "*", "nonce-", "strict-dynamic"):
        assert weak not in CONTENT_SECURITY_POLICY


async def test_cookies_are_for_this_site_and_no_script(company: Company) -> None:
    client = AsyncClient()
    await client.get(reverse("account_login"))
    response = await client.post(reverse("account_login"), {"login": company.bob.email, "password": PASSWORD})
    assert response.status_code == 302
    assert set(client.cookies) >= {"chatgrid_session", "chatgrid_csrf"}
    for cookie in client.cookies.values():
        if cookie.value:
            assert cookie["httponly"], cookie
            assert cookie["samesite"] == "Lax", cookie
            assert cookie["domain"] == "", cookie
            assert cookie["path"] == "/", cookie


async def test_a_session_ends_after_a_working_day(company: Company) -> None:
    """Its end is set when it begins, and using it does not move it."""
    client = await signed_in(company.bob)
    begun = datetime.now(UTC)
    for after, status in ((timedelta(hours=11, minutes=50), 200), (timedelta(hours=12, minutes=1), 302)):
        with time_machine.travel(begun + after, tick=False):
            assert (await client.get("/d/hr/")).status_code == status


PRODUCTION = """
import django; django.setup()
from django.conf import settings as s
assert s.SESSION_COOKIE_NAME == "__Host-session" and s.CSRF_COOKIE_NAME == "__Host-csrf"
assert s.SESSION_COOKIE_SECURE and s.CSRF_COOKIE_SECURE and s.SESSION_COOKIE_HTTPONLY and s.CSRF_COOKIE_HTTPONLY
assert s.SESSION_COOKIE_SAMESITE == s.CSRF_COOKIE_SAMESITE == "Lax"
assert s.SESSION_COOKIE_DOMAIN is None and s.CSRF_COOKIE_DOMAIN is None and s.SESSION_COOKIE_PATH == "/"
assert s.SECURE_HSTS_SECONDS >= 31536000 and s.SECURE_HSTS_INCLUDE_SUBDOMAINS and s.SECURE_SSL_REDIRECT
assert not s.DEBUG and not s.USE_X_FORWARDED_HOST and "chatgrid.dev" not in s.INSTALLED_APPS
"""


def test_in_production_cookies_and_transport_are_closed(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "chatgrid.settings",
        "CHATGRID_ENVIRONMENT": "production",
        "CHATGRID_SECRET_KEY": secrets.token_urlsafe(60),
        "CHATGRID_DATA": str(tmp_path),
        "CHATGRID_DATABASE_URL": "postgresql://somebody@localhost/nothing",
        "CHATGRID_REDIS_URL": "redis://localhost/0",
        "CHATGRID_ALLOWED_HOSTS": "chat.example",
    }
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTION], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


LOADS = re.compile(
    r"""(?:src|srcset|href|action|poster|data)\s*=\s*["']?\s*(?:https?:)?//|@import\s+(?:url\()?["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//"""
)
SCRIPTED = re.compile(
    r"""<script(?![^>]*\bsrc=)(?![^>]*application/json)|\son[a-z]+\s*=\s*["']|\sstyle\s*=|<style|javascript:"""
)


@pytest.mark.parametrize("pattern", [LOADS, SCRIPTED], ids=["loads from elsewhere", "runs inline"])
def test_no_template_or_stylesheet_of_ours_does_it(pattern: re.Pattern[str]) -> None:
    files = [path for kind in ("*.html", "*.txt") for path in (ROOT / "templates").rglob(kind)]
    files += list((ROOT / "static" / "css").rglob("*.css")) if pattern is LOADS else []
    assert len(files) > 40
    for path in files:
        assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_no_script_of_ours_fetches_from_elsewhere_or_makes_code_of_text() -> None:
    for path in (ROOT / "static" / "js").rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|\beval\(|new Function|document\.write|insertAdjacentHTML|outerHTML", text), (
            path
        )
        assert text.count(".innerHTML") <= 4, f"{path}: whole blocks of the server only"
