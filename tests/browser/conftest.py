"""A running site and a real browser for the tests in this folder. Nothing is patched: it is what people get."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect, sync_playwright

from chatgrid.dev.services.ports import pick
from tests.company import PASSWORD, Company, give_key, give_store, make_company, make_key, set_limit
from tests.provider import Provider

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# colours fade from one theme to the other; two frames, until the browser has begun to
FADED = """async () => {
  for (const _ of [1, 2]) await new Promise(requestAnimationFrame);
  await Promise.all(document.getAnimations().map((each) => each.finished.catch(() => null)));
}"""

expect.set_options(timeout=30_000)  # milliseconds; a machine that does much else at once is no fault of a page


def chromium() -> str:
    """The browser of this machine; skips with the way to get one."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and MAC.exists():
        found = str(MAC)
    if found is None:
        pytest.skip("no Chromium: `make browser` installs it on Debian, or set CHROMIUM to its path")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class Site:
    """A web process and a worker, as `make run` starts them."""

    address: str


@pytest.fixture(scope="package")
def site(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ended with this folder: its worker would read the documents of other tests."""
    cache.clear()  # other tests have signed in, and failed to, from this address many times
    port = pick()
    logs = tmp_path_factory.mktemp("site")
    web = [sys.executable, "-m", "uvicorn", "chatgrid.asgi:application", "--port", str(port), "--log-level", "warning"]
    worker = [sys.executable, "-m", "celery", "-A", "chatgrid", "worker", "--concurrency", "1", "--loglevel", "info"]
    with (logs / "web").open("wb") as web_log, (logs / "worker").open("wb") as worker_log:
        started = [
            subprocess.Popen(web, cwd=ROOT, stderr=web_log, stdout=web_log),
            subprocess.Popen(worker, cwd=ROOT, stderr=worker_log, stdout=worker_log),
        ]
        try:
            _wait_for(f"http://localhost:{port}/healthz", started[0], logs / "web")
            yield Site(f"http://localhost:{port}")
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(timeout=30)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            if httpx2.get(address).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the site did not answer in 60 s:\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ended with each file: as long as it lives, its event loop runs in this thread and no asynchronous test can."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield started
        started.close()


@pytest.fixture
def office(provider: Provider) -> Company:
    """A company whose HR has its own key and store, and a budget to look at."""
    company = make_company()
    give_key(company.hr, make_key())
    give_store(company.hr)
    set_limit(company, person_tokens_per_day=200_000)
    return company


@dataclass(frozen=True)
class Visitor:
    """A page with what went wrong on it: console errors, policy violations, requests to other places."""

    page: Page
    wrongs: list[str]


@pytest.fixture
def visitor(browser: Browser, site: Site) -> Iterator[Visitor]:
    context = browser.new_context(base_url=site.address, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    wrongs: list[str] = []
    page.on("console", lambda message: wrongs.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrongs.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(site.address) else wrongs.append(request.url))
    yield Visitor(page, wrongs)
    context.close()


def sign_in(page: Page, email: str) -> None:
    page.goto("/")
    page.locator("input[type=email]").fill(email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/d/**")
