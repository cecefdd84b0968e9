"""Services of a laptop and of a test run: PostgreSQL and Valkey out of their wheels, and the care of child processes.

Rules: nothing here imports Django; a server listens on loopback only and asks for a password; a failure is a
`ServiceError` whose one sentence says what to do next.
"""

from __future__ import annotations


class ServiceError(Exception):
    """Something a person at the terminal can mend; the text is one sentence for them."""
