"""`make run`: the whole of ChatGrid on one machine, from an empty checkout to an address, under one supervisor.

- What it starts, in this order: PostgreSQL, Valkey, the OpenAI simulator, the record's sealer, a worker, the schedule,
  the web server.
  It stops them the other way round. Ctrl-C and SIGTERM reach this process alone.
- Everything it keeps lies in one data folder (`.chatgrid`, or CHATGRID_DATA), which one supervisor at a time may use.
- A CHATGRID_* variable that is already set wins, and what it replaces is not started: CHATGRID_DATABASE_URL means no
  PostgreSQL of ours, CHATGRID_REDIS_URL no Valkey, CHATGRID_OPENAI_BASE_URL or CHATGRID_PROVIDERS no simulator.
- The terminal gets one line a step; what the children print goes to the data folder's logs.
- While it runs, `make manage` gives commands of manage.py the same settings (`chatgrid/dev/command.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from chatgrid.dev.services import ServiceError, ports
from chatgrid.dev.services.files import locked, make_private, require_space, rotate_log, secret, write_private
from chatgrid.dev.services.postgres import Postgres
from chatgrid.dev.services.processes import Command, clean_environment, end_orphans
from chatgrid.dev.services.stack import database_urls
from chatgrid.dev.services.supervisor import Supervisor
from chatgrid.dev.services.valkey import Valkey
from chatgrid.dev.steps import Place, Requests, Stopped, is_healthy, manage, place_in, python, say, wait_until

DEFAULT_PORT = 8000
NEEDED_MEGABYTES = 500
STREAM_SECONDS = 5  # how long an answer that is being written may go on after Ctrl-C

OWNER_URL = "CHATGRID_OWNER_DATABASE_URL"
# the addresses of roles that can do more than the application's, and the process that has the use of each
ROLE_URLS = {
    OWNER_URL: "",
    "CHATGRID_SEALER_DATABASE_URL": "sealer",
    "CHATGRID_RETENTION_DATABASE_URL": "worker",
}
DATABASE_URLS = ("CHATGRID_DATABASE_URL", "CHATGRID_OWNER_DATABASE_URL", "CHATGRID_PROVISIONER_URL")


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after a clean stop, 1 with one sentence on standard error when something is in the way."""
    options = read_arguments(arguments)
    requests = Requests()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, requests.hear)
    try:
        run(options, requests)
    except Stopped:
        pass
    except ServiceError as error:
        print(f"\nChatGrid cannot run: {error}", file=sys.stderr)
        return 1
    return 0


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chatgrid.dev.run", description="Runs ChatGrid on this machine.")
    parser.add_argument("--port", type=int, help=f"the port of the pages (default: {DEFAULT_PORT}, or the next free)")
    parser.add_argument("--prepare-only", action="store_true", help="set everything up, then stop")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, requests: Requests) -> None:
    """Starts everything, watches it until a request to stop, and stops it, whatever happens in between."""
    place = prepare_place(os.environ)
    with ExitStack() as at_the_end:
        at_the_end.enter_context(locked(place.folder / "lock"))
        for name in end_orphans(place.notes):
            say(f"  ended {name}, which an earlier run had left behind")
        port = choose_port(options.port)
        supervisor = Supervisor(say)
        at_the_end.enter_context(stopping(supervisor, requests))
        at_the_end.callback(place.environment.unlink, missing_ok=True)
        start_everything(supervisor, place, port, requests, prepare_only=options.prepare_only)
        if not options.prepare_only:
            supervisor.watch(requests.stop)


@contextmanager
def stopping(supervisor: Supervisor, requests: Requests) -> Iterator[None]:
    """Stops all that was started, also when starting failed half way."""
    try:
        yield
    finally:
        say("\nStopping. What was written is kept.")
        supervisor.stop(requests.hurry)


# -- before anything starts


