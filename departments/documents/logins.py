"""The two login roles of a store, of which one is in use: how a password is exchanged without a moment when none works.

Rules:
- The store's owner is one of them; the other is a member of it and becomes it when it connects, so that whatever it
  makes belongs to the owner. Neither can do more than the owner.
- A role has one password. So a new one goes to the role that is not in use, is tried, and only then read by anybody;
  the old role loses its password when nobody uses it any more, and no password is ever changed under its users.
- A password goes to the server as a SCRAM verifier, hashed on our side: a failed statement would stand in the server's
  log with the password in it.
"""

from __future__ import annotations

import time
from typing import Any

from psycopg import Connection, sql

from departments.keys.secret import Secret

# Above processes x STORE_POOL_SIZE, and low enough that one department cannot use up the server.
CONNECTION_LIMIT = 60

GRACE_SECONDS = 2.0  # for a statement under way; a search takes milliseconds
END_MILLISECONDS = 5_000  # for a session to end; a database cannot be dropped while one is on its way out
_END = "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE usename = %s"


def logins_of(owner: str) -> tuple[str, str]:
    """Both login roles of a store, its owner first."""
    return owner, f"{owner}_b"


def other_login(owner: str, login: str) -> str:
    """The one that is not in use."""
    return next(name for name in logins_of(owner) if name != login)


def let_in(server: Connection[Any], owner: str, login: str, password: Secret) -> None:
    """Give a login role this password, making the role where it is missing. May be repeated."""
    if login != owner:
        _make_second(server, owner, login)
    verifier = server.pgconn.encrypt_password(password.reveal().encode(), login.encode(), b"scram-sha-256").decode()
    server.execute(
        sql.SQL("ALTER ROLE {} WITH LOGIN CONNECTION LIMIT {} PASSWORD {}").format(
            sql.Identifier(login), sql.Literal(CONNECTION_LIMIT), sql.Literal(verifier)
        )
    )


def shut_out(server: Connection[Any], login: str) -> None:
    """Take a login role's password away: nobody connects with it from now on. Sessions go on."""
    server.execute(sql.SQL("ALTER ROLE {} WITH PASSWORD NULL").format(sql.Identifier(login)))


def sessions_of(server: Connection[Any], login: str) -> int:
    """How many sessions of a login role there are."""
    row = server.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [login]).fetchone()
    return int(row[0]) if row else 0


def let_leave(server: Connection[Any], login: str) -> None:
    """Wait until every session of a login role that was shut out has left by itself, `GRACE_SECONDS` at most.

    Processes give theirs back with the question they are at. `server` is in autocommit mode: a transaction would go on
    seeing the sessions of its first look.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while sessions_of(server, login) and time.monotonic() < deadline:
        time.sleep(0.05)


def end_sessions(server: Connection[Any], login: str) -> None:
    """End what somebody opened with a password that is gone, and wait until it has ended."""
    # the provisioner may become the store's role, and a role may end its own sessions
    server.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(login)))
    try:
        server.execute(_END, [END_MILLISECONDS, login])
    finally:
        server.execute("RESET ROLE")


def _make_second(server: Connection[Any], owner: str, login: str) -> None:
    if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login]).fetchone():
        server.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(login)))
    names = {"owner": sql.Identifier(owner), "login": sql.Identifier(login)}
    server.execute(sql.SQL("GRANT {owner} TO {login} WITH INHERIT TRUE, SET TRUE").format(**names))
    server.execute(sql.SQL("ALTER ROLE {login} SET role = {owner}").format(**names))
