"""Every task names its queue, every queue has a worker, and the schedule starts only what exists."""

from __future__ import annotations

from chatgrid.celery import app
from chatgrid.schedule import ROUTES, SCHEDULE, Queue


def tasks() -> set[str]:
    app.loader.import_default_modules()
    return {name for name in app.tasks if not name.startswith("celery.")}


def test_every_task_names_its_queue() -> None:
    assert tasks() - set(ROUTES) == set(), "Add these to chatgrid/schedule.py ROUTES."


def test_no_route_is_dead() -> None:
    assert set(ROUTES) - tasks() == set(), "Remove these from chatgrid/schedule.py ROUTES."


def test_every_route_leads_to_a_queue_that_workers_read() -> None:
    assert {route["queue"] for route in ROUTES.values()} <= set(Queue)
    assert {queue.name for queue in app.conf.task_queues} == {queue.value for queue in Queue}


def test_the_schedule_starts_only_tasks_that_exist() -> None:
    assert {entry["task"] for entry in SCHEDULE.values()} <= tasks()


def test_every_entry_of_the_schedule_says_which_control_it_serves() -> None:
    assert all("(control" in words for words in SCHEDULE)