def prepare_place(environment: Mapping[str, str]) -> Place:
    """The data folder, checked. Raises ServiceError when it cannot be written or its disk is full."""
    place = place_in(environment)
    say(f"ChatGrid starts; its data is in {place.folder}")
    for folder in (place.folder, place.notes, place.folder / "logs"):
        make_private(folder)
    require_space(place.folder, NEEDED_MEGABYTES)
    return place


def choose_port(wanted: int | None) -> int:
    """The port asked for, which must be free; else the default or the next free one after it, which is said."""
    if wanted is not None and not ports.is_free(wanted):
        raise ServiceError(
            f"Port {wanted} is taken: end what listens there, or choose another, as in `make run PORT={wanted + 1}`."
        )
    port = wanted or ports.next_free(DEFAULT_PORT)
    if wanted is None and port != DEFAULT_PORT:
        say(f"  port {DEFAULT_PORT} is taken, so the pages are on {port}; `make run PORT=...` chooses another")
    return port


# -- starting


def start_everything(
    supervisor: Supervisor, place: Place, port: int, requests: Requests, *, prepare_only: bool
) -> None:
    """Everything, in its order. Raises ServiceError where something does not start, Stopped after Ctrl-C."""
    given = clean_environment(os.environ)
    # The folder again, because a relative path would mean another one in a child's working folder.
    environment = base_environment(place) | given | {"CHATGRID_DATA": str(place.folder)}
    environment |= start_postgres(supervisor, place, given)
    environment |= start_valkey(supervisor, place, given)
    requests.check()
    environment |= start_simulator(supervisor, place, environment, requests)
    set_up(place, environment, requests)
    # the processes import while the demo company is looked at: a second start is mostly imports
    web = None if prepare_only else start_product(supervisor, place, environment, port)
    people = manage(place, ["seed_demo"], environment, requests)
    say("  the demo company is there")
    if web is not None:
        wait_until(web, lambda: is_healthy(port), requests)
        say("  the web server, a worker, the record's sealer and the schedule run")
        note_environment(place, environment)
        introduce(place, port, people)


def base_environment(place: Place) -> dict[str, str]:
    """What settings need besides addresses. The secret key is random, made once, in a file for the owner alone."""
    return {
        "CHATGRID_ENVIRONMENT": "development",
        "CHATGRID_DATA": str(place.folder),
        "CHATGRID_SECRET_KEY": secret(place.folder / "secrets.json", "secret_key"),
        "CHATGRID_VAULT": "local",
        "PYTHONUNBUFFERED": "1",
    }


def start_postgres(supervisor: Supervisor, place: Place, given: Mapping[str, str]) -> dict[str, str]:
    """The addresses of ours; nothing when the operator named a server."""
    if any(name in given for name in DATABASE_URLS):
        require_all(given, DATABASE_URLS)
        say("  PostgreSQL: the server of CHATGRID_DATABASE_URL")
        return {}
    postgres = Postgres(place.folder / "postgres", log=rotate_log(place.log("postgres")), notes=place.notes)
    supervisor.start(postgres)
    postgres.bootstrap()
    say(f"  PostgreSQL is ready on port {postgres.port}")
    return database_urls(postgres, "chatgrid")


