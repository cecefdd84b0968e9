"""Alerts at 50, 80 and 100 %: who is told, once, by mail and by a signed webhook that goes to no private network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import override_settings
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from departments import outgoing
from departments.limits import alerts
from departments.limits.alert_models import Alert, AlertTarget, Notice
from departments.limits.models import Limit, Spent
from departments.models import Department
from departments.outgoing import NoAnswer, NotReachable, destination
from tests.company import Company, set_limit
from tests.departments.limits.reserving import reserve


def spend(company: Company, tokens: int, cost: str = "0") -> None:
    """Bob has spent so much in HR in all, today."""
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    mine = {"organization_id": company.organization.pk}
    rows: list[dict[str, Any]] = [
        {"scope": "organization", "scope_id": company.organization.pk},
        {"scope": "department", "scope_id": company.hr.pk, "department_id": company.hr.pk},
        {"scope": "person", "scope_id": company.bob.pk, "person_id": company.bob.pk},
        {
            "scope": "member",
            "scope_id": hashlib.md5(f"{company.hr.pk}{company.bob.pk}".encode(), usedforsecurity=False).hexdigest(),
            "department_id": company.hr.pk,
            "person_id": company.bob.pk,
        },
    ]
    for row in rows:
        key = {"scope": row.pop("scope"), "scope_id": row.pop("scope_id"), "day": today}
        Spent.objects.filter(**key).delete()
        Spent.objects.create(**key, **row, **mine, tokens=tokens, cost=cost)


def raised(company: Company) -> list[tuple[str, str, str, int]]:
    """What is new now."""
    before = set(Alert.objects.filter(organization=company.organization).values_list("pk", flat=True))
    alerts.raise_alerts_of(company.organization)
    new = Alert.objects.filter(organization=company.organization).exclude(pk__in=before)
    return sorted((each.scope, each.measure, each.period, each.percent) for each in new)


def send_all() -> None:
    """The messages of other tests wait, too."""
    while Notice.objects.filter(sent_at=None, next_at__lte=timezone.now()).exists():
        alerts.send_due()


def test_each_share_is_told_once(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=1_000)
    spend(company, 499)
    assert raised(company) == []
    spend(company, 500)
    assert raised(company) == [("department", "tokens", "day", 50)]
    assert raised(company) == []
    spend(company, 1_000)
    assert raised(company) == [("department", "tokens", "day", 80), ("department", "tokens", "day", 100)]
    assert raised(company) == []
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.LIMIT_ALERTED)
    assert sorted(event.details["percent"] for event in events) == [50, 80, 100]


@pytest.mark.parametrize("scope", ["organization", "department", "person", "member"])
@pytest.mark.parametrize("field", ["tokens_per_day", "tokens_per_month", "money_per_day", "money_per_month"])
def test_every_budget_of_every_scope_is_looked_at(company: Company, scope: str, field: str) -> None:
    owner: dict[str, dict[str, Any]] = {
        "organization": {},
        "department": {"department": company.hr},
        "person": {"person": company.bob},
        "member": {"person": company.bob, "department": company.hr},
    }
    set_limit(company, **owner[scope], **{field: 100})
    spend(company, 81, "81")
    measure, _, period = field.partition("_per_")
    assert raised(company) == [(scope, measure, period, 50), (scope, measure, period, 80)]


def test_an_allowance_is_each_persons_and_the_nearest_one(company: Company) -> None:
    set_limit(company, person_tokens_per_day=100)
    spend(company, 60)
    assert raised(company) == [("person", "tokens", "day", 50)]
    set_limit(company, department=company.hr, person_tokens_per_day=1_000)
    spend(company, 100)
    assert raised(company) == [], "the department's allowance is nearer"
    spend(company, 500)
    assert raised(company) == [("member", "tokens", "day", 50)]


async def test_a_budget_whose_rest_is_too_little_is_used_up(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=1_000)
    spend(company, 950)
    assert ("department", "tokens", "day", 100) not in raised(company)
    await reserve(company)
    assert raised(company) == [("department", "tokens", "day", 100)]


def test_a_share_of_a_raised_ceiling_is_told_when_it_is_reached_and_not_before(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=1_000)
    spend(company, 1_000)
    assert [percent for *_, percent in raised(company)] == [50, 80, 100]
    Limit.objects.filter(department=company.hr).update(tokens_per_day=4_000)
    assert raised(company) == [], "a quarter of it is used"
    spend(company, 2_000)
    assert [percent for *_, percent in raised(company)] == [50]
    spend(company, 4_000)
    assert [percent for *_, percent in raised(company)] == [80, 100]
    assert raised(company) == []
    for ceiling in (2_000, 4_000):
        Limit.objects.filter(department=company.hr).update(tokens_per_day=ceiling)
        assert raised(company) == [], "it was more than used up before"
    Limit.objects.filter(department=company.hr).update(tokens_per_day=4_100)
    assert raised(company) == [], "less than that was never used of it"


def test_a_budget_of_nothing_is_announced_to_nobody(company: Company) -> None:
    set_limit(company, person=company.bob, tokens_per_day=0, money_per_month=0)
    spend(company, 0)
    assert raised(company) == []
    spend(company, 10, "1")
    assert raised(company) == []


async def test_what_a_lower_ceiling_refused_says_nothing_of_a_higher_one(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=1_000)
    spend(company, 950)
    await reserve(company)
    assert [percent for *_, percent in raised(company)] == [50, 80, 100]
    await reserve(company)
    Limit.objects.filter(department=company.hr).update(tokens_per_day=1_900)
    assert [percent for *_, percent in raised(company)] == []
    spend(company, 1_850)
    await reserve(company)
    assert [percent for *_, percent in raised(company)] == [80, 100]


def test_the_right_people_are_told(company: Company) -> None:
    set_limit(company, tokens_per_day=100, person_tokens_per_day=100)
    set_limit(company, department=company.hr, tokens_per_day=100)
    spend(company, 50)
    raised(company)
    told = {(each.address, each.subject) for each in Notice.objects.filter(organization=company.organization)}
    assert told == {
        (company.ivan.email, "The budget of the company for today is 50 % used"),
        (company.ivan.email, "The budget of Human Resources for today is 50 % used"),
        (company.alice.email, "The budget of Human Resources for today is 50 % used"),
        (company.bob.email, "Your budget in the company for today is 50 % used"),
    }
    send_all()
    assert {message.to[0] for message in mail.outbox} >= {company.ivan.email, company.alice.email, company.bob.email}
    assert not Notice.objects.filter(organization=company.organization, sent_at=None).exists()


# --- webhooks --------------------------------------------------------------------------------------------------------


class Receiver(HTTPServer):
    """Somebody's server: keeps what it gets, and answers what it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?room=1"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Not on the screen."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with override_settings(WEBHOOK_NETWORKS=["127.0.0.1/32"]):
        yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def hook(company: Company, url: str, **fields: Any) -> AlertTarget:
    target = AlertTarget(organization=company.organization, kind="webhook", address=url, **fields)
    target.full_clean()
    target.save()
    return target


