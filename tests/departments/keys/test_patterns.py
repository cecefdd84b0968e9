"""What is taken for a key, and what a person may paste."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from departments.keys import patterns
from departments.keys.patterns import REDACT, STRICT, KeyRefused, contains_key, validate_pasted_key

KINDS = ["proj", "svcacct", "service", "admin", "None", ""]
AROUND = [
    '"{}"',
    "Bearer {}",
    "{},",
    "[{}]",
    "key={}&x=1",
    "{}.",
    "\n{}\n",
    "https://host/?k={}",
    "_{}",
    "--{}",
    "({})",
]
LOOK_ALIKES = [
    "sk-folding-cube sk-circle-fade-dot__inner",
    "task-force-of-the-whole-company-and-its-partners",
    "risk-assessment_2026_final_version_approved_by_all",
    "sk-learn",
    "sk-",
    "disk-0123456789012345678901234567890123456789",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", [STRICT, REDACT], ids=["strict", "redact"])
def test_it_finds_the_whole_key(make_key, kind: str, around: str, pattern: re.Pattern[str]) -> None:
    for half in (58, 74):
        key = make_key(kind, half)
        assert pattern.search(around.format(key))[0] == key


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_the_strict_pattern_leaves_look_alikes(text: str) -> None:
    assert not contains_key(text)


HOSTILE = {
    "starts": "sk-" * 60_000,
    "starts with kinds": "-sk-proj" * 25_000,
    "marks": "sk-" + patterns._MARK * 20_000,
    "starts and marks": ("sk-aaaaaaaaaa" + patterns._MARK) * 8_000 + "!",
    "one long word": "sk-" + "a" * 180_000,
    "short words": "sk-aaaaaaaaa " * 15_000,
}


@pytest.mark.parametrize("pattern", [STRICT, REDACT], ids=["strict", "redact"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_time_grows_with_the_length_only(text: str, pattern: re.Pattern[str]) -> None:
    started = time.process_time()
    list(pattern.finditer(text))
    assert time.process_time() - started < 1.5, "a quadratic pattern needs minutes for these 180,000 characters"


def test_the_sources_hold_no_key_themselves() -> None:
    for path in Path(patterns.__file__).parent.rglob("*.py"):
        assert not contains_key(path.read_text()), path.name


@pytest.mark.parametrize("kind", ["proj", "svcacct", "service", "None", ""])
def test_a_pasted_key_is_taken_without_the_space_around_it(make_key, kind: str) -> None:
    key = make_key(kind)
    for pasted in (
        key,
        f"  {key}\r\n",
        f"\ufeff{key}\u200b",
        f"\u00a0\t{key}\n\n",
        f"\ufeff \u202a\u200b{key} \u200e\n",
    ):
        assert validate_pasted_key(pasted, "openai").reveal() == key


def _refusal(text: str, provider_kind: str) -> str:
    with pytest.raises(KeyRefused) as refused:
        validate_pasted_key(text, provider_kind)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    if len(text.strip()) > 12:
        assert text.strip() not in sentence
        assert text.strip()[-8:] not in sentence
    return sentence


@pytest.mark.parametrize("provider_kind", ["openai", "azure", "compatible"])
def test_it_refuses_nothing_pieces_and_admin_keys_for_every_provider(make_key, provider_kind: str) -> None:
    key = make_key()
    for empty in ("", "   \n", "\u200b"):
        assert "empty" in _refusal(empty, provider_kind)
    for broken in (key[:40] + "\n" + key[40:], f"Bearer {key}", key[:40] + " " + key[40:]):
        assert "space" in _refusal(broken, provider_kind)
    assert "admin key" in _refusal(make_key("admin"), provider_kind)
    assert "admin key" in _refusal(make_key("admin").replace("sk-", "SK-", 1), provider_kind)


@pytest.mark.parametrize(
    ("beginning", "vendor"),
    [("sk-ant-api03-", "Anthropic"), ("sk-or-v1-", "OpenRouter"), ("gsk_", "Groq"), ("AIza", "Google")],
)
def test_it_names_the_vendor_of_a_key_in_the_wrong_field(beginning: str, vendor: str) -> None:
    key = beginning + "Zz9" * 20
    assert vendor in _refusal(key, "openai")
    assert vendor in _refusal(key, "azure")
    assert validate_pasted_key(key, "compatible").reveal() == key


def test_it_refuses_what_is_no_openai_key(make_key) -> None:
    key = make_key()
    for text in (
        "hello",
        "sk-short",
        f'"{key}"',
        f"OPENAI_API_KEY={key}",
        key + "é",
        key[3:],
        key + "x" * 1000,
        "0" * 32,
    ):
        assert "does not look like an OpenAI key" in _refusal(text, "openai")


def test_it_keeps_an_openai_key_away_from_azure(make_key) -> None:
    assert "key of OpenAI" in _refusal(make_key(), "azure")
    for key in ("0123456789abcdef" * 2, "Az09" * 21):
        assert validate_pasted_key(key, "azure").reveal() == key
    assert "does not look like an Azure key" in _refusal("too-short", "azure")


def test_a_compatible_server_may_use_any_key_that_fits_a_header(make_key) -> None:
    for key in ("x", "local-dev!{}", make_key(), "k" * 4096):
        assert validate_pasted_key(key, "compatible").reveal() == key
    for text in ("k" * 4097, "schlüssel", "a\x00b", "a\x7f"):
        assert "ASCII" in _refusal(text, "compatible")


def test_an_unknown_provider_kind_is_the_programmers_error() -> None:
    with pytest.raises(ValueError, match="openai, azure, compatible"):
        validate_pasted_key("x", "mainframe")
