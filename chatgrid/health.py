"""Whether this process can serve, for load balancers and `make run`; and the receiver of policy violations."""

from __future__ import annotations

import logging

import orjson
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from audit.database import DatabaseDown, connection
from chatgrid.flood import shield
from departments.http import public

REPORT_BYTES = 8_192

logger = logging.getLogger(__name__)


@require_safe
@public
async def health(request: HttpRequest) -> JsonResponse:
    """200 when a call could be made and recorded; 503 otherwise. Says nothing about how ChatGrid is set up."""
    try:
        async with connection() as held:
            await held.execute("SELECT 1")
    except DatabaseDown:
        return JsonResponse({"status": "database away"}, status=503)
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_POST
@public
@shield("report")
def csp_report(request: HttpRequest) -> HttpResponse:
    """A browser says that a page tried to load what the policy forbids: worth a line to the operator."""
    try:
        report = orjson.loads(request.body[:REPORT_BYTES])["csp-report"]
        logger.warning("policy violation: %s on %s", report["violated-directive"], report["document-uri"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return HttpResponse(status=400)
    return HttpResponse(status=204)
