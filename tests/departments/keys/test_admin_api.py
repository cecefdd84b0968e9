"""The client of the Admin API, through the SDK and over HTTP, and what its errors may not tell."""

from __future__ import annotations

import logging
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import openai as sdk
import pytest
from openai.types.admin.organization import AuditLogListResponse

from departments.keys import admin_api
from departments.keys.admin_api import (
    AdminApi,
    AdminApiError,
    AdminForbidden,
    AdminKeyMissing,
    AdminKeyRefused,
    AdminMissing,
    AdminRejected,
    AdminUnavailable,
    AdminUnreadable,
    KeyDeletionRefused,
    Project,
    has_admin_key,
    open_admin_api,
)
from departments.keys.admin_values import log_event_of
from departments.keys.patterns import contains_key
from departments.keys.secret import Secret
from tests.company import Company, make_key
from tests.openai_admin import MODEL, OpenAICompany, make_admin_key
from tests.provider import Provider

MONTH = timedelta(days=30)


@pytest.fixture
def openai(provider: Provider) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address)
    yield there
    there.behave()


@pytest.fixture
def api(openai: OpenAICompany) -> Iterator[AdminApi]:
    with openai.api() as opened:
        yield opened


@pytest.fixture
def project(api: AdminApi) -> Project:
    return api.create_project("production-acme-hr")


def account_in(api: AdminApi, project: Project) -> str:
    account = api.create_service_account(project.id, "chatgrid")
    api.grant_role(project.id, account.id)
    return account.id


def key_in(api: AdminApi, project: Project, name: str = "a key") -> tuple[str, Secret]:
    made = api.create_key(project.id, account_in(api, project), name, expires_in=MONTH)
    return made.id, made.value


# -- the contract, call by call


def test_projects_are_made_found_renamed_and_archived(api: AdminApi, project: Project) -> None:
    assert project.active
    assert datetime.now(UTC) - project.created_at < timedelta(minutes=1)
    assert api.find_projects("production-acme-hr") == [project]
    assert api.find_projects("production-acme") == []
    assert api.rename_project(project.id, "other").name == "other"
    archived = api.archive_project(project.id)
    assert (archived.active, archived.archived_at is not None) == (False, True)
    assert api.list_projects() == []
    assert [one.id for one in api.list_projects(include_archived=True)] == [project.id]
    assert not api.retrieve_project(project.id).active


