"""A secret leaves through reveal() and through nothing else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pytest

from departments.keys.secret import MASK, Secret

VALUE = "the value nobody sees"


@dataclass
class Holder:
    secret: Secret


WAYS_OUT: dict[str, Callable[[Any], object]] = {
    "str": str,
    "format": format,
    "f-string": lambda secret: f"{secret}",
    "f-string with width": lambda secret: f"{secret:>40}",
    "percent": lambda secret: "%s" % secret,  # noqa: UP031
    "join": "".join,
    "concatenation": lambda secret: "key: " + secret,
    "bytes": bytes,
    "list": list,
    "membership": lambda secret: "the" in secret,
    "length": len,
    "index": lambda secret: secret[0],
    "vars": vars,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "asdict": lambda secret: asdict(Holder(secret)),
    "json": json.dumps,
    "json of a dict": lambda secret: json.dumps({"key": secret}),
    "json with default=str": lambda secret: json.dumps(secret, default=str),
    "orjson": orjson.dumps,
    "orjson with default=str": lambda secret: orjson.dumps({"key": secret}, default=str),
    "orjson of a dataclass": lambda secret: orjson.dumps(Holder(secret)),
    "getstate": lambda secret: secret.__getstate__(),
    "reduce": lambda secret: secret.__reduce__(),
    **{f"pickle {protocol}": lambda secret, p=protocol: pickle.dumps(secret, p) for protocol in range(6)},
    "pickle of a dataclass": lambda secret: pickle.dumps(Holder(secret)),
}


@pytest.mark.parametrize("way", WAYS_OUT.values(), ids=WAYS_OUT.keys())
def test_it_refuses_every_way_out_but_one(way: Callable[[Any], object]) -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError) as refusal:
        way(secret)
    assert VALUE not in str(refusal.value)
    assert secret.reveal() == VALUE


@pytest.mark.parametrize("show", [repr, ascii, pprint.pformat, lambda s: f"{s!r}", lambda s: repr([{"key": s}])])
def test_it_shows_a_mask_to_debuggers(show: Callable[[object], str]) -> None:
    shown = show(Secret(VALUE))
    assert "Secret(" in shown
    assert not any(word in shown for word in VALUE.split())
    assert show(Secret(VALUE)) == show(Secret("another")), "not even the length may show"


def test_a_traceback_with_local_variables_shows_the_mask() -> None:
    secret = Secret(VALUE)
    try:
        secret.reveal().index("?")
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert VALUE not in shown
    assert MASK in shown


def test_a_failed_log_line_shows_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "the key is %s", (Secret(VALUE),), None)
    logging.StreamHandler().handle(record)  # what does not format is printed with its arguments
    shown = capsys.readouterr().err
    assert MASK in shown
    assert VALUE not in shown.replace(f'VALUE = "{VALUE}"', "")


def test_it_compares_by_value_and_only_with_its_kind() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert len({Secret(VALUE), Secret(VALUE), Secret("another")}) == 2
    assert Secret("\ud800") == Secret("\ud800")


def test_an_empty_one_is_false() -> None:
    assert Secret(VALUE)
    assert not Secret("")


def test_a_fingerprint_tells_two_apart_and_neither_of_them() -> None:
    print_, other = Secret(VALUE).fingerprint(), Secret("another").fingerprint()
    assert print_ == Secret(VALUE).fingerprint() != other
    assert len(print_) == 16
    assert set(print_) <= set("0123456789abcdef")


def test_it_cannot_be_changed_or_extended() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError):
        secret.anything = "else"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        del secret._Secret__value  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        type("Louder", (Secret,), {})


@pytest.mark.parametrize("value", [b"bytes", None, 5, Secret("nested")])
def test_it_takes_only_text(value: object) -> None:
    with pytest.raises(TypeError, match="holds a str"):
        Secret(value)  # type: ignore[arg-type]
