"""/.well-known/security.txt (RFC 9116): where somebody who found a flaw writes to."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from departments.http import public

VALID = timedelta(days=180)  # the RFC recommends less than a year; the date moves with every answer


@require_safe
@public
async def security_txt(request: HttpRequest) -> HttpResponse:
    """The contact of whoever runs this installation. A flaw in ChatGrid itself goes to its makers: SECURITY.md."""
    expires = (timezone.now() + VALID).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [f"Contact: {contact}" for contact in settings.SECURITY_CONTACTS]
    lines += [f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}", "Preferred-Languages: en"]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")
