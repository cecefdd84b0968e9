"""The record goes to a SIEM over real TLS: at least once and without a loss, whoever is killed in between."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from audit.events import Event
from audit.push import NotSkipped, push, skip
from audit.siem import Target, TargetDown, configured, target_of
from chatgrid.dev.services.bootstrap import APP
from chatgrid.dev.services.ports import pick
from tests.audit.places import Record, copy_of, new_record
from tests.stack import STACK

ROOT = Path(__file__).resolve().parents[2]
EVENTS = 1_700  # several batches, the last not full
OURS = uuid4()
SCHEMES = {"syslog": "syslog+tls://127.0.0.1:{}", "https": "https://127.0.0.1:{}/services/collector"}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with new_record(tmp_path_factory.mktemp("record")) as made:
        made.write(EVENTS - 20)
        made.write(20, organization_id=OURS, actor_name='Mara "]\n')
        made.seal()
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "siem")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "siem.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


@dataclass
class Siem:
    """The listener and what it has taken."""

    kind: str
    certificate: Path
    folder: Path
    seconds: float = 0.0
    port: int = field(default_factory=pick)
    process: subprocess.Popen[bytes] | None = None

    @property
    def taken(self) -> Path:
        return self.folder / "taken"

    def setting(self, **more: str) -> dict[str, str]:
        url = SCHEMES[self.kind].format(self.port)
        return {"name": f"soc-{self.port}", "url": url, "format": "json", "ca_file": str(self.certificate), **more}

    def target(self, **more: str) -> Target:
        return target_of(self.setting(**more))

    def start(self) -> None:
        words = [self.kind, str(self.port), str(self.certificate), str(self.taken), str(self.seconds)]
        self.process = subprocess.Popen([sys.executable, "-m", "tests.audit.listener", *words], cwd=ROOT)
        deadline = time.monotonic() + 30
        while not self._listens():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def events(self) -> list[dict[str, Any]]:
        if not self.taken.exists():
            return []
        # half a line: the listener was killed while it wrote, and had not acknowledged
        lines = [line for line in self.taken.read_bytes().split(b"\n")[:-1] if line]
        return [json.loads(line[line.find(b"{") :]) for line in lines if line.endswith(b"}")]

    def numbers(self) -> list[int]:
        return [event["seq"] for event in self.events()]


@pytest.fixture(params=["syslog", "https"])
def siem(request: pytest.FixtureRequest, certificate: Path, tmp_path: Path) -> Iterator[Siem]:
    made = Siem(request.param, certificate, tmp_path)
    made.start()
    yield made
    made.kill()


def pushed(record: Record, target: Target, **how: bool) -> int:
    with record.as_role(APP) as connection:
        return push(connection, target, **how)


def state(record: Record, target: Target, column: str) -> Any:
    return record.ask(f"SELECT {column} FROM audit_push_state WHERE target = '{target.name}'")


def test_every_event_arrives_once_and_in_order(record: Record, siem: Siem) -> None:
    target, so_far = siem.target(), record.ask("SELECT max(seq) FROM audit_leaf")
    assert so_far >= EVENTS
    assert pushed(record, target) == so_far
    assert siem.numbers() == list(range(1, so_far + 1))
    assert pushed(record, target) == 0
    record.write(3)
    assert pushed(record, target) == 0, "what is not sealed has no number yet"
    record.seal()
    newest = record.ask("SELECT max(seq) FROM audit_leaf")
    pushed(record, target)
    assert siem.numbers() == list(range(1, newest + 1))
    assert state(record, target, "seq") == newest


def test_a_target_gets_one_company_s_events_where_it_is_told_so(record: Record, siem: Siem) -> None:
    assert pushed(record, siem.target(organization=str(OURS))) == 20
    assert {event["organization_id"] for event in siem.events()} == {str(OURS)}


def test_nothing_is_lost_when_the_siem_is_killed_again_and_again(record: Record, siem: Siem) -> None:
    target, dice = siem.target(), random.Random(7)
    newest = record.ask("SELECT max(seq) FROM audit_leaf")
    stop = threading.Event()

    def keep_pushing() -> None:
        while not stop.is_set():
            pushed(record, target, patient=False)

    pushing = threading.Thread(target=keep_pushing)
    pushing.start()
    try:
        for _ in range(8):
            time.sleep(dice.uniform(0.0, 0.15))
            siem.kill()
            siem.start()
        deadline = time.monotonic() + 60
        while state(record, target, "seq") != newest:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stop.set()
        pushing.join()
    assert set(siem.numbers()) == set(range(1, newest + 1))
    assert state(record, target, "problem") == ""


def test_nothing_is_lost_when_the_pushing_process_is_killed_again_and_again(record: Record, siem: Siem) -> None:
    siem.kill()
    siem.seconds = 0.05
    siem.start()
    target = siem.target()
    newest = record.ask("SELECT max(seq) FROM audit_leaf")
    environment = dict(os.environ) | {
        "CHATGRID_DATABASE_URL": STACK.postgres.url(APP, record.database),
        "CHATGRID_SIEM": json.dumps([siem.setting()]),
    }
    for _ in range(2):
        before = len(siem.numbers())
        process = subprocess.Popen([sys.executable, "manage.py", "push_record", "--forever"], cwd=ROOT, env=environment)
        deadline = time.monotonic() + 60
        while len(siem.numbers()) == before and state(record, target, "seq") != newest:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait()
    pushed(record, target, patient=False)
    assert set(siem.numbers()) == set(range(1, newest + 1))


def test_a_syslog_message_is_framed_and_headed_as_the_standards_say(
    record: Record, certificate: Path, tmp_path: Path
) -> None:
    siem = Siem("syslog", certificate, tmp_path)
    siem.start()
    try:
        pushed(record, siem.target(organization=str(OURS), format="ocsf"))
        (first, *_) = siem.taken.read_text(encoding="utf-8").splitlines()
    finally:
        siem.kill()
    head = r'<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \S+ chatgrid \d+ event \[chatgrid@32473 seq="(\d+)"\] (\{.*\})'
    found = re.fullmatch(head, first)
    assert found, first
    event = json.loads(found[2])
    assert (event["class_uid"], event["metadata"]["sequence"]) == (3002, int(found[1]))
    assert event["unmapped"]["actor_name"] == 'Mara "]\n'


def test_https_sends_what_the_file_of_the_authorization_says(record: Record, certificate: Path, tmp_path: Path) -> None:
    siem, token = Siem("https", certificate, tmp_path), tmp_path / "token"
    token.write_text("Splunk 0123-4567\n", encoding="utf-8")
    siem.start()
    try:
        target = siem.target(organization=str(OURS), format="splunk", authorization_file=str(token))
        pushed(record, target)
        about = json.loads(siem.taken.with_suffix(".about").read_text(encoding="utf-8"))
        assert about == {"authorization": "Splunk 0123-4567", "path": "/services/collector"}
        assert siem.events()[0]["event"]["metadata"]["product"]["name"] == "ChatGrid"
        token.unlink()
        with pytest.raises(TargetDown, match="cannot be read"):
            target.transport.send([b"{}"])
    finally:
        siem.kill()


def test_a_stranger_s_certificate_is_refused_and_the_cursor_stands(record: Record, siem: Siem) -> None:
    target = target_of({key: value for key, value in siem.setting().items() if key != "ca_file"})
    assert pushed(record, target) == 0
    assert siem.numbers() == []
    assert state(record, target, "seq") == 0
    problem = state(record, target, "problem")
    assert "its certificate is not trusted (self-signed certificate). Name its authority as ca_file" in problem
    assert "127.0.0.1" not in problem, "an auditor reads it too"


@contextmanager
def picky(certificate: Path, poison: str) -> Iterator[tuple[int, list[list[int]]]]:
    """A SIEM over HTTPS that refuses every batch with the poisoned event in it; the numbers of the batches it took."""
    batches: list[list[int]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events = [json.loads(line) for line in self.rfile.read(int(self.headers["content-length"])).splitlines()]
            is_fine = poison not in [event["id"] for event in events]
            batches.extend([[event["seq"] for event in events]] if is_fine else [])
            self.send_response(200 if is_fine else 400)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server.server_address[1], batches
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_an_event_that_is_never_taken_is_named_and_what_comes_before_it_arrives(
    record: Record, certificate: Path
) -> None:
    number = 777
    poison = str(record.ask(f"SELECT event_id FROM audit_leaf WHERE seq = {number}"))
    with picky(certificate, poison) as (port, batches):
        given = {"name": "picky", "url": f"https://127.0.0.1:{port}/", "ca_file": str(certificate), "format": "json"}
        target = target_of(given)
        assert pushed(record, target) == number - 1
        assert state(record, target, "seq") == number - 1
        assert state(record, target, "problem") == f"it answered 400 Bad Request, for event number {number} alone"
        assert [seq for batch in batches for seq in batch] == list(range(1, number)), "each once, and in order"
    with picky(certificate, "nothing") as (port, batches):
        mended = target_of({**given, "url": f"https://127.0.0.1:{port}/"})
        pushed(record, mended, patient=False)
        newest = record.ask("SELECT max(seq) FROM audit_leaf")
        assert [seq for batch in batches for seq in batch] == list(range(number, newest + 1))
        assert len(batches) < 15, "batches grow again"


@pytest.fixture
def stuck(record: Record, certificate: Path) -> Iterator[tuple[Target, int]]:
    """A target that refuses one event alone, and the number of that event."""
    number = 3
    poison = str(record.ask(f"SELECT event_id FROM audit_leaf WHERE seq = {number}"))
    with picky(certificate, poison) as (port, _):
        url = f"https://127.0.0.1:{port}/"
        target = target_of({"name": f"stuck-{port}", "url": url, "ca_file": str(certificate), "format": "json"})
        assert pushed(record, target) == number - 1
        yield target, number


def test_an_operator_lets_a_target_go_on_without_the_one_event_it_refuses_and_that_is_an_event(
    record: Record, stuck: tuple[Target, int], tmp_path: Path
) -> None:
    target, number = stuck
    with copy_of(record, tmp_path) as held:
        with held.as_role(APP) as connection:
            skip(connection, target.name, number, "its parser cannot read it", "Ivan of IT")
        assert (state(held, target, "seq"), state(held, target, "problem")) == (number, "")
        held.seal()
        newest = held.ask("SELECT max(seq) FROM audit_leaf")
        assert pushed(held, target) == newest - number, "the rest, and the event of the skipping"
        row = "details || jsonb_build_object('of', organization_id)"
        said = held.ask(f"SELECT {row} FROM audit_event WHERE event = '{Event.PUSH_SKIPPED}'")
        left_out = held.ask(f"SELECT event_id FROM audit_leaf WHERE seq = {number}")
        assert (said["number"], said["left_out"]) == (number, str(left_out))
        assert said["of"] == str(held.ask(f"SELECT organization_id FROM audit_event WHERE id = '{left_out}'"))
        assert said["reason"] == "its parser cannot read it"
        assert "400 Bad Request" in said["problem"]
        assert held.verify().faults == []


@pytest.mark.parametrize(("off", "words"), [(-1, "waits at event number 3, not at 2"), (1, "not at 4")])
def test_no_other_event_can_be_left_out(record: Record, stuck: tuple[Target, int], off: int, words: str) -> None:
    target, number = stuck
    with record.as_role(APP) as connection, pytest.raises(NotSkipped, match=words):
        skip(connection, target.name, number + off, "why not", "operator")
    assert state(record, target, "seq") == number - 1


def test_nothing_is_left_out_of_a_target_that_takes_all_or_is_away_or_is_pushed_to(
    record: Record, stuck: tuple[Target, int]
) -> None:
    target, number = stuck
    with record.as_role(APP) as connection, record.as_role(APP) as other:
        with pytest.raises(NotSkipped, match="refuses nothing"):
            skip(connection, "never-tried", 1, "why not", "operator")
        other.execute("SELECT pg_advisory_lock(hashtext('chatgrid push ' || %s))", [target.name])
        with pytest.raises(NotSkipped, match="right now"):
            skip(connection, target.name, number, "why not", "operator")
        other.execute("SELECT pg_advisory_unlock_all()")
        other.execute("UPDATE audit_push_state SET problem = 'no answer' WHERE target = %s", [target.name])
        with pytest.raises(NotSkipped, match="takes nothing at all, whatever the event: no answer"):
            skip(connection, target.name, number, "why not", "operator")
    assert state(record, target, "seq") == number - 1


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "Say why with --reason"), ({"reason": "x", "target": "soc2"}, "Name the target with --target: soc")],
)
def test_the_command_asks_for_a_target_and_a_reason(settings: Any, given: dict[str, str], words: str) -> None:
    settings.AUDIT_SIEM = [{"name": "soc", "url": "https://siem.example/"}]
    with pytest.raises(CommandError, match=words):
        call_command("push_record", skip=1, **{"target": "soc", **given})


@contextmanager
def one_answer(certificate: Path, answer: bytes) -> Iterator[int]:
    """A peer that reads a little, says this to everybody, and ends the connection without ending the session."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                    with context.wrap_socket(plain, server_side=True) as connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                        while connection.recv(65536):  # to the end: an answer to half a request may never arrive
                            pass
                except OSError:
                    if server.fileno() < 0:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=25)


