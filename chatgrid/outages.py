"""What an outage of the control database looks like to us, and how it is told: one line a request, never a trace.

A database that is away breaks every request in the same way, hundreds of times a minute. The page says so with a
reference, `chatgrid.errors` writes one line with the same reference, and Django's own line, which carries the whole
trace, is left out.
"""

from __future__ import annotations

import logging
import secrets

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from psycopg_pool import PoolTimeout

from audit.database import DatabaseDown

ERRORS = (DatabaseDown, OperationalError, InterfaceError, PoolTimeout)


class WithoutTraces(logging.Filter):
    """For the logger `django.request`: what `line_of` has told already is not told again."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, ERRORS)


def new_reference() -> str:
    """What a person reads to IT, and IT finds in the log."""
    return secrets.token_hex(4)


def line_of(request: HttpRequest, error: BaseException, reference: str) -> str:
    """The one line; a path is somebody's input and may hold a line break."""
    path = request.path.encode("unicode_escape").decode("ascii")
    return f"request {reference}: database away ({type(error).__name__}) for {request.method} {path}"
