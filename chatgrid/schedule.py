"""What runs in the background: which queue a task waits in, and what the clock starts.

A task without a route, a route without a task and a scheduled task that does not exist each fail a test.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Queue(StrEnum):
    """A queue with the reason why it is one of its own."""

    INGEST = "ingest"  # long and many: an upload of 500 files must not hold up anything else
    ROTATION = "rotation"  # writes secrets and reads admin keys: in production its worker alone has the right to
    RECORD = "record"  # minutes of reading, with the right to read the anchors: verifications
    PUSH = "push"  # waits for a SIEM that may be slow: nothing else may wait with it
    CHORES = "chores"  # short and regular: leases, partitions, sweeps


ROUTES: dict[str, dict[str, str]] = {
    "departments.documents.tasks.ingest": {"queue": Queue.INGEST},
    "departments.documents.tasks.sweep": {"queue": Queue.CHORES},
    "departments.documents.tasks.tend": {"queue": Queue.CHORES},
    "departments.documents.tasks.rebuild": {"queue": Queue.INGEST},
    "departments.documents.tasks.ask_golden": {"queue": Queue.INGEST},
    "departments.documents.tasks.start_sources": {"queue": Queue.CHORES},
    "departments.documents.tasks.sync_source": {"queue": Queue.INGEST},
    "departments.calls.tasks.settle_lost_calls": {"queue": Queue.CHORES},
    "departments.calls.tasks.run_trials": {"queue": Queue.INGEST},
    "departments.calls.tasks.end_grants": {"queue": Queue.CHORES},
    "departments.limits.tasks.raise_alerts": {"queue": Queue.CHORES},
    "departments.limits.tasks.send_notices": {"queue": Queue.CHORES},
    "departments.limits.tasks.keep_up": {"queue": Queue.CHORES},
    "chatgrid.chat.tasks.close_lost_answers": {"queue": Queue.CHORES},
    "audit.tasks.make_partitions": {"queue": Queue.CHORES},
    "audit.tasks.end_months": {"queue": Queue.CHORES},
    "audit.tasks.verify_record": {"queue": Queue.RECORD},
    "audit.tasks.verify_nightly": {"queue": Queue.RECORD},
    "audit.tasks.push_record": {"queue": Queue.PUSH},
    "audit.tasks.roll_up": {"queue": Queue.CHORES},
    "chatgrid.chat.tasks.expire_conversations": {"queue": Queue.CHORES},
    "departments.keys.tasks.advance_rotation": {"queue": Queue.ROTATION},
    "departments.keys.tasks.tick_rotations": {"queue": Queue.ROTATION},
    "departments.keys.tasks.check_projects": {"queue": Queue.ROTATION},
    "departments.keys.tasks.check_new_projects": {"queue": Queue.ROTATION},
    "departments.keys.tasks.compare_usage": {"queue": Queue.ROTATION},
    "departments.keys.tasks.repair_finding": {"queue": Queue.ROTATION},
    "departments.keys.tasks.adopt_project": {"queue": Queue.ROTATION},
    "departments.keys.tasks.archive_project": {"queue": Queue.ROTATION},
    "departments.tasks.plan_department": {"queue": Queue.ROTATION},
    "departments.tasks.provision": {"queue": Queue.ROTATION},
    "departments.tasks.make_pepper": {"queue": Queue.ROTATION},
    "chatgrid.console.tasks.prove_controls": {"queue": Queue.CHORES},
    "chatgrid.console.tasks.prove_control": {"queue": Queue.CHORES},
}

# seconds; `expires` keeps ticks from piling up behind a worker that was away
SCHEDULE: dict[str, dict[str, Any]] = {
    "look whether every control holds: the tiles of IT's home page (controls 1 to 8)": {
        "task": "chatgrid.console.tasks.prove_controls",
        "schedule": 20.0,  # what is due by its own time
        "options": {"expires": 20},
    },
    "compare what OpenAI counted with the record: a leaked key shows (controls 3 and 5)": {
        "task": "departments.keys.tasks.compare_usage",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "push sealed events to the SIEM (control 5)": {
        "task": "audit.tasks.push_record",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "end texts and months of the record whose retention is over (control 5)": {
        "task": "audit.tasks.end_months",
        "schedule": 6 * 3600.0,
        "options": {"expires": 3600},
    },
    "sum up what was sealed, for the auditor's charts (control 5)": {
        "task": "audit.tasks.roll_up",
        "schedule": 20.0,
        "options": {"expires": 20},
    },
    "verify the whole record once a day (control 5)": {
        "task": "audit.tasks.verify_nightly",
        "schedule": 3600.0,  # what is due by its own time
        "options": {"expires": 3600},
    },
    "verify a record that nobody has verified yet (control 5)": {
        "task": "audit.tasks.verify_nightly",
        "schedule": 15.0,
        "kwargs": {"first": True},
        "options": {"expires": 15},
    },
    "delete conversations whose retention is over (control 5)": {
        "task": "chatgrid.chat.tasks.expire_conversations",
        "schedule": 6 * 3600.0,
        "options": {"expires": 3600},
    },
    "rotate keys that are due, and go on with rotations that wait (control 7)": {
        "task": "departments.keys.tasks.tick_rotations",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "compare every project at OpenAI with what is wanted (control 3)": {
        "task": "departments.keys.tasks.check_projects",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "compare a project that is new, so that its tile need not wait for the hour (control 3)": {
        "task": "departments.keys.tasks.check_new_projects",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "settle calls whose process died (control 6)": {
        "task": "departments.calls.tasks.settle_lost_calls",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "run the trials of rules that wait (control 8)": {
        "task": "departments.calls.tasks.run_trials",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "record that a grant of more reached its end (control 6)": {
        "task": "departments.calls.tasks.end_grants",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "tell whose budget is used to 50, 80 or 100 % (control 6)": {
        "task": "departments.limits.tasks.raise_alerts",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "send mails and webhooks that wait (control 6)": {
        "task": "departments.limits.tasks.send_notices",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "correct estimates by what was reported, and prune the ledger (control 6)": {
        "task": "departments.limits.tasks.keep_up",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "mark answers whose process died (control 5)": {
        "task": "chatgrid.chat.tasks.close_lost_answers",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "find documents that wait or whose worker died (control 4)": {
        "task": "departments.documents.tasks.sweep",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "remind of documents to review, forget old counts of their use (control 4)": {
        "task": "departments.documents.tasks.tend",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "synchronise folders and buckets that are due (control 4)": {
        "task": "departments.documents.tasks.start_sources",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "make the record's partitions ahead (control 5)": {
        "task": "audit.tasks.make_partitions",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
}