def test_a_syslog_peer_that_ends_without_a_word_has_taken_nothing(record: Record, certificate: Path) -> None:
    with one_answer(certificate, b"") as port:
        target = target_of({"name": "rude", "url": f"syslog+tls://127.0.0.1:{port}", "ca_file": str(certificate)})
        assert pushed(record, target) == 0
    assert state(record, target, "seq") == 0


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (b"HTTP/1.1 429 Slow down\r\nRetry-After: 90\r\nContent-Length: 0\r\n\r\n", 90),
        (b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", 120),
        (b"HTTP/1.1 504 Late\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n", 3600),
        (b"HTTP/1.1 505 Odd\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 507 Odd\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 1),
    ],
)
def test_a_busy_target_rests_as_long_as_it_asks_and_a_redirect_is_not_followed(
    record: Record, certificate: Path, answer: bytes, pause: int
) -> None:
    with one_answer(certificate, answer) as port:
        url = f"https://127.0.0.1:{port}/"
        target = target_of({"name": f"busy-{answer[9:12].decode()}", "url": url, "ca_file": str(certificate)})
        assert pushed(record, target) == 0
        assert answer[9:12].decode() in state(record, target, "problem")
        rest = state(record, target, "extract(epoch FROM not_before - clock_timestamp())")
        assert pause - 10 < rest <= pause
    assert state(record, target, "failures") == 1


