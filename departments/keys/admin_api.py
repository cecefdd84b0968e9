"""OpenAI's Admin API: projects, service accounts, keys, limits, usage. For the rotator's queue and for commands.

Rules:
- Whatever creates something is sent once (`max_retries=0`): the SDK sends no idempotency key, and its retry after a cut
  connection would make a second key. `AdminApiError.maybe_done` tells the caller to look before trying again.
- Reads and deletions are retried by the SDK twice; a deletion that finds nothing is done.
- Base URL, key, organization and project are passed here; nothing is read from the environment.
- Errors are ours (admin_errors.py); values are ours (admin_values.py); a key's value travels as `Secret` only.
- Lists are read to their end, a hundred at a time.

Facts about the calls: OpenAI's SDK 3.54 and its API reference, collected in docs/provider.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx2
import openai
from openai import DefaultHttpx2Client, OpenAI
from openai.resources.admin.organization.organization import Organization as OrganizationResource

from departments.keys.admin_errors import (
    AdminApiError,
    AdminForbidden,
    AdminKeyRefused,
    AdminMissing,
    AdminRejected,
    AdminUnavailable,
    AdminUnreadable,
    KeyDeletionRefused,
    admin_error,
)
from departments.keys.admin_key import AdminKeyMissing, has_admin_key, read_admin_key, store_admin_key
from departments.keys.admin_values import (
    AdminKey,
    ApiKey,
    Cost,
    LogEvent,
    ModelPermissions,
    NewKey,
    Project,
    RateLimit,
    ServiceAccount,
    SpendAlert,
    SpendLimit,
    Usage,
    account_of,
    admin_key_of,
    alert_of,
    cost_of,
    key_of,
    log_event_of,
    new_key_of,
    project_of,
    rate_limit_of,
    text_of,
    usage_of,
)
from departments.keys.client import Provider, provider_named, refuse_environment
from departments.keys.secret import Secret
from departments.models import Department, Organization

__all__ = [
    "AdminApi",
    "AdminApiError",
    "AdminForbidden",
    "AdminKey",
    "AdminKeyMissing",
    "AdminKeyRefused",
    "AdminMissing",
    "AdminRejected",
    "AdminUnavailable",
    "AdminUnreadable",
    "ApiKey",
    "Cost",
    "KeyDeletionRefused",
    "LogEvent",
    "ModelPermissions",
    "NewKey",
    "Project",
    "RateLimit",
    "ServiceAccount",
    "SpendAlert",
    "SpendLimit",
    "Usage",
    "has_admin_api",
    "has_admin_key",
    "open_admin_api",
    "openai_base_url",
    "provider_of",
    "store_admin_key",
]

PAGE = 100
RETRIES = 2
TIMEOUT = httpx2.Timeout(connect=5, write=10, pool=5, read=30)
HOSTED_TOOLS = ("code_interpreter", "file_search", "image_generation", "mcp", "web_search")
# the most buckets OpenAI gives at once
BUCKETS: dict[str, int] = {"1m": 1440, "1h": 168, "1d": 31}
COST_BUCKETS = 180

Kind = Literal["completions", "embeddings"]
Width = Literal["1m", "1h", "1d"]
T = TypeVar("T")


def provider_of(department: Department) -> Provider:
    """Where the department's calls go."""
    return provider_named(department.provider)


def has_admin_api(provider: Provider) -> bool:
    """Only OpenAI itself has one; Azure and compatible servers are looked after elsewhere."""
    return provider.kind == "openai"


def open_admin_api(organization: Organization, provider: Provider | None = None) -> AdminApi | AdminKeyMissing:
    """The Admin API with this organization's admin key, to be used in a `with`; or why there is none.

    Raises a VaultError where the secret manager does not give the key.
    """
    key = read_admin_key(organization)
    if isinstance(key, AdminKeyMissing):
        return key
    return AdminApi(key, (provider or _openai()).base_url)


def openai_base_url() -> str:
    """Where OpenAI itself is; StopIteration where settings name no provider of that kind."""
    return _openai().base_url


def _openai() -> Provider:
    from django.conf import settings

    name = next(name for name, entry in settings.PROVIDERS.items() if entry["kind"] == "openai")
    return provider_named(name)


