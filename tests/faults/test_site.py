"""Break one thing at a time: the person gets a sentence, the operator a line, ledger and record stay whole."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from departments.calls import sentences
from tests.faults.conftest import STREAM, Site, wait_until

SETTLE = "from departments.calls.tasks import settle_lost_calls; settle_lost_calls()"
CLOSE = "from chatgrid.chat.tasks import close_lost_answers; close_lost_answers()"


def events(body: str) -> list[tuple[str, dict[str, Any]]]:
    found = re.findall(r"event: (\w+)\ndata: (.*)\n", body)
    return [(name, json.loads(data)) for name, data in found]


@contextmanager
def reading(site: Site, question: str, read: int = 2) -> Iterator[Iterator[str]]:
    """Somebody in the middle of an answer: its lines after the first blocks. They leave at the end, and not before."""
    order = {"data": site.form(question), "headers": STREAM}
    with site.client() as client, client.stream("POST", site.person["path"], **order) as response:
        lines = response.iter_lines()
        for _ in range(read):
            assert any(line.startswith("event: block") for line in lines), "the answer is too short"
        yield lines


def test_the_site_answers_when_nothing_is_broken(site: Site) -> None:
    response = site.ask("Is everything fine?")
    assert response.status_code == 200
    assert events(response.text)[-1][0] == "done"
    assert [row[0] for row in site.events()][-2:] == ["call:requested", "call:answered"]


def test_a_provider_that_is_down_is_said_and_booked_with_nothing(site: Site) -> None:
    site.kill("simulator")
    name, ended = events(site.ask("Are you there?").text)[-1]
    assert name == "problem"
    assert sentences.PROVIDER_DOWN in ended["message_html"], ended["message_html"]
    # of the question, or of its search where an earlier test has left a document
    last = site.rows("SELECT event, outcome FROM audit_event WHERE event LIKE 'call:%%' ORDER BY at DESC LIMIT 1")
    assert last == [("call:answered", "failed")]
    (used,) = site.rows("SELECT tokens_used FROM limits_reservation ORDER BY admitted_at DESC LIMIT 1")
    assert used == (0,)
    assert "provider_unreachable" in site.log("web")


def test_without_the_control_database_no_call_is_made(site: Site) -> None:
    before, logged = site.asked(), len(site.log("web"))
    site.stack.postgres.stop()
    with site.client() as client, ThreadPoolExecutor() as people:  # each is made to wait for a moment
        asked = people.submit(site.ask, "Can you hear me?")
        looked, checked = (people.submit(client.get, each) for each in ("/?from=here", "/healthz"))
    response, page = asked.result(), looked.result()
    assert [each.status_code for each in (response, page, checked.result())] == [503, 503, 503]
    assert "cannot" in response.json()["sentence"]
    assert "Traceback" not in page.text
    assert site.asked() == before
    # the pool's warnings apart, which count its tries and not the requests
    told = [line for line in site.log("web")[logged:].splitlines() if " WARNING psycopg" not in line]
    references = [response.json()["reference"], page.headers["X-Request-Id"]]
    assert references[1] in page.text
    assert sorted(re.sub(r"^\S+ \S+ ", "", line) for line in told) == sorted(
        [
            f"ERROR chatgrid.errors request {references[0]}: database away (DatabaseDown) for POST /d/hr/ask",
            f"ERROR chatgrid.errors request {references[1]}: database away (OperationalError) for GET /",
            "ERROR django.request Service Unavailable: /healthz",
        ]
    ), "one line each, and no trace"
    site.stack.postgres.start()
    wait_until(lambda: site.ask("And now?").status_code == 200, "answers after the database came back")


def test_a_database_that_stops_during_an_answer_loses_no_booking(site: Site) -> None:
    site.misbehave("scripted", text="word " * 60, tokens_per_second=20)
    logged = len(site.log("web"))
    with reading(site, "Tell me slowly."):
        site.stack.postgres.stop()
    site.stack.postgres.start()
    wait_until(lambda: bool(site.rows("SELECT 1")), "the database")
    assert "Traceback" not in site.log("web")[logged:]
    site.rows("UPDATE limits_reservation SET lease_until = now() - interval '1 second' WHERE settled_at IS NULL")
    site.manage(SETTLE)
    assert site.rows("SELECT count(*) FROM limits_reservation WHERE settled_at IS NULL") == [(0,)]
    requested = {row[2] for row in site.events() if row[0] == "call:requested"}
    answered = [row[2] for row in site.events() if row[0] == "call:answered"]
    assert requested == set(answered)
    assert len(answered) == len(set(answered))


def test_a_killed_web_process_leaves_neither_a_gap_nor_a_block(site: Site) -> None:
    site.misbehave("long", tokens_per_second=30)
    with reading(site, "Tell me a long story.", read=60):
        site.kill("web")
    # this answer's: a test that killed a worker may have left one of a document
    ((call_id, reserved),) = site.rows("""
        SELECT call_id, tokens_reserved FROM limits_reservation
        WHERE settled_at IS NULL AND purpose = 'chat' ORDER BY admitted_at DESC LIMIT 1
    """)
    assert reserved > 0
    # time passes: nobody renews the lease, nobody saves the answer
    site.rows("UPDATE limits_reservation SET lease_until = now() - interval '1 second' WHERE settled_at IS NULL")
    site.rows("UPDATE chat_message SET alive_at = now() - interval '1 minute' WHERE state = 'writing'")
    site.manage(f"{SETTLE}\n{CLOSE}")
    assert ("call:answered", "lost", call_id) in site.events()
    state, text, problem = site.rows("SELECT state, text, problem FROM chat_message WHERE call_id = %s", call_id)[0]
    assert state == "interrupted"
    assert text, "what was shown a while ago is kept"
    assert problem == sentences.LOST
    site.start("web")
    site.behave()
    assert site.ask("Are you back?").status_code == 200


def test_a_closed_browser_ends_the_provider_s_stream_and_is_settled(site: Site) -> None:
    site.misbehave("long", tokens_per_second=30)
    with reading(site, "Tell me a long story.", read=5):
        pass
    wait_until(lambda: site.events()[-1][1] == "abandoned", "the call to be settled")
    used, reserved = site.rows(
        "SELECT tokens_used, tokens_reserved FROM limits_reservation ORDER BY admitted_at DESC LIMIT 1"
    )[0]
    assert 0 < used < reserved


def test_without_broker_and_cache_the_chat_goes_on_and_uploads_are_taken(site: Site) -> None:
    site.stack.valkey.stop()
    assert events(site.ask("Still there?").text)[-1][0] == "done"
    with site.client("admin_") as client:
        started = time.monotonic()
        answer = client.post(
            site.person["documents"],
            data={"csrfmiddlewaretoken": site.person["admin_csrf"]},
            files={"documents": ("travel.md", b"# Travel\n\nMeals are refunded up to 40 EUR a day.")},
            headers={"Accept": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        assert time.monotonic() - started < 10
    assert "Waiting" in answer.json()["row_html"]


def test_a_store_that_is_down_is_said_and_nothing_is_sent(site: Site) -> None:
    before = site.asked()
    (store,) = site.rows("SELECT store_name FROM departments_department WHERE slug = 'hr'")[0]
    _as_superuser(site, f"ALTER DATABASE {store} ALLOW_CONNECTIONS false")
    _as_superuser(site, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", store)
    try:
        name, ended = events(site.ask("What about leave?").text)[-1]
    finally:
        _as_superuser(site, f"ALTER DATABASE {store} ALLOW_CONNECTIONS true")
    assert name == "problem"
    assert "documents" in ended["message_html"]
    assert site.asked() == before


def _as_superuser(site: Site, statement: str, *parameters: Any) -> None:
    with site.stack.postgres._connect("postgres") as connection:
        connection.autocommit = True
        connection.execute(statement, parameters or None)


def test_a_worker_killed_while_it_reads_a_document_loses_and_doubles_nothing(site: Site) -> None:
    site.start_worker()
    # what an earlier test has left to read would be in the way of this one's, for as long as the provider is slow
    wait_until(lambda: _sweep(site) or _soon(lambda: _unread(site) == 0), "the worker to have nothing to do", 120)
    site.misbehave("slow", "embeddings", first_byte_ms=20_000)
    document = _upload(site, "kilometres.md", b"# Kilometres\n\nA private car is refunded 0.38 EUR a kilometre.")
    # the web process may still remember an earlier test's broker as away: then the sweep tells the workers
    wait_until(lambda: _comes_to_be(site, document, "embedding"), "the worker to be in the middle of it", 120)
    site.kill("worker")
    site.behave()
    assert _state(site, document) == "embedding"
    # a minute passes: nobody renews the claim
    _in_store(site, "UPDATE version SET lease_until = now() - interval '1 second' WHERE document_id = %s", document)
    site.start_worker()
    wait_until(lambda: _comes_to_be(site, document, "live"), "another worker to finish it", 120)
    assert _in_store(site, "SELECT count(*) FROM version WHERE document_id = %s", document) == [(1,)]
    passages = """
        SELECT count(*), count(DISTINCT ordinal) FROM passage
        WHERE version_id IN (SELECT id FROM version WHERE document_id = %s)
    """
    (count, distinct) = _in_store(site, passages, document)[0]
    assert count == distinct > 0
    site.stop("worker")


def _upload(site: Site, name: str, content: bytes) -> str:
    with site.client("admin_") as client:
        answer = client.post(
            site.person["documents"],
            data={"csrfmiddlewaretoken": site.person["admin_csrf"]},
            files={"documents": (name, content)},
            headers={"Accept": "application/json"},
        )
    assert answer.status_code == 200, answer.text
    ((document,),) = _in_store(site, "SELECT document_id::text FROM version WHERE filename = %s", name)
    return str(document)


def _comes_to_be(site: Site, document: str, state: str) -> bool:
    _sweep(site)
    return _soon(lambda: _state(site, document) == state)


def _sweep(site: Site) -> None:
    """When what waits to be told to a worker once more has waited long enough. It takes a process of its own."""
    _in_store(site, "UPDATE version SET queue_again_at = clock_timestamp() WHERE state = 'received'")
    site.manage("from departments.documents.tasks import sweep; sweep()")


def _soon(ready: Callable[[], bool]) -> bool:
    return any(ready() or time.sleep(0.1) for _ in range(50))


def _unread(site: Site) -> int:
    ((count,),) = _in_store(site, "SELECT count(*) FROM version WHERE state IN ('received', 'extracting', 'embedding')")
    return int(count)


def _state(site: Site, document: str) -> str:
    ((state,),) = _in_store(site, "SELECT state FROM version WHERE document_id = %s", document)
    return str(state)


def _in_store(site: Site, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Rows of HR's store, as the server's superuser: the only one beside HR's own role that gets in."""
    (store,) = site.rows("SELECT store_name FROM departments_department WHERE slug = 'hr'")[0]
    with site.stack.postgres._connect(store) as connection:
        connection.autocommit = True
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
