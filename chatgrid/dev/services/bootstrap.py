"""What a fresh PostgreSQL cluster needs before ChatGrid can live on it: five roles, two databases, closed doors.

Everything here may run again at any time and ends in the same state; only a superuser can run it. The facts behind it
(trusted extensions, self-granted roles, PUBLIC's right to connect) were tried on PostgreSQL 18 with pgvector 0.8.

- chatgrid_owner owns the control database and runs migrations; chatgrid_app is what web and workers use.
- chatgrid_sealer adds seals to the record and chatgrid_retention ends its months; what else they may is in the record's
  own grants.
- chatgrid_provisioner makes a database and a login role per department. It can become such a role only by SET ROLE and
  cannot connect to a department's database, nor to the control database; its own connections go to `postgres`.
- The template holds the vector extension, which no department's role could create itself, and nobody can connect to it.
- Nobody connects anywhere by virtue of being PUBLIC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection, sql

OWNER, APP, PROVISIONER = "chatgrid_owner", "chatgrid_app", "chatgrid_provisioner"
SEALER, RETENTION = "chatgrid_sealer", "chatgrid_retention"
CONTROL, TEMPLATE, MAINTENANCE = "chatgrid", "chatgrid_store_template", "postgres"

RIGHTS = {
    OWNER: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
    APP: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
    SEALER: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
    RETENTION: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
    PROVISIONER: "LOGIN NOSUPERUSER CREATEDB CREATEROLE",
}

Connect = Callable[[str], "Connection[Any]"]


def bootstrap(connect: Connect, passwords: Mapping[str, str]) -> None:
    """Brings the cluster to the state above. `connect` opens a database as superuser with autocommit."""
    with alone(connect) as server:
        for role in RIGHTS:
            prepare_role(server, role, passwords[role])
        run(server, "ALTER ROLE {} SET createrole_self_grant = 'set'", PROVISIONER)
        for database in (MAINTENANCE, "template1"):
            close_to_public(server, database)
        allow(server, MAINTENANCE, PROVISIONER)
        prepare_control_database(server, CONTROL)
        prepare_template(connect, server)
        update_vector(connect, server)


@contextmanager
def alone(connect: Connect) -> Iterator[Connection[Any]]:
    """A superuser's connection, one at a time: workers of a test run may come here at once."""
    with connect(MAINTENANCE) as server:
        server.execute("SELECT pg_advisory_lock(hashtext('chatgrid bootstrap'))")
        yield server


def run(server: Connection[Any], statement: str, *names: str) -> None:
    """Executes a statement of this module with names of databases and roles in its places."""
    server.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def exists(server: Connection[Any], catalogue_query: str, name: str) -> bool:
    return server.execute(catalogue_query, [name]).fetchone() is not None


def prepare_role(server: Connection[Any], role: str, password: str) -> None:
    if not exists(server, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        run(server, "CREATE ROLE {}", role)
    run(server, f"ALTER ROLE {{}} WITH {RIGHTS[role]}", role)
    # Hashed on our side: a failed statement would otherwise stand in the server's log with the password in it.
    verifier = server.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    server.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def prepare_control_database(server: Connection[Any], database: str) -> None:
    """An empty database of the owner's, which the owner, the app and the record's two roles alone may connect to."""
    if not exists(server, "SELECT 1 FROM pg_database WHERE datname = %s", database):
        run(server, "CREATE DATABASE {} TEMPLATE template0", database)
    run(server, "ALTER DATABASE {} OWNER TO {}", database, OWNER)
    close_to_public(server, database)
    for role in (OWNER, APP, SEALER, RETENTION):
        allow(server, database, role)


def close_to_public(server: Connection[Any], database: str) -> None:
    run(server, "REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", database)


def allow(server: Connection[Any], database: str, role: str) -> None:
    run(server, "GRANT CONNECT ON DATABASE {} TO {}", database, role)


def drop_database(server: Connection[Any], database: str) -> None:
    run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", database)


def prepare_template(connect: Connect, server: Connection[Any]) -> None:
    """The template of every department's store. It is marked as a template last: an unmarked one is half made."""
    if exists(server, "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", TEMPLATE):
        return
    drop_database(server, TEMPLATE)
    run(server, "CREATE DATABASE {} TEMPLATE template0", TEMPLATE)
    close_to_public(server, TEMPLATE)
    with connect(TEMPLATE) as template:
        template.execute("CREATE EXTENSION vector")
        template.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    note_vector_version(server, available_vector(server))
    run(server, "ALTER DATABASE {} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false", TEMPLATE)


def available_vector(server: Connection[Any]) -> str:
    row = server.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    return str(row[0]) if row else ""


def note_vector_version(server: Connection[Any], version: str) -> None:
    """Keeps the version that all stores have as the template's comment: asking each of them would slow every start."""
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(TEMPLATE), sql.Literal(version))
    server.execute(statement)


def noted_vector_version(server: Connection[Any]) -> str | None:
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    row = server.execute(query, [TEMPLATE]).fetchone()
    return row[0] if row else None


def update_vector(connect: Connect, server: Connection[Any]) -> None:
    """After the wheel brought a newer pgvector: updates it in the template and in every store, as only we can."""
    version = available_vector(server)
    if noted_vector_version(server) == version:
        return
    run(server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", TEMPLATE)
    names = server.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
    for (name,) in names:
        update_vector_in(connect, name)
    run(server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", TEMPLATE)
    note_vector_version(server, version)


def update_vector_in(connect: Connect, database: str) -> None:
    with connect(database) as store:
        if store.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
            store.execute("ALTER EXTENSION vector UPDATE")


def open_as_superuser(url: str) -> Connection[Any]:
    return psycopg.connect(url, autocommit=True, connect_timeout=10)
