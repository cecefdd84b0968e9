"""The texts of a folder (see tests/bench/injection.py) in every place where ChatGrid shows text, in a real browser."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.bench.injection import FOLDER
from tests.browser.conftest import Visitor, browser, office, sign_in, site, visitor  # noqa: F401 - fixtures
from tests.browser.hostile import look, places, poison, wrongs_here
from tests.company import Company, give_key
from tests.provider import Provider

pytestmark = pytest.mark.timeout(3600)


def texts_of(name: str) -> list[str]:
    folder = os.environ.get(FOLDER)
    if not folder:
        pytest.skip(f"set {FOLDER}, or run: python -m tests.bench.injection FOLDER")
    path = Path(folder) / name
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def test_every_text_in_every_place(visitor: Visitor, office: Company) -> None:  # noqa: F811
    texts = texts_of("render_payloads.jsonl") + texts_of("invisible_text.jsonl")
    looked_at: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for place, wrongs in look(visitor, places(poison(office, texts))):
        looked_at[place.name] += 1
        if wrongs:
            wrong[place.address] = wrongs
    print(f"\nIn a browser: {len(texts)} texts, {sum(looked_at.values())} pages, {len(wrong)} with something wrong")
    for name, pages in looked_at.items():
        print(f"  {pages:5}  {name}")
    assert wrong == {}


def test_every_text_as_a_streamed_answer(visitor: Visitor, office: Company, provider: Provider) -> None:  # noqa: F811
    texts = texts_of("render_payloads.jsonl") + texts_of("invisible_text.jsonl")
    page, key = visitor.page, give_key(office.hr)
    sign_in(page, office.alice.email)
    wrong: dict[str, Any] = {}
    for text in texts:
        pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
        page.goto("/d/hr/")
        provider.misbehave(
            key, "scripted", times=1, chunks=[piece.encode("utf-8", "replace").decode() for piece in pieces]
        )
        page.get_by_role("textbox").last.fill("What is there?")
        page.keyboard.press("Enter")
        expect(page.locator("article.message-assistant[data-state=complete]")).to_have_count(1, timeout=20_000)
        if wrongs := wrongs_here(visitor):
            wrong[text] = wrongs
    print(f"\nStreamed: {len(texts)} answers, {len(wrong)} with something wrong")
    assert wrong == {}
