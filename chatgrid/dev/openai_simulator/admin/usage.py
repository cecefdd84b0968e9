"""Usage, costs and the audit log, as the organization's owner reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from chatgrid.dev.openai_simulator.admin.books import Place, Row
from chatgrid.dev.openai_simulator.admin.call import Call
from chatgrid.dev.openai_simulator.admin.company import now
from chatgrid.dev.openai_simulator.errors import invalid

WIDTHS = {"1m": 60, "1h": 3600, "1d": 86_400}
MOST = {"1m": 1440, "1h": 168, "1d": 31}
DEFAULTS = {"1m": 60, "1h": 24, "1d": 7}
GROUPS = {"project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"}
COST_GROUPS = {"project_id", "user_id", "line_item", "api_key_id", "api_source"}


def completions(call: Call) -> dict[str, Any]:
    return _usage(call, "completions")


def embeddings(call: Call) -> dict[str, Any]:
    return _usage(call, "embeddings")


def _usage(call: Call, kind: str) -> dict[str, Any]:
    width = call.query.get("bucket_width", "1d")
    if width not in WIDTHS:
        raise invalid("'bucket_width' is 1m, 1h or 1d.", "bucket_width", "invalid_value")
    groups = _groups(call, GROUPS)

    def results(start: int, end: int) -> list[dict[str, Any]]:
        return [_usage_line(kind, key, row) for key, row in _grouped(call, start, end, kind, groups)]

    return _buckets(call, WIDTHS[width], call.limit(DEFAULTS[width], MOST[width]), results)


def costs(call: Call) -> dict[str, Any]:
    groups = _groups(call, COST_GROUPS)

    def results(start: int, end: int) -> list[dict[str, Any]]:
        amounts: dict[tuple[str | None, ...], float] = defaultdict(float)
        for place, row in _chosen(call, start, end, ("completions", "embeddings")):
            for item, tokens, price in row.lines(place.model):
                named = {"project_id": place.project, "api_key_id": place.key, "line_item": item}
                amounts[tuple(named[name] if name in groups else None for name in named)] += tokens * price / 1e6
        return [_cost_line(key, amount) for key, amount in amounts.items() if amount]

    return _buckets(call, WIDTHS["1d"], call.limit(7, 180), results)


def _groups(call: Call, known: set[str]) -> list[str]:
    groups = call.values("group_by")
    if set(groups) - known:
        raise invalid(f"'group_by' knows {', '.join(sorted(known))}.", "group_by", "invalid_value")
    return groups


def _chosen(call: Call, start: int, end: int, kinds: tuple[str, ...]) -> Iterator[tuple[Place, Row]]:
    """What this organization's projects used in the span, after the filters of the query."""
    projects, keys, models = (call.values(name) for name in ("project_ids", "api_key_ids", "models"))
    for place, row in call.admin.books.chosen(start, end, kinds):
        if place.project not in call.company.projects or (projects and place.project not in projects):
            continue
        if (keys and place.key not in keys) or (models and place.model not in models):
            continue
        yield place, row


def _grouped(
    call: Call, start: int, end: int, kind: str, groups: list[str]
) -> Iterator[tuple[tuple[str | None, ...], Row]]:
    """Sums by project, key and model, with None for what was not asked for."""
    sums: dict[tuple[str | None, ...], Row] = defaultdict(Row)
    for place, row in _chosen(call, start, end, (kind,)):
        named = {"project_id": place.project, "api_key_id": place.key, "model": place.model}
        total = sums[tuple(named[name] if name in groups else None for name in named)]
        for name in ("requests", "prompt_tokens", "completion_tokens", "cached_tokens"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
    return iter(sums.items())


def _usage_line(kind: str, key: tuple[str | None, ...], row: Row) -> dict[str, Any]:
    project, api_key, model = key
    line: dict[str, Any] = {
        "object": f"organization.usage.{kind}.result",
        "project_id": project,
        "api_key_id": api_key,
        "model": model,
        "user_id": None,
        "num_model_requests": row.requests,
        "input_tokens": row.prompt_tokens,
    }
    if kind == "completions":
        line |= {"output_tokens": row.completion_tokens, "input_cached_tokens": row.cached_tokens, "batch": None}
    return line


def _cost_line(key: tuple[str | None, ...], amount: float) -> dict[str, Any]:
    project, api_key, item = key
    return {
        "object": "organization.costs.result",
        "amount": {"value": round(amount, 8), "currency": "usd"},
        "project_id": project,
        "api_key_id": api_key,
        "line_item": item,
    }


def _buckets(call: Call, width: int, limit: int, results: Any) -> dict[str, Any]:
    """A page of buckets from `start_time` on; `page` is where the next one begins."""
    start = _second(call, "start_time")
    end = _second(call, "end_time", now() + 1)
    first = _second(call, "page", start // width * width)
    starts = range(first, end, width)
    data = []
    for at in starts[:limit]:
        span = max(at, start), min(at + width, end)
        data.append({"object": "bucket", "start_time": at, "end_time": at + width, "results": results(*span)})
    more = len(starts) > limit
    return {"object": "page", "data": data, "has_more": more, "next_page": str(starts[limit]) if more else None}


def _second(call: Call, name: str, default: int | None = None) -> int:
    given = call.query.get(name)
    if given is None and default is not None:
        return default
    if given is None or not given.isdigit():
        raise invalid(f"'{name}' is a Unix time in whole seconds.", name, "invalid_value")
    return int(given)


def audit_logs(call: Call) -> dict[str, Any]:
    """The newest first."""
    types, projects = call.values("event_types"), call.values("project_ids")
    since = _second(call, "effective_at[gte]", 0)
    chosen = [
        line
        for line in reversed(call.company.log)
        if line["effective_at"] >= since
        and (not types or line["type"] in types)
        and (not projects or line.get("project", {}).get("id") in projects)
    ]
    return call.page(chosen)