def require_all(given: Mapping[str, str], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise ServiceError(f"A server of your own needs {', '.join(names)}: set {' and '.join(missing)} too.")


def start_valkey(supervisor: Supervisor, place: Place, given: Mapping[str, str]) -> dict[str, str]:
    """The address of ours; nothing when the operator named a server."""
    if "CHATGRID_REDIS_URL" in given:
        say("  Valkey: the server of CHATGRID_REDIS_URL")
        return {}
    valkey = Valkey(place.folder / "valkey", log=rotate_log(place.log("valkey")), notes=place.notes)
    supervisor.start(valkey)
    say(f"  Valkey is ready on port {valkey.port}")
    return {"CHATGRID_REDIS_URL": valkey.url()}


def start_simulator(
    supervisor: Supervisor, place: Place, environment: Mapping[str, str], requests: Requests
) -> dict[str, str]:
    """The address of the simulator; nothing when the operator named a provider."""
    if "CHATGRID_OPENAI_BASE_URL" in environment or "CHATGRID_PROVIDERS" in environment:
        say("  OpenAI: the provider that the environment names")
        return {}
    port = ports.Port("The OpenAI simulator", place.notes / "simulator.port", None).usable()
    # its projects keep their ids from one start to the next
    state = str(place.folder / "openai.json")
    arguments = ["-m", "chatgrid.dev.openai_simulator", "--state", state, "--port", str(port)]
    simulator = python(place, "simulator", arguments, environment, patience=3)
    supervisor.start(simulator)
    wait_until(simulator, lambda: not ports.is_free(port), requests)
    say(f"  the OpenAI simulator is ready on port {port}")
    return {"CHATGRID_OPENAI_BASE_URL": f"http://{ports.HOST}:{port}/v1", "CHATGRID_SIMULATED": "true"}


def set_up(place: Place, environment: Mapping[str, str], requests: Requests) -> None:
    """Tables and collected static files, side by side: each changes nothing when it is there already."""
    with ThreadPoolExecutor(max_workers=1) as aside:
        collected = aside.submit(manage, place, ["collectstatic"], environment, requests)
        manage(place, ["migrate", "--database", "owner", "--skip-checks"], environment, requests)
        say("  the database's tables are up to date")
        collected.result()
        say("  the pages' files are collected")


def start_product(supervisor: Supervisor, place: Place, environment: Mapping[str, str], port: int) -> Command:
    """Everything that serves people; returns the web server, which takes a while to answer."""
    commands = {"sealer": (["manage.py", "run_sealer"], 10), "worker": (WORKER, 20), "beat": (beat(place), 5)}
    for name, (arguments, patience) in commands.items():
        supervisor.start(python(place, name, arguments, environment_of(name, environment), patience=patience))
    web = python(place, "web", uvicorn(port), environment_of("web", environment), patience=STREAM_SECONDS + 5)
    supervisor.start(web)
    return web


def environment_of(process: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What a process gets: nobody the owner's role, who can change the record, and each its own role's address only.

    Where the operator named a server without such a role, the owner stands in for it, for that process alone.
    """
    given = {name: value for name, value in environment.items() if name not in ROLE_URLS}
    for name, user in ROLE_URLS.items():
        address = environment.get(name, environment.get(OWNER_URL))
        if user == process and address:
            given[name] = address
    # those other than the web server fork, and a pool of connections does not survive that
    return given if process == "web" else {**given, "CHATGRID_PAGE_POOL_SIZE": "0"}


WORKER = ["-m", "celery", "--app", "chatgrid", "worker", "--concurrency", "2", "--loglevel", "info"]


def beat(place: Place) -> list[str]:
    schedule = str(place.notes / "beat-schedule")
    return ["-m", "celery", "--app", "chatgrid", "beat", "--schedule", schedule, "--loglevel", "info"]


def uvicorn(port: int) -> list[str]:
    command = ["-m", "uvicorn", "chatgrid.asgi:application", "--host", ports.HOST, "--port", str(port)]
    return [*command, "--no-server-header", "--timeout-graceful-shutdown", str(STREAM_SECONDS)]


def note_environment(place: Place, environment: Mapping[str, str]) -> None:
    """Leaves the settings for `make manage`: addresses with all roles, in a file for the owner of the data alone."""
    ours = {name: value for name, value in environment.items() if name.startswith("CHATGRID_")}
    # a command is short-lived and may fork: no pool of connections
    write_private(place.environment, json.dumps({**ours, "CHATGRID_PAGE_POOL_SIZE": "0"}))


def introduce(place: Place, port: int, people: str) -> None:
    """The last thing on a calm terminal: the address, and who can sign in."""
    say(f"\nChatGrid is at http://localhost:{port}/   (Ctrl-C stops it; logs: {place.folder / 'logs'})\n\n{people}")


if __name__ == "__main__":
    sys.exit(main())
