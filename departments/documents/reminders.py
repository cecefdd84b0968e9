"""Mails to a department's admins about documents whose day of review has come.

Rules:
- One mail for all documents of a department that came due, on the day in the organization's time zone, not before
  `MORNING`; each document once for each day that somebody chose, whatever is saved again.
- The mail is written (departments/limits/alerts.py sends it, and tries again) before the day is marked as told: a crash
  between the two tells it twice, never not. Where a department has no admin, the next one is told.
- The mail names titles and nothing of what the documents say. CHATGRID_REVIEW_MAILS switches all of them off.
"""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from departments.documents.store import Store
from departments.documents.use import local_day
from departments.limits.alerts import tell_people
from departments.models import Department, Membership
from departments.roles import DepartmentRole

MORNING = 7  # o'clock
TITLES_NAMED = 20

# its rows stay locked until the mail is written: of two workers the second finds nothing
_CAME_DUE = """
    UPDATE document SET reminded_of = review_on
    WHERE deleted_at IS NULL AND review_on <= %s AND reminded_of IS DISTINCT FROM review_on
    RETURNING title
"""


async def remind(store: Store) -> int:
    """Tells the department's admins what came due; how many documents. Raises StoreDown."""
    department = store.department
    if not settings.REVIEW_MAILS or _hour(department) < MORNING:
        return 0
    admins = await sync_to_async(_admins)(department)
    if not admins:
        return 0
    async with store.connection() as held, held.transaction():
        rows = await (await held.execute(_CAME_DUE, [local_day(department)])).fetchall()
        if rows:
            titles = sorted((row["title"] for row in rows), key=str.lower)
            await sync_to_async(_tell)(department, admins, titles)
    return len(rows)


def _hour(department: Department) -> int:
    return timezone.now().astimezone(ZoneInfo(department.organization.time_zone)).hour


def _admins(department: Department) -> list[str]:
    admins = Membership.objects.filter(department=department, role=DepartmentRole.ADMIN, user__is_active=True)
    return list(admins.order_by("user__email").values_list("user__email", flat=True))


def _tell(department: Department, admins: Sequence[str], titles: Sequence[str]) -> None:
    several = len(titles) != 1
    what = f"{len(titles)} documents" if several else "A document"
    listed = [f"- {' '.join(title.split())}" for title in titles[:TITLES_NAMED]]
    if len(titles) > TITLES_NAMED:
        listed.append(f"- and {len(titles) - TITLES_NAMED} more")
    body = (
        f"{what} of {department.name} should be reviewed by now:\n\n" + "\n".join(listed) + "\n\n"
        f"Open Documents of {department.name} in ChatGrid: the line above the list shows {'them' if several else 'it'}."
        " Upload a new version, delete what is out of date, or choose a later day.\n\n"
        f"ChatGrid of {department.organization.name}\n"
    )
    tell_people(department.organization, admins, f"{what} of {department.name} to review", body)
