"""What keys look like, and which pasted text is taken for one.

Rules:
- STRICT finds keys of OpenAI and next to nothing else: for gates (repository, built assets, answers, prompts).
- REDACT may over-match: for logs and error reports, where a lost word costs less than a kept key.
- Every quantifier that can fail late is bounded, so that the time grows with the length of the text and no faster,
  whatever an attacker writes.
- A refusal never repeats what was pasted.

Shapes after the public rules of gitleaks and trufflehog, measured on 4,000 made-up keys in eight contexts.
"""

from __future__ import annotations

import re

from django.views.decorators.debug import sensitive_variables

from departments.keys.secret import Secret

_MARK = "T3BlbkFJ"  # "OpenAI" in base64; every key issued so far carries it in the middle
_KINDS_OF_KEY = "proj|svcacct|service|admin|None"
_BODY = "[A-Za-z0-9_-]"
# A key is at most 167 characters. Without the upper bound, "sk-" repeated n times costs n² steps.
_FRONT = _BODY + "{10,200}"

STRICT = re.compile(rf"(?<![A-Za-z0-9])sk-(?:{_FRONT}{_MARK}{_BODY}{{10,}}|(?:{_KINDS_OF_KEY})-{_BODY}{{40,}})")
REDACT = re.compile(rf"(?<![A-Za-z0-9])sk-{_BODY}{{16,}}")

_OPENAI_KEY = re.compile(
    rf"sk-(?:(?:proj|svcacct|service|None)-{_BODY}{{20,300}}"
    rf"|[A-Za-z0-9_-]{{0,150}}{_MARK}{_BODY}{{16,150}}"
    r"|[A-Za-z0-9]{40,100})"
)
_AZURE_KEY = re.compile(r"[A-Za-z0-9]{32,128}")
_COMPATIBLE_KEY = re.compile(r"[!-~]{1,4096}")

# The beginning of other vendors' keys, so that the refusal can name the likely mistake.
_OTHER_VENDORS = {
    "sk-ant-": "Anthropic",
    "sk-or-": "OpenRouter",
    "gsk_": "Groq",
    "xai-": "xAI",
    "pplx-": "Perplexity",
    "hf_": "Hugging Face",
    "AIza": "Google",
    "AKIA": "AWS",
    "ASIA": "AWS",
    "ghp_": "GitHub",
    "github_pat_": "GitHub",
}
# str.strip() leaves these, and copying from a web page, a chat or a dialog of Windows brings them along.
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_AROUND = _INVISIBLE + "".join(filter(str.isspace, map(chr, range(0x3001))))  # no white space comes after U+3000


_ADMIN_KEY = re.compile(r"sk-admin-[A-Za-z0-9_-]{20,300}")


class KeyRefused(ValueError):
    """The pasted text is not taken as a key. Its message is a sentence for the person; it never holds the text."""


def contains_key(text: str) -> bool:
    """True if the text holds an OpenAI key in clear. For gates; linear in the length of the text."""
    return "sk-" in text and STRICT.search(text) is not None


@sensitive_variables()
def validate_pasted_key(text: str, provider_kind: str) -> Secret:
    """The key a person pasted, without the white space around it, or KeyRefused with a sentence for that person.

    `provider_kind` is openai, azure or compatible. Whether the key works is for the provider to say; here is only
    refused what cannot be meant: nothing, more than the key, an admin key, another vendor's key.
    """
    if provider_kind not in _RULES:
        raise ValueError(f"Unknown provider kind {provider_kind!r}; use one of {', '.join(_RULES)}.")
    key = _stripped(text)
    _require_one_word(key)
    _require_no_admin_key(key)
    _RULES[provider_kind](key)
    return Secret(key)


@sensitive_variables()
def validate_admin_key(text: str) -> Secret:
    """The same for an organization's admin key, which is none of a project's."""
    key = _stripped(text)
    _require_one_word(key)
    if not _ADMIN_KEY.fullmatch(key):
        raise KeyRefused("This is no admin key of OpenAI. It begins with sk-admin- and is copied without quotes.")
    return Secret(key)


def _stripped(text: str) -> str:
    return text.strip(_AROUND)


def _require_one_word(key: str) -> None:
    if not key:
        raise KeyRefused("The field is empty. Paste the key.")
    if any(character.isspace() for character in key):
        raise KeyRefused("There is a space or a line break inside. Copy the key again, alone and in one piece.")


def _require_no_admin_key(key: str) -> None:
    # An admin key can make and delete keys of every project; a department must never hold one.
    if key.lower().startswith("sk-admin-"):
        raise KeyRefused("This is an admin key. Paste a project key: it can call models and nothing else.")


def _require_openai_key(key: str) -> None:
    _require_no_other_vendor(key, "OpenAI")
    if not _OPENAI_KEY.fullmatch(key):
        raise KeyRefused("This does not look like an OpenAI key. It begins with sk- and is copied without quotes.")


def _require_azure_key(key: str) -> None:
    if contains_key(key):
        raise KeyRefused("This is a key of OpenAI, not of Azure. Choose OpenAI as the provider, or paste Azure's key.")
    _require_no_other_vendor(key, "Azure")
    if not _AZURE_KEY.fullmatch(key):
        raise KeyRefused("This does not look like an Azure key. It is 32 to 128 letters and digits, nothing else.")


def _require_compatible_key(key: str) -> None:
    # A compatible server makes its own keys. What must hold is that it fits into an HTTP header.
    if not _COMPATIBLE_KEY.fullmatch(key):
        raise KeyRefused("A key is at most 4,096 characters of plain ASCII. Copy it again, without formatting.")


def _require_no_other_vendor(key: str, expected: str) -> None:
    for beginning, vendor in _OTHER_VENDORS.items():
        if key.startswith(beginning):
            raise KeyRefused(f"This is a key of {vendor}, not of {expected}. Paste a key of {expected}.")


_RULES = {"openai": _require_openai_key, "azure": _require_azure_key, "compatible": _require_compatible_key}
