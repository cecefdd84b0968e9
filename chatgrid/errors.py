"""What a person sees when something is wrong: a sentence and a next step, never a trace."""

from __future__ import annotations

import logging
import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse

from chatgrid import outages
from departments.access import SecondFactorNeeded
from departments.http import wants_json

logger = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem(request, 400, "Not understood", "The request could not be read. Go back and try again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, SecondFactorNeeded):
        next_step = {"href": reverse("mfa_index"), "label": "Set it up now"}
        sentence = "Your company asks for a second factor before this opens, and you have none yet. It takes a minute."
        return problem(request, 403, "A second factor first", sentence, next_step)
    sentence = "Your role does not allow this. A department admin or IT can help."
    return problem(request, 403, "Not allowed", sentence)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The same page, whether there is nothing or it is somebody else's."""
    return problem(request, 404, "Not found", "There is nothing here, or it is not yours to see.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Written without the database, which may be what is wrong."""
    error = sys.exc_info()[1]
    if isinstance(error, outages.ERRORS):
        return _outage(request, error)
    return problem(request, 500, "Something broke", "This was our fault, not yours. Try again; IT has been told.")


def _outage(request: HttpRequest, error: BaseException) -> HttpResponse:
    reference = outages.new_reference()
    logger.error(outages.line_of(request, error, reference))
    sentence = "ChatGrid cannot reach its database right now. Try again in a minute; IT has been told."
    response = problem(request, 503, "Back in a moment", sentence, reference=reference)
    response.headers["Retry-After"] = "10"
    response.headers["X-Request-Id"] = reference
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    sentence = "The page was open for too long or came from elsewhere. Reload it and send again."
    return problem(request, 403, "Please reload", sentence)


def problem(
    request: HttpRequest,
    status: int,
    title: str,
    sentence: str,
    next_step: dict[str, str] | None = None,
    **more: str,
) -> HttpResponse:
    """The page, or for a script the same as JSON: what is wrong and what to do next."""
    told = {"title": title, "sentence": sentence, "status": status, **more}
    if wants_json(request):
        return JsonResponse(told, status=status)
    # without the request: the frame of a page reads the session and the database
    return HttpResponse(render_to_string("errors/problem.html", told | {"next_step": next_step}), status=status)