def test_a_busy_target_may_name_the_moment_and_what_it_says_beside_its_status_is_not_waited_for(
    record: Record, certificate: Path
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=3000), usegmt=True)
    answer = f"HTTP/1.1 429 Slow down\r\nRetry-After: {moment}\r\nContent-Length: 9000000000\r\n\r\nand more"
    with one_answer(certificate, answer.encode()) as port:
        given = {"name": "talkative", "url": f"https://127.0.0.1:{port}/", "ca_file": str(certificate)}
        assert pushed(record, target_of(given)) == 0
    assert "it answered 429" in state(record, target_of(given), "problem")
    assert 300 < state(record, target_of(given), "extract(epoch FROM not_before - clock_timestamp())") <= 3000


def test_pauses_grow_up_to_five_minutes_and_end_with_the_first_batch(record: Record, siem: Siem) -> None:
    siem.kill()
    target = siem.target(organization=str(OURS))
    rests = []
    for _ in range(12):
        pushed(record, target, patient=False)
        rests.append(float(state(record, target, "extract(epoch FROM not_before - clock_timestamp())")))
    assert rests[0] <= 1 < rests[3] <= 8
    assert 200 < rests[-1] <= 300
    siem.start()
    assert pushed(record, target) == 0, "it rests"
    assert pushed(record, target, patient=False) == 20
    assert (state(record, target, "failures"), state(record, target, "not_before")) == (0, None)


