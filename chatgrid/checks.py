"""System checks: settings under which ChatGrid must not run, each with a stable id and the next step.

Rules:
- What is only unfit for production is an error there and nothing elsewhere; what is never right is an error everywhere.
- Django compares its own middleware by name and does not know our subclasses: E008 looks at what they are instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.module_loading import import_string

SHORTEST_SECRET_KEY = 50
FEWEST_DIFFERENT_CHARACTERS = 10
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EXAMPLE_WORDS = ("example", "change", "insecure", "secret-key", "your-")


def connect() -> None:
    """Called once, when the app is ready."""
    for check in EVERYWHERE:
        register(_everywhere(check), Tags.security)
    for check in IN_PRODUCTION:
        register(_in_production(check), Tags.security)


def local_vault() -> Iterator[Error]:
    if settings.VAULT == "local":
        yield _error("E001", "Keys would lie in a file on this machine.", "Set CHATGRID_VAULT=aws.")


def provider_environment() -> Iterator[Error]:
    found = sorted(name for name in os.environ if name.startswith("OPENAI_"))
    if found:
        hint = "Remove them: keys belong in the secret manager, and the SDK would add these to every request."
        yield _error("E002", f"{', '.join(found)} in the environment.", hint)


def simulated() -> Iterator[Error]:
    if settings.SIMULATED:
        yield _error("E003", "Answers would come from the simulator.", "Unset CHATGRID_SIMULATED.")


def secret_key() -> Iterator[Error]:
    key = settings.SECRET_KEY
    looks_like_example = any(word in key.lower() for word in EXAMPLE_WORDS)
    if looks_like_example or len(key) < SHORTEST_SECRET_KEY or len(set(key)) < FEWEST_DIFFERENT_CHARACTERS:
        hint = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(60))'"
        yield _error("E004", "CHATGRID_SECRET_KEY is an example or too short to sign sessions.", hint)


def debug() -> Iterator[Error]:
    if settings.DEBUG:
        yield _error("E005", "DEBUG shows settings and variables to anybody who meets an error.", "Set it to False.")


def provider_addresses() -> Iterator[Error]:
    for name, provider in settings.PROVIDERS.items():
        parts = urlsplit(provider.get("base_url", ""))
        if parts.scheme != "https" and not _is_loopback(parts.hostname):
            hint = "Use an https:// address in CHATGRID_PROVIDERS or CHATGRID_OPENAI_BASE_URL."
            yield _error("E006", f"Keys and questions would go to provider {name} in clear.", hint)


def allowed_hosts() -> Iterator[Error]:
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        hint = "Set CHATGRID_ALLOWED_HOSTS to the names under which people reach ChatGrid."
        yield _error("E007", "Any name in the Host header, or none at all, would be answered.", hint)


def middleware() -> Iterator[Error]:
    present = [import_string(path) for path in settings.MIDDLEWARE]
    for needed in (SecurityMiddleware, CsrfViewMiddleware):
        if not any(isinstance(entry, type) and issubclass(entry, needed) for entry in present):
            hint = "Put the class from chatgrid.middleware back into MIDDLEWARE."
            yield _error("E008", f"Nothing in MIDDLEWARE is a {needed.__name__}.", hint)


def proxies() -> Iterator[Error]:
    """Where the environment names another kind, the SDK makes no client, not even for what needs no proxy."""
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        address = os.environ.get(name, "")
        scheme = urlsplit(address if "://" in address else f"http://{address}").scheme
        if scheme not in {"http", "https"}:
            hint = "Name an HTTP proxy there, or remove the variable from the environment of ChatGrid."
            yield _error("E009", f"{name} names a proxy of the kind {scheme}, so no call can be made.", hint)


Check = Callable[[], Iterator[Error]]
EVERYWHERE: tuple[Check, ...] = (provider_environment, debug, middleware, proxies)
IN_PRODUCTION: tuple[Check, ...] = (local_vault, simulated, secret_key, provider_addresses, allowed_hosts)


def _everywhere(check: Check) -> Callable[..., list[CheckMessage]]:
    def run(app_configs: Any, **_: Any) -> list[CheckMessage]:
        return list(check())

    return run


def _in_production(check: Check) -> Callable[..., list[CheckMessage]]:
    def run(app_configs: Any, **_: Any) -> list[CheckMessage]:
        return list(check()) if settings.PRODUCTION else []

    return run


def _error(number: str, sentence: str, hint: str) -> Error:
    return Error(sentence, hint=hint, id=f"chatgrid.{number}")


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
