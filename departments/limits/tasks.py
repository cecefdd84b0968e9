"""The background work of limits: alerts, messages, upkeep."""

from __future__ import annotations

from celery import shared_task

from departments.limits import alerts, upkeep


@shared_task(name="departments.limits.tasks.raise_alerts")
def raise_alerts() -> None:
    """Tell whoever should know which budgets near their end."""
    alerts.raise_alerts()
    alerts.send_due()


@shared_task(name="departments.limits.tasks.send_notices")
def send_notices() -> None:
    """Send the mails and webhooks that wait, and those whose pause is over."""
    alerts.send_due()


@shared_task(name="departments.limits.tasks.keep_up")
def keep_up() -> None:
    """Renew the corrections of the estimates, and prune the ledger."""
    upkeep.learn_corrections()
    upkeep.prune()