def test_two_processes_do_not_push_to_one_target_at_once(record: Record, siem: Siem) -> None:
    target = siem.target()
    with record.as_role(APP) as first:
        first.execute("SELECT pg_advisory_lock(hashtext('chatgrid push ' || %s))", [target.name])
        assert pushed(record, target) == 0
    assert siem.numbers() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "https://siem.example/"}, "no name"),
        ({"name": "soc", "url": "http://siem.example/"}, "syslog\\+tls://host:port or https://"),
        ({"name": "soc", "url": "syslog://siem.example"}, "syslog\\+tls://host:port or https://"),
        ({"name": "soc", "url": "https://siem.example/", "format": "cef"}, "one of ocsf, json, splunk"),
        ({"name": "soc", "url": "https://siem.example/", "token": "x"}, "it has token"),
        ({"name": "soc", "url": "https://siem.example/", "ca_file": "nowhere.pem"}, "cannot be read"),
    ],
)
def test_a_target_without_a_meaning_is_refused_with_what_to_write(given: dict[str, str], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        target_of(given)


def test_two_targets_of_one_name_are_refused(settings: Any) -> None:
    settings.AUDIT_SIEM = [{"name": "soc", "url": "https://siem.example/"}] * 2
    with pytest.raises(ImproperlyConfigured, match="one name"):
        configured()
