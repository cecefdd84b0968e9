"""A value that must not be shown: the type every key and password travels in.

Rules:
- `reveal()` is the only way out, so a search for that word lists every place that touches a secret.
- Whatever turns an object into text or bytes by accident is refused with a TypeError: str, format, f-strings,
  %-formatting, pickle, copy, JSON, iteration, len. A failing line is found in the first test; a leaked key is not.
- repr is the exception and gives a fixed mask, because debuggers, tracebacks and log handlers call it while something
  else is already going wrong.
- It cannot be changed or subclassed, so none of this can be undone further down.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn, final

MASK = "Secret(…)"
FINGERPRINT_LENGTH = 16


def fingerprint_of(text: str) -> str:
    """The first 16 hex digits of SHA-256: enough to recognise a random key, far too little to search for one.

    A redacted log line shows the first 8 of them, so a line in a log leads to the key it was about.
    """
    return hashlib.sha256(_encoded(text)).hexdigest()[:FINGERPRINT_LENGTH]


def _encoded(text: str) -> bytes:
    # A lone surrogate is legal in a Python string; a comparison must not fail on it.
    return text.encode("utf-8", "surrogatepass")


@final
class Secret:
    """Holds one string. Only for random values of 16 characters or more: a fingerprint of a guessable one tells it."""

    __slots__ = ("__value",)
    __value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"Secret holds a str, not {type(value).__name__}; decode bytes before wrapping them.")
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> str:
        """The value in clear, to be handed straight to the client or driver that needs it."""
        return self.__value

    def fingerprint(self) -> str:
        """16 hex digits that tell two secrets apart and may be stored and shown; see `fingerprint_of`."""
        return fingerprint_of(self.__value)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        """In constant time. A bare string is never equal, so that nobody reveals a secret only to compare it."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_encoded(self.__value), _encoded(other.__value))

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> NoReturn:
        raise _refusal("turned into text")

    def __format__(self, format_spec: str) -> NoReturn:
        raise _refusal("formatted")

    def __bytes__(self) -> NoReturn:
        raise _refusal("turned into bytes")

    def __iter__(self) -> NoReturn:
        raise _refusal("iterated")

    def __len__(self) -> NoReturn:
        raise _refusal("measured")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise _refusal("copied or pickled")

    def __reduce__(self) -> NoReturn:
        raise _refusal("pickled")

    def __getstate__(self) -> NoReturn:
        raise _refusal("pickled")

    def __setstate__(self, state: object) -> NoReturn:
        raise _refusal("unpickled")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise _refusal("changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise _refusal("changed")

    def __init_subclass__(cls, **kwargs: object) -> NoReturn:
        raise _refusal("subclassed")


def _refusal(what: str) -> TypeError:
    return TypeError(f"A Secret cannot be {what}. Pass it on as it is, or call reveal() where the value is used.")
