"""Taking the record away: who may, that a fresh sign-in is asked for, and that what leaves verifies on its own."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any

from django.core.management import call_command
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from tests.company import Company, freshly_signed_in, signed_in

FORM = {
    "form": "csv",
    "since": "",
    "until": "",
    "department": "",
    "person": "",
    "event": "",
    "model": "",
    "reason": "Audit of the year",
}


async def at_work() -> None:
    """The sealer, which in life is a process of its own."""
    while True:
        await asyncio.to_thread(call_command, "seal_audit", stdout=io.StringIO())
        await asyncio.sleep(0.1)


async def content(response: Any) -> zipfile.ZipFile:
    assert response.status_code == 200
    return zipfile.ZipFile(io.BytesIO(b"".join([chunk async for chunk in response.streaming_content])))


async def test_an_auditor_sees_the_form_and_takes_their_companys_events_away(
    company: Company, other_company: Company
) -> None:
    for each in (company, other_company):
        record(
            Entry(
                event=Event.DOCUMENT_DELETED, organization_id=each.organization.pk, actor_name=f"of {each.organization}"
            )
        )
    client = await freshly_signed_in(company.ada)
    page = await client.get(reverse("export_record"))
    assert "Every event" in page.content.decode()
    await asyncio.to_thread(call_command, "seal_audit", stdout=io.StringIO())
    sealer = asyncio.ensure_future(at_work())
    packed = await content(await client.post(reverse("export_record"), FORM))
    sealer.cancel()
    await asyncio.wait([sealer])
    rows = next(packed.read(name).decode() for name in packed.namelist() if name.endswith(".csv"))
    assert f"of {company.organization}" in rows
    assert f"of {other_company.organization}" not in rows
    assert any(name.endswith("verify_export.py") for name in packed.namelist())
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event__startswith="record:")
    assert events.filter(actor_id=company.ada.pk).exists()


async def test_an_old_sign_in_is_asked_again(company: Company) -> None:
    client = await signed_in(company.ada)
    response = await client.post(reverse("export_record"), FORM)
    assert response.status_code == 302
    assert "/accounts/reauthenticate/" in response.headers["Location"]


async def test_a_department_admin_may_not(company: Company) -> None:
    client = await freshly_signed_in(company.alice)
    assert (await client.get(reverse("export_record"))).status_code == 403