def test_a_service_account_without_a_role_has_keys_that_may_do_nothing(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    account = api.create_service_account(project.id, "chatgrid")
    assert account.role == "none"
    key = api.create_key(project.id, account.id, "early", expires_in=MONTH)
    assert openai.asks(key.value) == 403
    assert [one.owner_active for one in api.list_keys(project.id)] == [False]
    assert api.grant_role(project.id, account.id).role == "member"
    assert openai.asks(key.value) == 200
    assert [one.owner_active for one in api.list_keys(project.id)] == [True]


def test_a_key_works_until_it_is_deleted(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    key_id, value = key_in(api, project)
    assert openai.asks(value) == 200
    [listed] = api.list_keys(project.id)
    assert (listed.id, listed.owner_kind) == (key_id, "service_account")
    assert listed.last_used_at is not None
    assert listed.expires_at is not None
    assert listed.matches(value)
    assert not listed.matches(make_key())
    assert api.delete_key(project.id, key_id) is True
    assert openai.asks(value) == 401
    assert api.delete_key(project.id, key_id) is False
    assert api.list_keys(project.id) == []


def test_a_key_ends_at_its_end(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    key = api.create_key(project.id, account_in(api, project), "short", expires_in=timedelta(seconds=4))
    assert key.expires_at is not None
    assert openai.asks(key.value) == 200
    time.sleep((key.expires_at - datetime.now(UTC)).total_seconds() + 0.1)
    assert openai.asks(key.value) == 401


def test_a_scoped_key_is_bounded_by_its_scopes(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    account = account_in(api, project)
    narrow = api.create_key(project.id, account, "files", expires_in=MONTH, scopes=["api.files.read"])
    wide = api.create_key(project.id, account, "model", expires_in=MONTH, scopes=["api.model.request"])
    assert (openai.asks(narrow.value), openai.asks(wide.value)) == (403, 200)


def test_a_key_that_cannot_be_deleted_takes_its_account_with_it(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    key_id, value = key_in(api, project)
    openai.settle(refuses_key_deletion=True)
    with pytest.raises(KeyDeletionRefused):
        api.delete_key(project.id, key_id)
    assert api.retire_key(project.id, key_id) == "account"
    assert openai.asks(value) == 401
    assert api.list_service_accounts(project.id) == []
    assert api.retire_key(project.id, key_id) == "gone"


def test_an_account_with_another_key_is_not_deleted(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    account = account_in(api, project)
    old, new = (api.create_key(project.id, account, name, expires_in=MONTH) for name in ("old", "new"))
    openai.settle(refuses_key_deletion=True)
    with pytest.raises(AdminRejected, match="holds another one"):
        api.retire_key(project.id, old.id)
    assert openai.asks(new.value) == 200


def test_model_permissions(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    _, value = key_in(api, project)
    assert api.model_permissions(project.id) is None
    assert openai.asks(value, "gpt-6.2-sol") == 200
    api.allow_models(project.id, [MODEL])
    permissions = api.model_permissions(project.id)
    assert permissions is not None
    assert (permissions.mode, permissions.models) == ("allow_list", {MODEL})
    assert openai.refusal(value, "gpt-6.2-sol")["code"] == "model_not_found"
    assert openai.asks(value, MODEL) == 200


def test_hosted_tools(api: AdminApi, project: Project) -> None:
    assert "web_search" in api.hosted_tools(project.id)
    api.disable_hosted_tools(project.id)
    assert api.hosted_tools(project.id) == frozenset()


def test_a_spend_limit_stops_the_project_that_has_spent_it(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    key_id, value = key_in(api, project)
    assert api.spend_limit(project.id) is None
    api.set_spend_limit(project.id, 100)
    limit = api.spend_limit(project.id)
    assert limit is not None
    assert (limit.cents, limit.enforcing) == (100, False)
    assert openai.asks(value) == 200
    openai.add_usage(
        at=time.time(), kind="completions", project=project.id, key=key_id, model=MODEL, completion_tokens=2_000_000
    )
    assert openai.refusal(value)["code"] == "project_spend_limit_exceeded"
    assert api.spend_limit(project.id).enforcing  # type: ignore[union-attr]
    assert api.remove_spend_limit(project.id) is True
    assert api.remove_spend_limit(project.id) is False
    assert openai.asks(value) == 200


def test_spend_alerts(api: AdminApi, project: Project) -> None:
    made = api.create_spend_alert(project.id, 5_000, ["it@acme.example"], "[ChatGrid]")
    assert api.spend_alerts(project.id) == [made]
    assert (made.cents, made.recipients, made.subject_prefix) == (5_000, ("it@acme.example",), "[ChatGrid]")
    assert api.delete_spend_alert(project.id, made.id) is True
    assert api.spend_alerts(project.id) == []


def test_rate_limits_are_enforced_for_that_model(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    _, value = key_in(api, project)
    limit = next(one for one in api.rate_limits(project.id) if one.model == MODEL)
    changed = api.set_rate_limit(project.id, limit.id, requests_per_minute=1)
    assert (changed.requests_per_minute, changed.tokens_per_minute) == (1, limit.tokens_per_minute)
    statuses = [openai.asks(value) for _ in range(3)]  # a minute may end in between
    assert statuses[0] == 200
    assert 429 in statuses
    assert openai.asks(value, "gpt-6.1-terra") == 200
    with pytest.raises(AdminRejected):
        api.set_rate_limit(project.id, limit.id, requests_per_minute=1_000_000)


def test_retention(api: AdminApi, project: Project) -> None:
    assert api.retention(project.id) == "organization_default"
    api.set_retention(project.id, "zero_data_retention")
    assert api.retention(project.id) == "zero_data_retention"
    with pytest.raises(AdminForbidden):
        api.set_retention(project.id, "enhanced_zero_data_retention")


def test_usage_tells_projects_keys_and_models_apart(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    key_id, value = key_in(api, project)
    for _ in range(3):
        openai.asks(value)
    start = datetime.now(UTC) - timedelta(hours=1)
    [row] = api.usage("completions", start, datetime.now(UTC) + timedelta(minutes=1))
    assert (row.project_id, row.key_id, row.model, row.requests) == (project.id, key_id, MODEL, 3)
    assert row.input_tokens > 0
    assert row.output_tokens > 0
    assert row.start <= datetime.now(UTC) < row.end
    assert list(api.usage("embeddings", start, datetime.now(UTC) + timedelta(minutes=1))) == []


def test_a_stolen_key_shows_in_the_usage(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    key_id, value = key_in(api, project)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Somebody else asks"}]}
    stolen = {"authorization": f"Bearer {value.reveal()}", "user-agent": "elsewhere"}
    assert httpx2.post(f"{openai.base_url}/chat/completions", json=body, headers=stolen).status_code == 200
    rows = api.usage("completions", datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=1))
    assert [(row.key_id, row.requests) for row in rows] == [(key_id, 1)]


def test_usage_is_read_over_many_pages(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for hours in range(1, 400, 7):
        at = (end - timedelta(hours=hours)).timestamp()
        openai.add_usage(at=at, kind="embeddings", project=project.id, key="key_x", model="m", prompt_tokens=10)
    rows = list(api.usage("embeddings", end - timedelta(hours=400), end, width="1h", project_ids=[project.id]))
    assert (len(rows), sum(row.input_tokens for row in rows)) == (57, 570)
    assert all(row.end - row.start == timedelta(hours=1) for row in rows)
    days = list(api.usage("embeddings", end - timedelta(hours=400), end, key_ids=["key_x"]))
    assert sum(row.requests for row in days) == 57
    assert list(api.usage("embeddings", end - timedelta(hours=400), end, key_ids=["key_other"])) == []


def test_costs_add_up(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    now = datetime.now(UTC)
    openai.add_usage(
        at=(now - timedelta(days=200)).timestamp(),
        kind="completions",
        project=project.id,
        key="key_x",
        model=MODEL,
        prompt_tokens=10_000_000,
        completion_tokens=1_000_000,
    )
    rows = list(api.costs(now - timedelta(days=300), now))
    assert {row.line_item: row.amount for row in rows} == {
        f"{MODEL}, input_tokens": Decimal("1.0"),
        f"{MODEL}, output_tokens": Decimal("0.5"),
    }
    assert {(row.currency, row.project_id) for row in rows} == {("USD", project.id)}


@pytest.mark.parametrize("about", [{}, {"starship.launched": ["x"]}, {"starship.launched": "x"}])
def test_a_line_of_the_audit_log_of_a_kind_that_nobody_knows_is_read_as_far_as_it_goes(about: dict[str, Any]) -> None:
    line = AuditLogListResponse.construct(id="audit_1", type="starship.launched", effective_at=1_790_000_000, **about)
    read = log_event_of(line)
    assert (read.id, read.type, read.actor_kind, read.subject_id) == ("audit_1", "starship.launched", "", "")


def test_the_audit_log_tells_our_acts_from_a_persons(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    with openai.colleague("eve@elsewhere.example").api() as hers:
        hers.rename_project(project.id, "mine now")
    events = {event.type: event for event in api.audit_logs(since)}
    assert events["project.created"].actor_kind == "api_key"
    assert events["project.updated"].actor_kind == "session"
    assert events["project.updated"].actor_id == "eve@elsewhere.example"
    assert events["project.updated"].subject_id == project.id
    assert list(api.audit_logs(since, types=["api_key.created"])) == []
    assert list(api.audit_logs(datetime.now(UTC) + timedelta(minutes=1))) == []


def test_admin_keys_are_made_listed_and_deleted(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    made = api.create_admin_key("chatgrid 2", expires_in=MONTH)
    with AdminApi(made.value, openai.base_url) as second:
        second.verify()
        assert [one.id for one in second.list_projects()] == [project.id]
        assert made.id in {key.id for key in api.list_admin_keys()}
        assert api.delete_admin_key(made.id) is True
        with pytest.raises(AdminKeyRefused):
            second.verify()
    assert api.delete_admin_key(made.id) is False


def test_lists_are_read_to_their_end(api: AdminApi, openai: OpenAICompany) -> None:
    names = [f"project {number:03}" for number in range(230)]
    for name in names:
        openai.post("projects", {"name": name})
    assert [project.name for project in api.list_projects()] == names
    project = api.find_projects("project 229")[0]
    account = account_in(api, project)
    for number in range(105):
        openai.post(f"projects/{project.id}/service_accounts/{account}/api_keys", {"name": f"key {number}"})
    assert len(api.list_keys(project.id)) == 105
    assert len({event.id for event in api.audit_logs(datetime.now(UTC) - timedelta(minutes=5))}) == 230 + 2 + 105


def test_rate_limit_and_alert_lists_are_read_to_their_end(api: AdminApi, project: Project) -> None:
    for cents in range(1, 121):
        api.create_spend_alert(project.id, cents, ["it@acme.example"], "x")
    assert len(api.spend_alerts(project.id)) == 120


# -- admin keys and model keys do not mix


def test_an_admin_key_cannot_call_a_model_and_a_model_key_cannot_administer(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    _, value = key_in(api, project)
    assert openai.asks(openai.admin_key) == 403
    with AdminApi(value, openai.base_url) as wrong, pytest.raises(AdminForbidden):
        wrong.list_projects()


def test_one_organizations_admin_key_reaches_nothing_of_another(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    with OpenAICompany(openai.address).api() as other:
        assert other.list_projects() == []
        with pytest.raises(AdminMissing):
            other.retrieve_project(project.id)


def test_an_archived_project_takes_no_change_and_its_keys_die(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    key_id, value = key_in(api, project)
    api.archive_project(project.id)
    assert openai.asks(value) == 401
    with pytest.raises(AdminRejected):
        api.delete_key(project.id, key_id)


def test_a_stale_authentication_cache_forgets_late_and_learns_late(
    api: AdminApi, project: Project, openai: OpenAICompany
) -> None:
    key_id, value = key_in(api, project)
    openai.settle(stale_seconds=1.0)
    _, late = key_in(api, project, "late")
    api.delete_key(project.id, key_id)
    assert (openai.asks(value), openai.asks(late)) == (200, 401)
    time.sleep(1.1)
    assert (openai.asks(value), openai.asks(late)) == (401, 200)


# -- errors


@pytest.mark.parametrize(
    ("status", "kind", "maybe_done"),
    [
        (400, AdminRejected, False),
        (401, AdminKeyRefused, False),
        (403, AdminForbidden, False),
        (404, AdminMissing, False),
        (409, AdminRejected, False),
        (429, AdminUnavailable, False),
        (500, AdminUnavailable, True),
        (503, AdminUnavailable, True),
    ],
)
def test_each_status_has_its_error(
    api: AdminApi, openai: OpenAICompany, status: int, kind: type[AdminApiError], maybe_done: bool
) -> None:
    openai.order("before", "error", method="POST", status=status)
    with pytest.raises(kind) as refused:
        api.create_project("x")
    assert refused.value.maybe_done is maybe_done
    assert str(refused.value).endswith(".") or str(refused.value).endswith(").")
    assert "The server had an error" not in str(refused.value)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", ["error", "cut"])
def test_a_create_is_sent_once_and_may_have_happened(api: AdminApi, openai: OpenAICompany, when: str, how: str) -> None:
    openai.order(when, how, method="POST", path="/projects$")
    with pytest.raises(AdminUnavailable) as failed:
        api.create_project("once")
    assert failed.value.maybe_done
    assert len(api.find_projects("once")) == (1 if when == "after" else 0)


def test_a_create_that_is_too_slow_may_have_happened(openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_api, "TIMEOUT", httpx2.Timeout(0.5))
    with openai.api() as api:
        openai.order("after", "delay", method="POST", path="/projects$", seconds=1.5)
        with pytest.raises(AdminUnavailable) as failed:
            api.create_project("slow")
        assert failed.value.maybe_done
        assert len(api.find_projects("slow")) == 1


def test_reads_and_deletions_are_tried_again(api: AdminApi, project: Project, openai: OpenAICompany) -> None:
    key_id, value = key_in(api, project)
    openai.order("before", "cut", method="GET", times=2)
    assert len(api.list_keys(project.id)) == 1
    openai.order("after", "error", method="DELETE")
    assert api.delete_key(project.id, key_id) is False  # the second attempt finds it gone
    assert openai.asks(value) == 401


def test_nobody_there_is_an_error_with_a_sentence() -> None:
    with AdminApi(make_admin_key(), "http://127.0.0.1:9/v1") as api, pytest.raises(AdminUnavailable) as failed:
        api.create_project("x")
    assert "could not be reached" in str(failed.value)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/html", b"<html>Please sign in to the guest network</html>"),
        ("application/json", b"{}"),
        ("application/json", b"[1, 2"),
        ("application/json", b'{"data": [{"object": "something else"}]}'),
    ],
)
def test_an_answer_that_is_not_theirs_is_not_believed(kind: str, content: bytes) -> None:
    with _answering(kind, content) as address, AdminApi(make_admin_key(), address) as api:
        with pytest.raises(AdminUnreadable) as failed:
            api.create_project("x")
        assert failed.value.maybe_done
        with pytest.raises(AdminUnreadable):
            api.create_key("proj_x", "user_x", "x", expires_in=MONTH)
        for act in (api.retention, api.list_keys, api.hosted_tools, api.spend_limit, api.model_permissions):
            with pytest.raises(AdminUnreadable):
                act("proj_x")
        with pytest.raises(AdminUnreadable):
            list(api.usage("completions", datetime.now(UTC) - MONTH, datetime.now(UTC)))


@contextmanager
def _answering(kind: str, content: bytes) -> Iterator[str]:
    """The address of a server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join(timeout=10)


def test_no_error_holds_a_key_anywhere(api: AdminApi, openai: OpenAICompany, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = make_admin_key()
    caught: list[BaseException] = []
    for how in ("error", "cut"):
        openai.order("before", how, method="POST")
        caught.append(_error_of(lambda: api.create_project("x")))
    with openai.api() as once:
        once.delete_admin_key(once.list_admin_keys()[0].id)
        caught.append(_error_of(once.list_projects))
    for error in caught:
        told = "".join(traceback.format_exception(error)) + repr(vars(error))
        assert not contains_key(told)
        assert openai.admin_key.reveal()[-8:] not in told
        assert not any(isinstance(one, sdk.OpenAIError) for one in _chain(error))
    assert openai.admin_key.reveal() not in caplog.text
    assert wrong.reveal() not in caplog.text


def _error_of(act: Any) -> AdminApiError:
    with pytest.raises(AdminApiError) as failed:
        act()
    return failed.value


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_a_new_key_is_a_secret_from_the_first_moment(api: AdminApi, project: Project) -> None:
    made = api.create_key(project.id, account_in(api, project), "x", expires_in=MONTH)
    assert made.value.reveal() not in repr(made)
    [listed] = api.list_keys(project.id)
    assert made.value.reveal()[-4:] not in repr(listed)
    with pytest.raises(TypeError):
        pickle.dumps(made)


def test_it_refuses_to_start_with_the_sdks_own_variables(
    monkeypatch: pytest.MonkeyPatch, openai: OpenAICompany
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_of_somebody")
    with pytest.raises(Exception, match="OPENAI_PROJECT_ID"):
        openai.api()


def test_only_the_admin_key_is_sent_and_no_organization_or_project(api: AdminApi) -> None:
    headers = api._once._build_request(
        sdk._models.FinalRequestOptions(method="get", url="/x", security={"admin_api_key_auth": True})
    ).headers
    assert "openai-organization" not in headers
    assert "openai-project" not in headers
    assert headers["authorization"].startswith("Bearer sk-")


# -- from an organization


def test_an_organization_without_an_admin_key_is_an_answer(company: Company) -> None:
    answer = open_admin_api(company.organization)
    assert isinstance(answer, AdminKeyMissing)
    assert company.organization.name in answer.sentence
    assert not has_admin_key(company.organization)


def test_an_organization_opens_its_own(company: Company, openai: OpenAICompany) -> None:
    openai.belongs_to(company.organization)
    assert has_admin_key(company.organization)
    opened = open_admin_api(company.organization)
    assert isinstance(opened, AdminApi)
    with opened as api:
        api.verify()
