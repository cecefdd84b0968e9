"""The embedded PostgreSQL: what survives, who is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import errors, sql

from chatgrid.dev.services import ServiceError, bootstrap, privilege
from chatgrid.dev.services.bootstrap import (
    APP,
    CONTROL,
    MAINTENANCE,
    OWNER,
    PROVISIONER,
    RETENTION,
    SEALER,
    TEMPLATE,
)
from chatgrid.dev.services.postgres import SUPERUSER, Postgres


def connect(server: Postgres, role: str, database: str = CONTROL) -> psycopg.Connection:
    return psycopg.connect(server.url(role, database), autocommit=True, connect_timeout=10)


def ask(server: Postgres, query: str, role: str = SUPERUSER, database: str = CONTROL) -> list[tuple]:
    with connect(server, role, database) as connection:
        return connection.execute(query).fetchall()


def do(server: Postgres, statement: str, role: str = SUPERUSER, database: str = CONTROL) -> None:
    with connect(server, role, database) as connection:
        connection.execute(statement)


def postmaster(server: Postgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split("\n")[0])


def state_of_the_cluster(server: Postgres) -> list[tuple]:
    return [
        *ask(server, "SELECT datname, datdba::regrole::text, datacl::text, datistemplate FROM pg_database ORDER BY 1"),
        *ask(server, "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolconfig FROM pg_roles ORDER BY 1"),
    ]


@pytest.fixture
def prepared(postgres: Postgres) -> Postgres:
    postgres.bootstrap()
    return postgres


def make_store(server: Postgres, name: str) -> str:
    """A department's store as the provisioner makes it; returns its URL."""
    role, database = sql.Identifier(name), sql.Identifier(name)
    with connect(server, PROVISIONER, MAINTENANCE) as provisioner:
        provisioner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'a store'").format(role))
        template = sql.Identifier(TEMPLATE)
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        provisioner.execute(create.format(database, template, role))
        provisioner.execute(sql.SQL("SET ROLE {}").format(role))
        provisioner.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
    return f"postgresql://{name}:a%20store@127.0.0.1:{server.port}/{name}"


def test_it_is_postgresql_18_with_one_sort_order_everywhere(postgres: Postgres) -> None:
    [(version, lowered)] = ask(postgres, "SELECT current_setting('server_version'), lower('ÄÖ')", database=MAINTENANCE)
    assert version.startswith("18.")
    assert lowered == "äö"


def test_it_keeps_its_passwords_where_only_the_owner_reads(prepared: Postgres) -> None:
    file = prepared.folder / "passwords.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(prepared.folder.stat().st_mode) == 0o700
    assert len(set(json.loads(file.read_text()).values())) == 6
    assert not (prepared.folder / ".superuser-password").exists()


def test_it_refuses_a_wrong_password_and_the_log_shows_none(prepared: Postgres) -> None:
    right = prepared.url(APP)
    with psycopg.connect(right):
        pass
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(right.replace(":", ":wrong", 2).replace(":wrong//", "://", 1))
    passwords = json.loads((prepared.folder / "passwords.json").read_text()).values()
    log = prepared.log.read_text()
    assert not [password for password in passwords if password in log]


def test_bootstrap_twice_changes_nothing_and_keeps_what_is_stored(prepared: Postgres) -> None:
    before = state_of_the_cluster(prepared)
    do(prepared, "CREATE TABLE kept AS SELECT 1 AS one", OWNER)
    prepared.bootstrap()
    assert state_of_the_cluster(prepared) == before
    assert ask(prepared, "SELECT one FROM kept", OWNER) == [(1,)]


def test_a_half_made_template_is_made_anew(prepared: Postgres) -> None:
    with connect(prepared, SUPERUSER, MAINTENANCE) as server:
        server.execute(f"ALTER DATABASE {TEMPLATE} WITH IS_TEMPLATE false ALLOW_CONNECTIONS true")
    do(prepared, "DROP EXTENSION vector", database=TEMPLATE)
    prepared.bootstrap()
    with psycopg.connect(make_store(prepared, "cg_1")) as store:
        assert store.execute("SELECT '[1,2]'::vector <-> '[1,2]'").fetchone() == (0.0,)


def test_a_newer_pgvector_is_brought_to_every_store(prepared: Postgres) -> None:
    url = make_store(prepared, "cg_1")
    with connect(prepared, SUPERUSER, MAINTENANCE) as server:
        newest = bootstrap.available_vector(server)
        bootstrap.note_vector_version(server, "0.1")
    do(prepared, "UPDATE pg_extension SET extversion = '0.8.4' WHERE extname = 'vector'", database="cg_1")
    prepared.bootstrap()
    with psycopg.connect(url) as store:
        assert store.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone() == (newest,)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        connect(prepared, SUPERUSER, TEMPLATE)


