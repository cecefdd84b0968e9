"""Takes keys out of log records, and keeps each record on the lines that belong to it.

Rules:
- Put `KeyRedactionFilter` on every handler (a filter on a logger does not see the records of its children).
- A key becomes `sk-[redacted:` + 8 hex + `]`. The digits begin the key's fingerprint, so that IT can tell which key
  it was; no character of the key is shown.
- Other credentials (Bearer and Basic headers, labelled API keys, passwords in URLs, AWS keys, private key blocks)
  become `[redacted]` without digits, because some of them are short enough to be guessed from a hash.
- So does the second half of a link to set a password: whoever reads it in a log could use it before its owner does.
- Characters that could start a new line, move the cursor or reorder text are shown as escapes. A traceback keeps its
  lines, each behind a bar, so that no line of it can pose as a record of its own.
- Redacting twice changes nothing more, because one record passes several handlers.
- When in doubt the text goes: over-matching costs a word, under-matching a key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from departments.keys.patterns import REDACT
from departments.keys.secret import fingerprint_of

_GONE = "[redacted]"
_BAR = "  | "

_BEARER = re.compile(r"\b(bearer\s{1,8})[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_BASIC = re.compile(
    r"\b(authorization[\"']?\s{0,8}[:=,]\s{0,8}b?[\"']?basic\s{1,8})[A-Za-z0-9+/=_-]{4,}", re.IGNORECASE
)
# Azure's and AWS's secrets have no shape of their own; the label in front and a digit inside give them away.
_LABELLED = re.compile(
    r"((?:api[_-]?key|secret[_-]?access[_-]?key|session[_-]?token|client[_-]?secret)[\"']?\s{0,8}[:=,]\s{0,8}b?[\"']?)"
    r"(?=[A-Za-z+/_=.~-]{0,200}[0-9])[A-Za-z0-9+/_=.~-]{20,}",
    re.IGNORECASE,
)
# Up to the last @ of the word: a password with an unescaped @ must not leave its second half.
_URL_PASSWORD = re.compile(r"(\w{1,32}://[^\s:/?#@\[\]]{0,128}:)(?!\[redacted\]@)[^\s/\"'<>]{1,512}(?=@)")
_AWS_KEY_ID = re.compile(r"(?<![A-Za-z0-9])A(?:KIA|SIA)[A-Z2-7]{16}(?![A-Za-z0-9])")
_TOKEN = re.compile(
    r"(?<![\w-])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|eyJ[\w-]{10,}+\.eyJ[\w-]{10,}+(?:\.[\w-]*+)?)"
)
_PASSWORD_LINK = re.compile(r"(/password/reset/key/[0-9A-Za-z]{1,64}-)(?!set-password/|\[redacted\])[^/\s\"'<>]{1,512}")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:(?!-----END )[A-Za-z0-9+/=\s\\:,.-])*(?:-----END [A-Z ]{0,40}-----)?"
)

# Tab stays: it starts no line and hides nothing. \x85, \u2028 and \u2029 end a line for some viewers; the rest of the
# list reorders text or, as a lone surrogate, breaks the stream's encoder.
_CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace("\x0a-\x1f", "\x0b-\x1f"))
_ESCAPES = {"\n": "\\n", "\r": "\\r"}

_Arguments = tuple[object, ...] | Mapping[str, object] | None
_OWN_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__)


def redact(text: str) -> str:
    """The text on one line, without keys and without control characters. Linear in its length; idempotent."""
    return _CONTROL.sub(_escaped, _without_links(without_keys(text)))


def redact_lines(text: str) -> str:
    """A traceback or stack: like `redact`, but the lines stay, each behind a bar."""
    clean = _CONTROL_IN_LINES.sub(_escaped, _without_links(without_keys(text.replace("\r\n", "\n"))))
    return "\n".join(line if line.startswith(_BAR) else _BAR + line for line in clean.split("\n"))


def without_keys(text: str) -> str:
    """The text with nothing else changed: for pages, whose markup must stay."""
    text = _PRIVATE_KEY.sub(_GONE, text)
    text = REDACT.sub(_tag, text)
    text = _URL_PASSWORD.sub(rf"\g<1>{_GONE}", text)
    text = _BASIC.sub(rf"\g<1>{_GONE}", text)
    text = _BEARER.sub(rf"\g<1>{_GONE}", text)
    text = _LABELLED.sub(rf"\g<1>{_GONE}", text)
    text = _TOKEN.sub(_GONE, text)
    return _AWS_KEY_ID.sub(_GONE, text)


def _without_links(text: str) -> str:
    return _PASSWORD_LINK.sub(rf"\g<1>{_GONE}", text)


def _tag(match: re.Match[str]) -> str:
    return f"sk-[redacted:{fingerprint_of(match[0])[:8]}]"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


class KeyRedactionFilter(logging.Filter):
    """Cleans a record in place and lets it pass. The original exception is dropped once its text is taken.

    Handlers that read `exc_info` (mails with local variables, error trackers) would otherwise walk the frames and find
    what the text no longer shows; they get the cleaned traceback in `exc_text`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        _clean_message(record)
        _clean_traceback(record)
        _clean_extras(record)
        return True


def _clean_message(record: logging.LogRecord) -> None:
    """Arguments stay apart where they can: uvicorn's access log reads them by position, Celery's by name."""
    record.args = _clean_arguments(record.args)
    if not record.args:
        record.msg = _clean(record.msg)
        return
    text = _merged(record)
    clean = redact(text)
    # A key may be split between the template and an argument, and a template may hold one by itself.
    if clean != text:
        record.msg, record.args = clean, ()


def _clean_arguments(arguments: _Arguments) -> _Arguments:
    if isinstance(arguments, Mapping):
        return {name: _clean(value) for name, value in arguments.items()}
    return tuple(_clean(value) for value in arguments or ())


def _merged(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The template does not fit its arguments. logging would print both to stderr, past every filter.
        clean = redact(f"{record.msg} (the arguments do not fit: {record.args!r})")
        record.msg, record.args = clean, ()
        return clean


def _clean_traceback(record: logging.LogRecord) -> None:
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    record.exc_info = None
    if record.exc_text:
        record.exc_text = redact_lines(record.exc_text)
    if record.stack_info:
        record.stack_info = redact_lines(record.stack_info)


def _clean_extras(record: logging.LogRecord) -> None:
    for name in record.__dict__.keys() - _OWN_ATTRIBUTES:
        record.__dict__[name] = _clean(record.__dict__[name])


def _clean(value: object) -> object:
    """The value itself where its text holds nothing to take out, else the cleaned text in its place."""
    if value is None or type(value) in (bool, int, float):
        return value
    try:
        text = str(value)
    except Exception:  # a value that cannot be shown must not cost the line; the reader sees its repr
        return _clean_repr(value)
    clean = redact(text)
    return value if clean == text else clean


def _clean_repr(value: object) -> str:
    try:
        return redact(repr(value))
    except Exception:  # the reader of the log sees the type instead
        return f"<{type(value).__name__} without text>"
