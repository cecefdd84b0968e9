"""Clients of the provider: one connection pool per event loop, a cheap copy per call with that department's key.

Rules:
- Key, base URL, organization and project are always passed; what the SDK would read from the environment is refused.
- No retries by the SDK (it retries an exhausted budget too) and no redirects (they would carry the prompt elsewhere).
- Base URLs come from settings only.
- A company's egress proxy (HTTPS_PROXY, ALL_PROXY, NO_PROXY of the environment) is used for TLS, of which it sees the
  host and nothing else. What is not TLS goes straight: production allows that to this machine only.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import httpx2
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

from departments.keys.secret import Secret

# over what the environment says: a proxy would read the key of a request that is not encrypted
NO_PROXY_IN_CLEAR = {"http://": None}

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()
_at: WeakKeyDictionary[AsyncOpenAI, dict[str, AsyncOpenAI]] = WeakKeyDictionary()  # copies of a pool by base URL


@dataclass(frozen=True)
class Provider:
    """A place that answers: `kind` decides which parameters it is sent."""

    name: str
    kind: str  # openai | azure | compatible
    base_url: str


def provider_named(name: str) -> Provider:
    """The provider of this name in settings. Raises KeyError for an unknown one."""
    entry = settings.PROVIDERS[name]
    return Provider(name, entry["kind"], entry["base_url"])


def client_for(provider: Provider, key: Secret) -> AsyncOpenAI:
    """A client of this provider with this key, on the running loop's connections."""
    client = _pool_at(provider.base_url).with_options(api_key=key.reveal())
    # each copy would ask for the operating system's name in a thread, to fill a header that nobody needs
    client._platform = "Unknown"
    return client


async def close() -> None:
    """Close the running loop's connections, if there are any."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()


def _pool() -> AsyncOpenAI:
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        refuse_environment()
        _pools[loop] = AsyncOpenAI(
            api_key="none",  # the SDK refuses an empty one; every call brings its own
            base_url="http://localhost.invalid",
            max_retries=0,
            http_client=DefaultAsyncHttpx2Client(
                follow_redirects=False,
                mounts=NO_PROXY_IN_CLEAR,
                timeout=httpx2.Timeout(connect=5, write=10, pool=5, read=settings.SILENCE_SECONDS),
                limits=httpx2.Limits(max_connections=2000, max_keepalive_connections=100),
            ),
        )
    return _pools[loop]


def _pool_at(base_url: str) -> AsyncOpenAI:
    """The running loop's connections under a base URL, which takes the SDK longer to read than all the rest."""
    known = _at.setdefault(_pool(), {})
    if base_url not in known:
        known[base_url] = _pool().with_options(base_url=base_url)
    return known[base_url]


def refuse_environment() -> None:
    """The SDK adds OPENAI_* variables to every request; one department's traffic could go out under another's name."""
    found = sorted(name for name in os.environ if name.startswith("OPENAI_"))
    if found:
        raise ImproperlyConfigured(
            f"Remove {', '.join(found)} from the environment: keys belong in the secret manager."
        )