class AdminApi:
    """One organization at OpenAI. Holds connections: use it in a `with`, in one thread."""

    def __init__(self, key: Secret, base_url: str) -> None:
        refuse_environment()
        self._once = OpenAI(
            api_key="none",  # the SDK wants one; it is never sent on admin calls
            admin_api_key=key.reveal(),
            base_url=base_url,
            max_retries=0,
            http_client=DefaultHttpx2Client(follow_redirects=False, timeout=TIMEOUT),
        )
        self._patient = self._once.with_options(max_retries=RETRIES)

    def __enter__(self) -> AdminApi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._once.close()

    # -- projects

    def create_project(self, name: str) -> Project:
        return _said("create the project", lambda: project_of(self._writes.projects.create(name=name)))

    def list_projects(self, *, include_archived: bool = False) -> list[Project]:
        return _said(
            "list the projects",
            lambda: _every(self._reads.projects.list(include_archived=include_archived, limit=PAGE), project_of),
        )

    def find_projects(self, name: str) -> list[Project]:
        """Active projects of exactly this name, the oldest first. OpenAI allows a name more than once."""
        found = [project for project in self.list_projects() if project.name == name and project.active]
        return sorted(found, key=lambda project: (project.created_at, project.id))

    def retrieve_project(self, project_id: str) -> Project:
        return _said("look at the project", lambda: project_of(self._reads.projects.retrieve(project_id)))

    def rename_project(self, project_id: str, name: str) -> Project:
        return _said("rename the project", lambda: project_of(self._writes.projects.update(project_id, name=name)))

    def archive_project(self, project_id: str) -> Project:
        """Close it for ever: it cannot be used, changed or deleted afterwards."""
        return _said("archive the project", lambda: project_of(self._writes.projects.archive(project_id)))

    # -- service accounts and keys

    def create_service_account(self, project_id: str, name: str) -> ServiceAccount:
        """An account without a key and, at first, without a role (see `grant_role`)."""
        return _said(
            "create the service account",
            lambda: account_of(
                self._writes.projects.service_accounts.create(project_id, name=name, create_service_account_only=True)
            ),
        )

    def grant_role(
        self, project_id: str, account_id: str, role: Literal["member", "owner"] = "member"
    ) -> ServiceAccount:
        """Let the account act in the project: one made without defaults may do nothing."""
        return _said(
            "give the service account its role",
            lambda: account_of(
                self._writes.projects.service_accounts.update(account_id, project_id=project_id, role="member")
            ),
        )

    def list_service_accounts(self, project_id: str) -> list[ServiceAccount]:
        return _said(
            "list the service accounts",
            lambda: _every(self._reads.projects.service_accounts.list(project_id, limit=PAGE), account_of),
        )

    def delete_service_account(self, project_id: str, account_id: str) -> bool:
        """Delete the account and every key of it. False: it was gone already."""
        return _deleted(
            "delete the service account",
            lambda: self._reads.projects.service_accounts.delete(account_id, project_id=project_id),
        )

    def create_key(
        self, project_id: str, account_id: str, name: str, *, expires_in: timedelta, scopes: Sequence[str] = ()
    ) -> NewKey:
        """A further key of the account. Always with an end: the switch that works when everybody has forgotten it."""
        given: dict[str, Any] = {"scopes": list(scopes)} if scopes else {}
        return _said(
            "create the key",
            lambda: new_key_of(
                self._writes.projects.service_accounts.api_keys.create(
                    account_id,
                    project_id=project_id,
                    name=name,
                    expires_in_seconds=int(expires_in.total_seconds()),
                    **given,
                )
            ),
        )

    def list_keys(self, project_id: str) -> list[ApiKey]:
        """Every enabled key of the project, also of owners who have lost their access."""
        return _said(
            "list the keys",
            lambda: _every(
                self._reads.projects.api_keys.list(project_id, owner_project_access="any", limit=PAGE), key_of
            ),
        )

    def delete_key(self, project_id: str, key_id: str) -> bool:
        """Delete one key. False: it was gone already. KeyDeletionRefused where only its account can be deleted."""
        try:
            return _deleted(
                "delete the key", lambda: self._reads.projects.api_keys.delete(key_id, project_id=project_id)
            )
        except AdminRejected as error:
            refused = KeyDeletionRefused(str(error))
        raise refused

    def retire_key(self, project_id: str, key_id: str) -> str:
        """End a key whatever it takes: "key", "account" (its account was deleted with it) or "gone".

        AdminRejected where the account holds another key: that one would die too.
        """
        try:
            return "key" if self.delete_key(project_id, key_id) else "gone"
        except KeyDeletionRefused:
            keys = self.list_keys(project_id)
        owner = next((key.owner_id for key in keys if key.id == key_id), None)
        if owner is None:
            return "gone"
        if any(key.owner_id == owner and key.id != key_id for key in keys):
            raise AdminRejected("OpenAI will not delete this key alone, and its account holds another one in use.")
        self.delete_service_account(project_id, owner)
        return "account"

    # -- fences of a project

    def model_permissions(self, project_id: str) -> ModelPermissions | None:
        """None: every model of the organization is allowed."""

        def read() -> ModelPermissions:
            answer = self._reads.projects.model_permissions.retrieve(project_id)
            return ModelPermissions(answer.mode, frozenset(answer.api_model_ids))

        return _found("look at the allowed models", read)

    def allow_models(self, project_id: str, models: Sequence[str]) -> None:
        """Allow these models and no other."""
        _said(
            "set the allowed models",
            lambda: self._writes.projects.model_permissions.update(
                project_id, mode="allow_list", model_ids=sorted(models)
            ),
        )

    def hosted_tools(self, project_id: str) -> frozenset[str]:
        """Those that are switched on."""

        def read() -> frozenset[str]:
            answer = self._reads.projects.hosted_tool_permissions.retrieve(project_id)
            return frozenset(tool for tool in HOSTED_TOOLS if getattr(answer, tool).enabled)

        return _said("look at the hosted tools", read)

    def disable_hosted_tools(self, project_id: str) -> None:
        off: dict[str, Any] = {tool: {"enabled": False} for tool in HOSTED_TOOLS}
        _said(
            "switch the hosted tools off",
            lambda: self._writes.projects.hosted_tool_permissions.update(project_id, **off),
        )

    def spend_limit(self, project_id: str) -> SpendLimit | None:
        def read() -> SpendLimit:
            answer = self._reads.projects.spend_limit.retrieve(project_id)
            return SpendLimit(int(answer.threshold_amount), answer.enforcement.status == "enforcing")

        return _found("look at the spend limit", read)

    def set_spend_limit(self, project_id: str, cents: int) -> None:
        """A hard limit a calendar month. It takes a while to bite: a little more may be spent."""
        _said(
            "set the spend limit",
            lambda: self._writes.projects.spend_limit.update(
                project_id, threshold_amount=cents, currency="USD", interval="month"
            ),
        )

    def remove_spend_limit(self, project_id: str) -> bool:
        return _deleted("remove the spend limit", lambda: self._reads.projects.spend_limit.delete(project_id))

    def spend_alerts(self, project_id: str) -> list[SpendAlert]:
        return _said(
            "list the spend alerts",
            lambda: _every(self._reads.projects.spend_alerts.list(project_id, limit=PAGE), alert_of),
        )

    def create_spend_alert(
        self, project_id: str, cents: int, recipients: Sequence[str], subject_prefix: str
    ) -> SpendAlert:
        """A mail when the month's spending passes `cents`; it stops nothing."""
        return _said(
            "create the spend alert",
            lambda: alert_of(
                self._writes.projects.spend_alerts.create(
                    project_id,
                    threshold_amount=cents,
                    currency="USD",
                    interval="month",
                    notification_channel={
                        "type": "email",
                        "recipients": list(recipients),
                        "subject_prefix": subject_prefix,
                    },
                )
            ),
        )

    def delete_spend_alert(self, project_id: str, alert_id: str) -> bool:
        return _deleted(
            "delete the spend alert",
            lambda: self._reads.projects.spend_alerts.delete(alert_id, project_id=project_id),
        )

    def rate_limits(self, project_id: str) -> list[RateLimit]:
        """One for each model the organization knows."""
        return _said(
            "list the rate limits",
            lambda: _every(self._reads.projects.rate_limits.list_rate_limits(project_id, limit=PAGE), rate_limit_of),
        )

    def set_rate_limit(
        self,
        project_id: str,
        limit_id: str,
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> RateLimit:
        """Change one model's limit; None leaves a figure as it is. AdminRejected above the organization's own."""
        figures: dict[str, Any] = {
            "max_requests_per_1_minute": requests_per_minute,
            "max_tokens_per_1_minute": tokens_per_minute,
        }
        given = {name: value for name, value in figures.items() if value is not None}
        return _said(
            "set the rate limit",
            lambda: rate_limit_of(
                self._writes.projects.rate_limits.update_rate_limit(limit_id, project_id=project_id, **given)
            ),
        )

    def retention(self, project_id: str) -> str:
        """A value of `departments.keys.models.Retention`."""
        return _said(
            "look at the retention",
            lambda: text_of(self._reads.projects.data_retention.retrieve(project_id).type),
        )

    def set_retention(self, project_id: str, kind: str) -> None:
        """AdminForbidden or AdminRejected where OpenAI has not agreed to it for this organization."""
        chosen: Any = kind
        _said(
            "set the retention",
            lambda: self._writes.projects.data_retention.update(project_id, retention_type=chosen),
        )

    # -- what was used, and what happened

    def usage(
        self,
        kind: Kind,
        start: datetime,
        end: datetime,
        *,
        project_ids: Sequence[str] = (),
        key_ids: Sequence[str] = (),
        width: Width = "1d",
    ) -> Iterator[Usage]:
        """Rows by project, key and model. Minutes late; complete for a day from noon UTC of the next."""
        asked = _asked(start, end, project_ids=project_ids, api_key_ids=key_ids)
        asked |= {"bucket_width": width, "limit": BUCKETS[width], "group_by": ["project_id", "api_key_id", "model"]}
        read = self._reads.usage.completions if kind == "completions" else self._reads.usage.embeddings
        yield from _buckets("read the usage", read, asked, lambda bucket, row: usage_of(bucket, row, kind))

    def costs(self, start: datetime, end: datetime, *, project_ids: Sequence[str] = ()) -> Iterator[Cost]:
        """Days of billed cost, by project, key and line item. Up to a day late."""
        asked = _asked(start, end, project_ids=project_ids)
        asked |= {"bucket_width": "1d", "limit": COST_BUCKETS, "group_by": ["project_id", "api_key_id", "line_item"]}
        yield from _buckets("read the costs", self._reads.usage.costs, asked, cost_of)

    def audit_logs(
        self, since: datetime, *, types: Sequence[str] = (), project_ids: Sequence[str] = ()
    ) -> Iterator[LogEvent]:
        """OpenAI's own audit log from `since` on. An owner switches it on once, at OpenAI."""
        asked: dict[str, Any] = {"effective_at": {"gte": int(since.timestamp())}, "limit": PAGE}
        asked |= {"event_types": list(types)} if types else {}
        asked |= {"project_ids": list(project_ids)} if project_ids else {}
        act = "read the audit log"
        page = _said(act, lambda: self._reads.audit_logs.list(**asked))
        while True:
            yield from _said(act, partial(_converted, page, log_event_of))
            if not page.has_next_page():
                return
            page = _said(act, page.get_next_page)

    # -- admin keys

    def create_admin_key(self, name: str, *, expires_in: timedelta) -> NewKey:
        return _said(
            "create the admin key",
            lambda: new_key_of(
                self._writes.admin_api_keys.create(name=name, expires_in_seconds=int(expires_in.total_seconds()))
            ),
        )

    def list_admin_keys(self) -> list[AdminKey]:
        return _said(
            "list the admin keys",
            lambda: _every(self._reads.admin_api_keys.list(limit=PAGE), admin_key_of),
        )

    def delete_admin_key(self, key_id: str) -> bool:
        return _deleted("delete the admin key", lambda: self._reads.admin_api_keys.delete(key_id))

    def verify(self) -> None:
        """Returns when the key works; raises AdminKeyRefused, or what else is in the way."""
        _said("check the admin key", lambda: _converted(self._reads.projects.list(limit=1), project_of))

    @property
    def _reads(self) -> OrganizationResource:
        return self._patient.admin.organization

    @property
    def _writes(self) -> OrganizationResource:
        return self._once.admin.organization


def _said(act: str, call: Callable[[], T]) -> T:
    """What the call gives, or our error. It is raised outside the handler, so that it carries none of the SDK's."""
    problem: AdminApiError
    try:
        return call()
    except openai.APIError as error:
        problem = admin_error(error, act)
    except (AttributeError, TypeError, ValueError):
        # a field that is missing or of another kind: not the Admin API, but a proxy or a wrong base URL
        problem = AdminUnreadable(f"OpenAI's answer to our request to {act} could not be read. Check the base URL.")
    raise problem


def _found(act: str, call: Callable[[], T]) -> T | None:
    """As `_said`; None where there is none."""
    try:
        return _said(act, call)
    except AdminMissing:
        return None


def _deleted(act: str, call: Callable[[], object]) -> bool:
    """True: deleted now. False: it was gone."""
    try:
        _said(act, call)
    except AdminMissing:
        return False
    return True


def _asked(start: datetime, end: datetime, **filters: Sequence[str]) -> dict[str, Any]:
    span = {"start_time": int(start.timestamp()), "end_time": int(end.timestamp())}
    return {**span, **{name: list(values) for name, values in filters.items() if values}}


def _converted(page: Any, convert: Callable[[Any], T]) -> list[T]:
    """The items of one page. ValueError where it has no list: an answer without one must not pass for an empty one."""
    if not isinstance(page.data, list):
        raise ValueError("a page without a list")
    return [convert(item) for item in page.data]


def _every(page: Any, convert: Callable[[Any], T]) -> list[T]:
    """The items of this page and of all that follow."""
    items = _converted(page, convert)
    while page.has_next_page():
        page = page.get_next_page()
        items += _converted(page, convert)
    return items


def _buckets(
    act: str, read: Callable[..., Any], asked: dict[str, Any], convert: Callable[[Any, Any], T]
) -> Iterator[T]:
    """The rows of every bucket of every page; the SDK does not page these by itself."""
    page = _said(act, lambda: read(**asked))
    while True:
        buckets = _said(act, partial(_converted, page, lambda bucket: [convert(bucket, row) for row in bucket.results]))
        yield from chain.from_iterable(buckets)
        if not page.has_more or not page.next_page:
            return
        page = _said(act, partial(read, **asked, page=page.next_page))
