"""No key gets into a log, and no line of a log is anybody's but ours."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from departments.keys.redaction import KeyRedactionFilter, redact, redact_lines
from departments.keys.secret import MASK, Secret

GONE = "[redacted]"
KEY_LINE = "PRIV" + "ATE KEY-----"
PEM = "-----BEGIN {0}" + KEY_LINE + "{2}MIIBVgIBADANBg+/kq{2}hkiG9w0BAQ=={2}-----END {1}" + KEY_LINE


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with the filter on its handler, and what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(KeyRedactionFilter())
    logger = logging.getLogger("chatgrid.test.redaction")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


@pytest.mark.parametrize("kind", ["proj", "svcacct", "service", "admin", "None", "", "ant-api03"])
def test_a_key_becomes_the_beginning_of_its_fingerprint(make_key, kind: str) -> None:
    key = make_key(kind)
    assert redact(f"refused: {key}.") == f"refused: sk-[redacted:{Secret(key).fingerprint()[:8]}]."


OTHERS: dict[str, tuple[str, str]] = {
    "bearer": ("Authorization: Bearer abc.def-123_456~", f"Authorization: Bearer {GONE}"),
    "bearer, lower case": ("{'authorization': 'bearer 0123456789'}", f"{{'authorization': 'bearer {GONE}'}}"),
    "basic": ("('Authorization', 'Basic dXNlcjpwYXNz')", f"('Authorization', 'Basic {GONE}')"),
    "url": ("postgresql://hr:" + "h0rse@db:5432/hr", f"postgresql://hr:{GONE}@db:5432/hr"),
    "url without user": ("redis://:" + "pa$$@host:6379/0", f"redis://:{GONE}@host:6379/0"),
    "url, password with @": ("amqp://u:" + "p@ss@host/x", f"amqp://u:{GONE}@host/x"),
    "aws id": ("id A" + "KIA" + "ABCDEFGH234567AB used", f"id {GONE} used"),
    "aws secret": ("aws_secret_access_key = " + "aB3/" * 10, f"aws_secret_access_key = {GONE}"),
    "azure header": ("'api-key': '" + "0123456789abcdef" * 2 + "'", f"'api-key': '{GONE}'"),
    "header as bytes": ("(b'api-key', b'" + "0123456789abcdef" * 2 + "')", f"(b'api-key', b'{GONE}')"),
    "pem": (PEM.format("RSA ", "RSA ", "\n") + " after", f"{GONE} after"),
    "pem, escaped": (PEM.format("", "", "\\n") + " after", f"{GONE} after"),
    "pem, cut off": ("x " + PEM.format("EC ", "EC ", "\n")[:60], f"x {GONE}"),
    "github": ("gh" + "p_" + "a1" * 18, GONE),
    "jwt": ("eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0In0" + ".abc-_1", GONE),
}


@pytest.mark.parametrize(("text", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_other_credentials_go_without_a_trace(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "GET https://host:8000/path?mail=a@b.example 200",
        "api_key=settings.provider_key_of_the_department",
        "the bearer of this",
        "prompt_tokens=123456789012345678901234567890",
        "https://docs.example.com/en/latest/@user",
        "risk-assessment-of-the-whole-company",
    ],
)
def test_plain_lines_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_control_characters_become_visible() -> None:
    text = "a\r\nERROR forged\x1b[2K\x00\x7f\x85\u2028\u202e\u200f\ud800 tab\t é 漢"
    clean = redact(text)
    assert clean == "a\\r\\nERROR forged\\x1b[2K\\x00\\x7f\\x85\\u2028\\u202e\\u200f\\ud800 tab\t é 漢"
    clean.encode()


def test_redacting_twice_changes_nothing_more(make_key) -> None:
    everything = "\n".join([make_key(), *(text for text, _ in OTHERS.values()), "a\x1b\u202e", "Bearer " + make_key()])
    for function in (redact, redact_lines):
        once = function(everything)
        assert function(once) == once


HOSTILE = ["sk-", "-----BEGIN " + KEY_LINE, "a://b:", "a://b:c@", "eyJ", "-eyJa", "bearer ", "api_key=", "api_key=a",
           "authorization: basic ", "x" * 50, "://", "@", "\n", "A" + "KIA", "-----BEGIN "]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_grows_with_the_length_only(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 1.5, "a quadratic pattern needs minutes for these 100,000 characters"


WAYS_IN: dict[str, Callable[[logging.Logger, str], None]] = {
    "message": lambda log, key: log.error("key " + key),  # noqa: G003  what others write
    "argument": lambda log, key: log.error("key %s", key),
    "argument in repr": lambda log, key: log.error("key %r", {"key": key}),
    "named argument": lambda log, key: log.error("key %(key)s", {"key": key}),
    "split between both": lambda log, key: log.error("key " + key[:9] + "%s", key[9:]),  # noqa: G003  what others write
    "split between two": lambda log, key: log.error("key %s%s", key[:9], key[9:]),
    "an object as message": lambda log, key: log.error(ValueError("key " + key)),
    "an exception as argument": lambda log, key: log.error("key %s", ValueError(key)),
    "arguments that do not fit": lambda log, key: log.error("key %s %s %d", key),
    "a number that is none": lambda log, key: log.error("key %d", key),
    "bytes": lambda log, key: log.error("key %s", key.encode()),
    "stack": lambda log, key: log.error("key %s", key, stack_info=True),
}


@pytest.mark.parametrize("way", WAYS_IN.values(), ids=WAYS_IN.keys())
def test_no_way_into_the_log_brings_a_key(make_key, log, capsys, way: Callable[[logging.Logger, str], None]) -> None:
    logger, stream = log
    key = make_key()
    way(logger, key)
    written = stream.getvalue()
    assert written.startswith("ERROR key ")
    assert "redacted" in written
    assert key[9:] not in written
    assert key[9:] not in capsys.readouterr().err, "logging prints records it cannot format to stderr"


def test_a_traceback_keeps_its_lines_and_loses_the_key(make_key, log) -> None:
    logger, stream = log
    key = make_key()
    try:
        try:
            raise ConnectionError(f"refused {key}\nERROR forged line")
        except ConnectionError as error:
            raise RuntimeError(f"while using {key}") from error
    except RuntimeError:
        logger.exception("the call failed")
    written = stream.getvalue()
    assert key not in written
    assert written.count("sk-[redacted:") == 2
    assert "  | RuntimeError: while using sk-[" in written
    first, *rest = written.splitlines()
    assert first == "ERROR the call failed"
    assert all(line.startswith("  | ") for line in rest)
    assert "  | ERROR forged line" in rest


def test_no_later_handler_finds_the_exception_itself(make_key) -> None:
    key = make_key()
    try:
        raise ValueError(key)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    assert KeyRedactionFilter().filter(record)
    assert record.exc_info is None
    assert key not in str(record.__dict__)


def test_a_stack_keeps_its_lines_and_loses_the_key(make_key) -> None:
    key = make_key()
    record = logging.makeLogRecord({"msg": "slow", "stack_info": f"Stack:\n  ask({key!r})\n  \x1b[2J"})
    KeyRedactionFilter().filter(record)
    assert key not in record.stack_info
    assert record.stack_info.splitlines()[0] == "  | Stack:"
    assert "\x1b" not in record.stack_info


def test_extra_attributes_are_cleaned_and_plain_ones_kept(make_key) -> None:
    key, request = make_key(), object()
    record = logging.makeLogRecord(
        {
            "msg": "x",
            "header": f"Bearer {key}",
            "nested": {"a": [key]},
            "request": request,
            "status_code": 500,
            "user": "é\n",
        }
    )
    KeyRedactionFilter().filter(record)
    assert key not in str(record.__dict__)
    assert record.request is request
    assert record.status_code == 500
    assert record.user == "é\\n"


def test_arguments_stay_in_place_for_formatters_that_count_them(make_key) -> None:
    key = make_key()
    arguments = ("127.0.0.1:5000", "GET", f"/chat?key={key}", "1.1", 200)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "x.py", 1, '%s - "%s %s HTTP/%s" %d', arguments, None)
    KeyRedactionFilter().filter(record)
    address, method, path, version, status = record.args
    assert (address, method, version, status) == ("127.0.0.1:5000", "GET", "1.1", 200)
    assert path.startswith("/chat?key=sk-[redacted:")
    assert record.getMessage().endswith('HTTP/1.1" 200')


def test_a_record_seen_by_two_handlers_is_the_same_in_both(make_key) -> None:
    try:
        raise ValueError(make_key())
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "a\n%s", (make_key(),), sys.exc_info())
    KeyRedactionFilter().filter(record)
    once = logging.Formatter().format(record)
    KeyRedactionFilter().filter(record)
    assert logging.Formatter().format(record) == once


def test_a_secret_and_a_broken_object_do_not_cost_the_line(log) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    logger, stream = log
    logger.error("secret %s and %s", Secret("the value"), Broken())
    assert stream.getvalue() == f"ERROR secret {MASK} and <Broken without text>\n"
