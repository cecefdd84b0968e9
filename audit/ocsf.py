"""An event in the shape of the Open Cybersecurity Schema Framework (OCSF 1.3), as security tools read it.

A call is API Activity (class 6003), a sign-in Authentication (3002), a change by IT Entity Management (3004), and what
is left the Base Event (0). The event itself stands whole under `unmapped`, so an export in this shape is verified like
any other.
"""

from __future__ import annotations

import calendar
import json
import time
from typing import Any

import orjson

VERSION = "1.3.0"
API_ACTIVITY, AUTHENTICATION, ENTITY_MANAGEMENT, BASE = 6003, 3002, 3004, 0
CLASSES = {"call": API_ACTIVITY, "account": AUTHENTICATION, "admin": ENTITY_MANAGEMENT}
ACTIVITIES = {"account:signed_in": 1, "account:signed_out": 2, "account:sign_in_refused": 1, "admin:changed": 3}
OTHER = 99
DIGITS = 300
SUCCESS, FAILURE, UNKNOWN = 1, 2, 0
INFORMATIONAL, MEDIUM = 1, 3
GOOD, BAD = {"answered", "stopped"}, {"refused", "failed", "lost", "cut"}


def of_line(line: bytes) -> bytes:
    """One line of a JSON Lines export in OCSF; the original stays byte for byte under `unmapped`."""
    shaped = orjson.dumps(of_event(parsed(line)))
    return shaped[:-1] + b',"unmapped":' + line + b"}"


def parsed(line: bytes) -> Any:
    """A line as values. A number that no double can hold, which PostgreSQL knows, becomes its text."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line, parse_int=lambda text: int(text) if len(text) < DIGITS else text)


def of_event(event: dict[str, Any]) -> dict[str, Any]:
    """The fields of OCSF that an event has a value for. Times are milliseconds since 1970."""
    kind = event["event"].partition(":")[0]
    class_uid = CLASSES.get(kind, BASE)
    activity = ACTIVITIES.get(event["event"], OTHER)
    status = _status(event)
    return {
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": activity,
        "activity_name": event["event"],
        "type_uid": class_uid * 100 + activity,
        "time": _milliseconds(event["at"]),
        "severity_id": MEDIUM if status == FAILURE else INFORMATIONAL,
        "status_id": status,
        "metadata": {
            "version": VERSION,
            "uid": event["id"],
            "sequence": event["seq"],
            "correlation_uid": event["call_id"] or "",
            "product": {"name": "ChatGrid", "vendor_name": "ChatGrid"},
            "tenant_uid": event["organization_id"] or "",
        },
        "actor": {"user": _user(event)},
        "user": _user(event),
        "src_endpoint": {"ip": event["client_address"]},
        "api": {"operation": event["purpose"] or event["event"], "request": {"uid": event["provider_request_id"]}},
        "resources": [{"type": event["subject_kind"], "uid": event["subject_id"]}] if event["subject_kind"] else [],
    }


def _user(event: dict[str, Any]) -> dict[str, Any]:
    groups = [{"uid": event["department_id"], "name": event["department_name"]}] if event["department_id"] else []
    return {"uid": event["actor_id"] or "", "name": event["actor_name"], "groups": groups}


def _status(event: dict[str, Any]) -> int:
    if event["event"].endswith("refused") or event["outcome"] in BAD:
        return FAILURE
    if event["outcome"] in GOOD or event["event"] in ACTIVITIES:
        return SUCCESS
    return UNKNOWN


def _milliseconds(at: str) -> int:
    # 2026-11-23T13:42:30.123456Z; taken apart by hand, because this runs once an event
    return calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(at[20:23])
