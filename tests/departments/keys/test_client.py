"""Which way a call goes: a proxy of the environment is used for TLS, where it sees the host, and for nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import openai
import pytest

from departments.keys import client
from departments.keys.admin_api import AdminApi, AdminUnavailable
from departments.keys.client import Provider as Place
from departments.keys.secret import Secret
from departments.keys.trial import Verdict, look
from departments.models import Department
from tests.company import Company, make_key
from tests.openai_admin import make_admin_key
from tests.provider import Provider

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass
class Proxy:
    """Hears one line of every connection, and hangs up."""

    listening: socket.socket
    heard: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(4096).decode("latin-1"))


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening)
        Thread(target=proxy.serve, daemon=True).start()
        for name in ("NO_PROXY", "no_proxy", *(name.lower() for name in VARIABLES)):
            monkeypatch.delenv(name, raising=False)
        for name in VARIABLES:
            monkeypatch.setenv(name, proxy.address)
        yield proxy
        listening.shutdown(socket.SHUT_RDWR)


def administer(base_url: str, key: Secret, department: Department) -> None:
    with AdminApi(key, base_url) as api:
        api.verify()


def try_out(base_url: str, key: Secret, department: Department) -> None:
    if look(department, key) is Verdict.UNCLEAR:
        raise AdminUnavailable


def call(base_url: str, key: Secret, department: Department) -> None:
    async def models() -> None:
        try:
            await client.client_for(Place("own", "openai", base_url), key).models.list()
        except openai.AuthenticationError:
            pass  # an admin key calls no model; here only the way counts
        finally:
            await client.close()

    asyncio.run(models())


Way = Callable[[str, Secret, Department], None]
ways = pytest.mark.parametrize("way", [administer, try_out, call])


def at(settings: Any, base_url: str) -> str:
    settings.PROVIDERS = {"openai": {"kind": "openai", "base_url": base_url}}
    return base_url


@ways
def test_what_is_not_encrypted_goes_past_every_proxy(
    company: Company, provider: Provider, proxy: Proxy, settings: Any, way: Way
) -> None:
    key = make_admin_key() if way is administer else make_key()
    way(at(settings, f"{provider.address}/v1"), key, company.hr)
    assert proxy.heard == []


@ways
def test_a_proxy_sees_the_host_of_an_encrypted_call_and_no_key(
    company: Company, proxy: Proxy, settings: Any, way: Way
) -> None:
    key = make_key()
    with pytest.raises((openai.APIConnectionError, AdminUnavailable)):
        way(at(settings, "https://openai.example/v1"), key, company.hr)
    assert {line.split("\r\n")[0] for line in proxy.heard} == {"CONNECT openai.example:443 HTTP/1.1"}
    assert key.reveal() not in "".join(proxy.heard)


@ways
def test_no_proxy_is_asked_for_a_host_that_needs_none(
    company: Company, proxy: Proxy, settings: Any, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = at(settings, f"https://127.0.0.1:{nobody.getsockname()[1]}/v1")
        with pytest.raises((openai.APIConnectionError, AdminUnavailable)):
            way(address, make_key(), company.hr)
    assert proxy.heard == []