@pytest.mark.parametrize(
    ("role", "database", "may"),
    [
        (OWNER, CONTROL, True),
        (APP, CONTROL, True),
        (SEALER, CONTROL, True),
        (RETENTION, CONTROL, True),
        (SEALER, MAINTENANCE, False),
        (RETENTION, TEMPLATE, False),
        (PROVISIONER, CONTROL, False),
        (PROVISIONER, MAINTENANCE, True),
        (OWNER, MAINTENANCE, False),
        (APP, MAINTENANCE, False),
        (PROVISIONER, "template1", False),
        (OWNER, "template1", False),
        (APP, "template1", False),
        (PROVISIONER, TEMPLATE, False),
        (APP, TEMPLATE, False),
    ],
)
def test_who_may_connect_where(shared: Postgres, role: str, database: str, may: bool) -> None:
    if may:
        assert ask(shared, "SELECT current_user::text", role, database) == [(role,)]
        return
    with pytest.raises(psycopg.OperationalError, match=r"permission denied|not currently accepting"):
        connect(shared, role, database)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One cluster for the tests that only look."""
    server = Postgres(tmp_path_factory.mktemp("shared") / "postgres", durable=False, leashed=True)
    server.start()
    server.bootstrap()
    yield server
    server.stop()


def test_a_store_admits_its_own_role_alone(prepared: Postgres) -> None:
    finance, people = make_store(prepared, "cg_finance"), make_store(prepared, "cg_people")
    for own in (finance, people):
        with psycopg.connect(own) as store:
            store.execute("CREATE TABLE passage (v vector(2))")
    strangers = [prepared.url(PROVISIONER, "cg_finance"), prepared.url(APP, "cg_finance")]
    elsewhere = [f"{finance.rpartition('/')[0]}/{name}" for name in ("cg_people", CONTROL, MAINTENANCE, "template1")]
    for refused in strangers + elsewhere:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(refused)


@pytest.mark.parametrize(
    "statement",
    ["CREATE ROLE other", "SET ROLE chatgrid_owner", "COPY (SELECT 1) TO PROGRAM 'true'", "CREATE TABLE public.t ()"],
)
def test_the_app_role_may_not(shared: Postgres, statement: str) -> None:
    with connect(shared, APP) as app:
        assert app.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute(statement)


def test_a_further_control_database_has_the_same_doors(prepared: Postgres) -> None:
    prepared.create_control_database("chatgrid_gw1")
    prepared.create_control_database("chatgrid_gw1")
    assert ask(prepared, "SELECT 1", OWNER, "chatgrid_gw1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(prepared, PROVISIONER, "chatgrid_gw1")
    prepared.drop_database("chatgrid_gw1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(prepared, OWNER, "chatgrid_gw1")


def test_data_and_port_survive_a_stop(prepared: Postgres) -> None:
    do(prepared, "CREATE TABLE kept AS SELECT 7 AS n", OWNER)
    port = prepared.port
    prepared.stop()
    assert not prepared.alive()
    again = Postgres(prepared.folder, leashed=True)
    again.start()
    try:
        assert ask(again, "SELECT n FROM kept", OWNER) == [(7,)]
        assert again.port == port
    finally:
        again.stop()


def test_data_survive_kill_9_of_the_server(prepared: Postgres) -> None:
    do(prepared, "CREATE TABLE kept AS SELECT 7 AS n", OWNER)
    os.kill(postmaster(prepared), signal.SIGKILL)
    prepared.start()
    assert ask(prepared, "SELECT n FROM kept", OWNER) == [(7,)]


def test_a_server_left_by_a_killed_supervisor_is_ended(prepared: Postgres) -> None:
    left = postmaster(prepared)
    do(prepared, "CREATE TABLE kept AS SELECT 7 AS n", OWNER)
    (prepared.folder / "postgres.json").unlink()  # not even its note is left
    successor = Postgres(prepared.folder, leashed=True)
    successor.start()
    try:
        assert postmaster(successor) != left
        assert ask(successor, "SELECT n FROM kept", OWNER) == [(7,)]
    finally:
        successor.stop()


def test_a_lock_file_that_names_a_stranger_is_no_obstacle(postgres: Postgres) -> None:
    lock = postgres.data / "postmaster.pid"
    stale = lock.read_text().replace(str(postmaster(postgres)), str(os.getpid()), 1)
    postgres.stop()
    lock.write_text(stale)
    postgres.start()
    assert psutil.pid_exists(os.getpid())
    assert ask(postgres, "SELECT 1", database=MAINTENANCE) == [(1,)]


def test_starting_what_runs_leaves_it_alone(postgres: Postgres) -> None:
    before = postmaster(postgres)
    postgres.start()
    assert postmaster(postgres) == before


def test_a_first_start_that_was_cut_short_is_repeated(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = Postgres(tmp_path / "postgres", durable=False, leashed=True)
    server.start()
    try:
        assert ask(server, "SELECT 1", database=MAINTENANCE) == [(1,)]
    finally:
        server.stop()


def test_a_remembered_port_that_somebody_took_is_replaced(postgres: Postgres) -> None:
    old = postgres.port
    postgres.stop()
    with socket.create_server(("127.0.0.1", old)):
        again = Postgres(postgres.folder, leashed=True)
        again.start()
        try:
            assert again.port != old
            assert ask(again, "SELECT 1", database=MAINTENANCE) == [(1,)]
        finally:
            again.stop()


def test_a_fixed_port_that_is_taken_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"Port {port} is taken"):
            Postgres(tmp_path / "postgres", port=port).start()


def test_a_lost_password_file_is_said_at_once(postgres: Postgres) -> None:
    postgres.stop()
    (postgres.folder / "passwords.json").unlink()
    with pytest.raises(ServiceError, match="put the file of this data folder back"):
        postgres.start()
    assert not postgres.alive()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give away")
def test_root_without_user_namespaces_runs_it_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privilege, "ways", lambda: [privilege.Runner(user="nobody")])
    # Not tmp_path: the folders above that one are root's alone, which is the case that must be refused.
    with tempfile.TemporaryDirectory() as name:
        server = Postgres(Path(name) / "postgres")
        server.start()
        try:
            assert psutil.Process(postmaster(server)).username() == "nobody"
            server.stop()
            server.start()
            assert ask(server, "SELECT 1", database=MAINTENANCE) == [(1,)]
        finally:
            server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give away")
def test_root_is_told_what_to_do_where_neither_way_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(privilege, "ways", lambda: [privilege.Runner(user="nobody")])
    tmp_path.chmod(0o700)
    tmp_path.parent.chmod(0o700)
    with pytest.raises(ServiceError, match="run it as a plain user"):
        Postgres(tmp_path / "below" / "data" / "postgres").start()
