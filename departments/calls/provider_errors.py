"""What the provider's errors mean for us. Decided on `error.code`, then on the status; `type` is too coarse.

The codes follow OpenAI's own guide to errors. A provider's message is never shown and never stored: OpenAI's 401
repeats part of the key. For compatible servers, which lose the code, it is looked through for a few phrases.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
import openai

from departments.calls import sentences

MONEY = {
    "credit_balance_exhausted",
    "insufficient_quota",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
}
SPEND_LIMIT = "spend_limit"  # a compatible server's, known by its words only
MONEY_PHRASES = ("exceeded your current quota", "spend limit", "billing")
LONGEST_WAIT = 3.0  # seconds; a longer Retry-After is told to the person instead of waited for
LONGEST_PROMISE = 86_400.0  # seconds; what a provider may ask a person to wait at most, to be repeated by us


@dataclass(frozen=True)
class Problem:
    """One failed attempt: what to say, the word for the record, and whether another attempt makes sense.

    `retries` is how often this same problem may be tried again, after `pause` seconds; `retry_after` is what the
    provider asked for, in seconds; `taken` says that the provider may have worked on the request and charge for it.
    """

    sentence: str
    reason: str
    retries: int = 0
    pause: float = 0.0
    retry_after: float | None = None
    key_refused: bool = False
    taken: bool = False

    @property
    def is_money(self) -> bool:
        """A spend limit there is reached: it stays so until somebody raises it, or a new month begins."""
        return self.reason in MONEY or self.reason == SPEND_LIMIT


def problem_of(error: openai.APIError, attempt: int = 1) -> Problem:
    """The meaning of an error raised before the first byte of an answer, at the `attempt`-th request."""
    if isinstance(error, openai.APIStatusError):
        return _by_status(error, attempt)
    if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return Problem(sentences.PROVIDER_DOWN, "provider_unreachable", retries=2, pause=0.3 * attempt)
    if isinstance(error, openai.APITimeoutError):
        return Problem(sentences.PROVIDER_SILENT, "provider_timeout", taken=True)
    if isinstance(error, openai.APIConnectionError):
        return Problem(sentences.PROVIDER_DOWN, "connection_cut", retries=2, pause=0.3 * attempt, taken=True)
    return Problem(sentences.PROVIDER_UNCLEAR, "provider_unreadable", taken=True)


def _by_status(error: openai.APIStatusError, attempt: int) -> Problem:
    code, status = str(error.code or ""), error.status_code
    if status == 401:
        return Problem(sentences.KEY_REFUSED, "key_refused", retries=1, key_refused=True)
    if status == 403:
        return Problem(sentences.NOT_ALLOWED, "provider_forbids")
    if status == 404 or code == "model_not_found":
        return Problem(sentences.MODEL_UNKNOWN, "model_unknown")
    if status == 429:
        return _too_many(error, code)
    if code == "context_length_exceeded":
        return Problem(sentences.TOO_LONG, "context_length_exceeded")
    if status >= 500:
        return _later(error, Problem(sentences.PROVIDER_DOWN, f"provider_{status}", retries=2, pause=0.5 * attempt))
    return Problem(sentences.PROVIDER_REFUSED, f"provider_{status}")


def _too_many(error: openai.APIStatusError, code: str) -> Problem:
    spoken = str(error.message).lower()
    # compatible servers put the status in place of the code; the phrase is all they leave
    if code in MONEY or ((not code or code.isdigit()) and any(phrase in spoken for phrase in MONEY_PHRASES)):
        return Problem(sentences.PROVIDER_LIMIT, code if code in MONEY else SPEND_LIMIT)
    return _later(error, Problem(sentences.PROVIDER_BUSY, "provider_rate_limited", retries=1, pause=1.0))


def _later(error: openai.APIStatusError, problem: Problem) -> Problem:
    """The problem with the wait that the provider asked for, if it did."""
    asked = _retry_after(error)
    if asked is None:
        return problem
    retries = problem.retries if asked <= LONGEST_WAIT else 0
    return Problem(problem.sentence, problem.reason, retries, pause=asked, retry_after=asked)


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_PROMISE) if seconds >= 0 else None