def notices(company: Company) -> Any:
    return Notice.objects.filter(organization=company.organization, kind="webhook")


def reach(company: Company) -> None:
    set_limit(company, department=company.hr, tokens_per_day=100)
    spend(company, 50)
    raised(company)


def test_a_webhook_arrives_signed(company: Company, receiver: Receiver) -> None:
    target = hook(company, receiver.url)
    reach(company)
    send_all()
    ((fields, body),) = receiver.got
    message = json.loads(body)
    assert message["type"] == "limit.alert"
    assert (message["data"]["percent"], message["data"]["used"], message["data"]["limit"]) == (50, 50, 100)
    assert message["data"]["department"] == "hr"
    key = base64.b64decode(alerts.secret_of(target).removeprefix("whsec_"))
    signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert fields["webhook-signature"] == f"v1,{expected}"
    assert abs(int(fields["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    target.secret_epoch += 1
    assert alerts.secret_of(target) != f"whsec_{base64.b64encode(key).decode()}"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 500])
def test_what_does_not_arrive_is_tried_again_with_longer_pauses_and_no_redirect_is_followed(
    company: Company, receiver: Receiver, status: int
) -> None:
    hook(company, receiver.url)
    receiver.answers = [status] * 20
    reach(company)
    pauses = []
    for attempt in range(1, alerts.MOST_ATTEMPTS + 1):
        notices(company).update(next_at=timezone.now())
        send_all()
        row = notices(company).get()
        assert (row.attempts, len(receiver.got)) == (attempt, attempt)
        assert str(status) in row.problem
        if row.next_at:
            pauses.append(row.next_at - timezone.now())
    assert all(later > 1.9 * sooner for sooner, later in itertools.pairwise(pauses))
    assert row.next_at is None
    assert row.sent_at is None
    assert timedelta(minutes=25) < pauses[-1] < timedelta(hours=2)


def test_a_target_of_another_department_or_one_switched_off_gets_nothing(company: Company, receiver: Receiver) -> None:
    hook(company, receiver.url, department=company.finance)
    hook(company, f"{receiver.url}2", is_active=False)
    reach(company)
    send_all()
    assert receiver.got == []


def test_a_server_that_is_away_is_a_sentence_and_no_trace(company: Company, receiver: Receiver) -> None:
    hook(company, "http://127.0.0.1:1025/")
    reach(company)
    send_all()
    assert notices(company).get().problem == "No answer came (ConnectError)."


def test_a_server_that_is_silent_holds_up_nobody_elses_messages(
    company: Company, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(url: str, body: bytes, headers: Any) -> int:
        asked.append(url)
        if "silent" in url:
            raise NoAnswer("No answer came (TimeoutError).")
        return 200

    monkeypatch.setattr(alerts, "post", answer)
    for name in ("silent", "other"):
        hook(company, f"{receiver.url}{name}")
    set_limit(company, department=company.hr, tokens_per_day=100)
    spend(company, 100)
    assert len(raised(company)) == 3
    send_all()
    assert sorted(asked) == sorted([f"{receiver.url}silent", *[f"{receiver.url}other"] * 3])
    waiting = notices(company).filter(sent_at=None)
    assert sorted(waiting.values_list("attempts", flat=True)) == [0, 0, 1]
    assert all(each.next_at > timezone.now() for each in waiting)


# --- where nothing is sent (security.md R19) -------------------------------------------------------------------------

PRIVATE = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.000.000.001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://10.1/",
    "https://167772161/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://0xc0a80101/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://100.64.0.1/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST:8443/",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_no_spelling_of_a_private_address_is_reached(url: str) -> None:
    with pytest.raises(NotReachable):
        destination(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user:secret@example.com/",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https:///nowhere",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "gopher://127.0.0.1/",
        "//example.com/",
        "example.com",
        "",
    ],
)
def test_what_is_no_address_of_a_webhook_is_refused_when_it_is_typed(company: Company, url: str) -> None:
    with pytest.raises(ValidationError):
        AlertTarget(organization=company.organization, kind="webhook", address=url).full_clean()


def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_checked(
    company: Company, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer of the name server would be another address, and nobody asks for it."""
    asked: list[str] = []
    known = outgoing.socket.getaddrinfo

    def look_up(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        if host != "hooks.example.com":
            return list(known(host, port, *more, **named))
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port))]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", look_up)
    hook(company, f"http://hooks.example.com:{receiver.server_port}/x")
    reach(company)
    send_all()
    ((fields, _),) = receiver.got
    assert fields["host"] == f"hooks.example.com:{receiver.server_port}"
    assert asked == ["hooks.example.com"]


@override_settings(WEBHOOK_NETWORKS=["127.0.0.1/32"])
def test_a_certificate_must_be_that_of_the_name_although_the_connection_goes_to_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server hears the name in the greeting and has no certificate to show, so nothing is sent."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: names.append(name)
    known = outgoing.socket.getaddrinfo
    monkeypatch.setattr(
        outgoing.socket,
        "getaddrinfo",
        lambda host, *more, **named: known("127.0.0.1" if host == "hooks.example.com" else host, *more, **named),
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True):
                pass

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with pytest.raises(NotReachable):
            outgoing.post(f"https://hooks.example.com:{listening.getsockname()[1]}/", b"{}", {})
        thread.join(timeout=10)
    assert names == ["hooks.example.com"]


@override_settings(WEBHOOK_NETWORKS=["10.0.0.0/8"])
def test_what_goes_to_the_open_internet_is_encrypted_also_where_a_network_of_ones_own_is_open() -> None:
    with pytest.raises(NotReachable, match="Only https"):
        outgoing.post("http://93.184.215.14:8080/", b"{}", {})


def test_no_proxy_that_the_environment_names_is_asked(
    company: Company, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look the name up anew, behind the check, and could be anywhere."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    hook(company, receiver.url)
    reach(company)
    send_all()
    assert len(receiver.got) == 1


def test_a_name_in_other_letters_is_written_as_servers_know_it(
    company: Company, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = outgoing.socket.getaddrinfo

    def look_up(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        return list(known("127.0.0.1" if host == "xn--bcher-kva.example" else host, port, *more, **named))

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", look_up)
    hook(company, f"http://bücher.example:{receiver.server_port}/x")
    reach(company)
    send_all()
    ((fields, _),) = receiver.got
    assert fields["host"] == f"xn--bcher-kva.example:{receiver.server_port}"


@pytest.mark.parametrize(
    "name", ["a..b", "xn--\xad", "b" * 64 + ".ü.example", "\u2028x", "ⓐ\xad.\xad", "1.1.1.1/\ud800"]
)
def test_a_name_that_none_can_have_is_a_sentence_and_stops_no_other_message(name: str) -> None:
    with pytest.raises(NotReachable):
        outgoing.post(f"https://{name}/", b"{}", {})


def test_a_name_that_holds_the_end_of_a_line_stops_no_mail(company: Company) -> None:
    Department.objects.filter(pk=company.hr.pk).update(name="People\r\nBcc: everybody@x.example")
    set_limit(company, department=company.hr, tokens_per_day=10)
    spend(company, 5)
    assert raised(company) == [("department", "tokens", "day", 50)]
    send_all()
    (told,) = [each for each in mail.outbox if each.to == [company.alice.email]]
    assert told.subject == "The budget of People Bcc: everybody@x.example for today is 50 % used"
    assert "Bcc" not in told.message()


def test_what_no_mail_can_carry_stops_no_other_message(company: Company) -> None:
    target = AlertTarget.objects.create(organization=company.organization, kind="email", address="a@b.example\nx")
    set_limit(company, department=company.hr, tokens_per_day=10)
    spend(company, 5)
    raised(company)
    send_all()
    assert Notice.objects.get(target=target).problem == "BadHeaderError"
    assert [each for each in mail.outbox if each.to == [company.alice.email]]


def test_a_name_with_one_private_address_among_others_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", ("93.184.215.14", port)), (2, 1, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", look_up)
    with pytest.raises(NotReachable, match="private network"):
        destination("https://hooks.example.com/")


def test_an_address_on_the_open_internet_is_allowed() -> None:
    assert destination("https://93.184.215.14/x?y=1").url == "https://93.184.215.14:443/x?y=1"
    assert destination("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/").url.startswith("https://[2606:")
