"""The Admin API's reports: what was used, what it cost, what happened. The rules are in admin_api.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal

from departments.keys.admin_calls import PAGE, AdminCalls, buckets, converted, said
from departments.keys.admin_values import Cost, LogEvent, Usage, cost_of, log_event_of, usage_of

# the most buckets OpenAI gives at once
BUCKETS: dict[str, int] = {"1m": 1440, "1h": 168, "1d": 31}
COST_BUCKETS = 180

Kind = Literal["completions", "embeddings"]
Width = Literal["1m", "1h", "1d"]


class ReportCalls(AdminCalls):
    """Reads only."""

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
        yield from buckets("read the usage", read, asked, lambda bucket, row: usage_of(bucket, row, kind))

    def costs(self, start: datetime, end: datetime, *, project_ids: Sequence[str] = ()) -> Iterator[Cost]:
        """Days of billed cost, by project, key and line item. Up to a day late."""
        asked = _asked(start, end, project_ids=project_ids)
        asked |= {"bucket_width": "1d", "limit": COST_BUCKETS, "group_by": ["project_id", "api_key_id", "line_item"]}
        yield from buckets("read the costs", self._reads.usage.costs, asked, cost_of)

    def audit_logs(
        self, since: datetime, *, types: Sequence[str] = (), project_ids: Sequence[str] = ()
    ) -> Iterator[LogEvent]:
        """OpenAI's own audit log from `since` on. An owner switches it on once, at OpenAI."""
        asked: dict[str, Any] = {"effective_at": {"gte": int(since.timestamp())}, "limit": PAGE}
        asked |= {"event_types": list(types)} if types else {}
        asked |= {"project_ids": list(project_ids)} if project_ids else {}
        act = "read the audit log"
        page = said(act, lambda: self._reads.audit_logs.list(**asked))
        while True:
            yield from said(act, partial(converted, page, log_event_of))
            if not page.has_next_page():
                return
            page = said(act, page.get_next_page)


def _asked(start: datetime, end: datetime, **filters: Sequence[str]) -> dict[str, Any]:
    span = {"start_time": int(start.timestamp()), "end_time": int(end.timestamp())}
    return {**span, **{name: list(values) for name, values in filters.items() if values}}
