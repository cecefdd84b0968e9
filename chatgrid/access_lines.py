"""What the server's line about a request says of its address: the path, and not all of a long one.

Behind the question mark stand words of people (a search, a question of the search bench), and a stranger may ask for an
address of 64 kB as often as they like. Keys and links to set a password are taken out of every line by
`departments.keys.redaction`.
"""

from __future__ import annotations

import logging

LONGEST = 300  # characters of a path that are kept; our own are shorter


class PathsAlone(logging.Filter):
    """For the logger `uvicorn.access`, whose lines have five arguments; the third is the address that was asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, address, *rest = record.args
            record.args = (client, method, _shortened(str(address).partition("?")[0]), *rest)
        return True


def _shortened(path: str) -> str:
    return path if len(path) <= LONGEST else f"{path[:LONGEST]}... ({len(path)} characters)"
