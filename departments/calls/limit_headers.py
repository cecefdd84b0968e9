"""What a refusal says to programs: Retry-After (RFC 9110) and the RateLimit fields of the IETF's draft
(draft-ietf-httpapi-ratelimit-headers-10).

The names of the policies are ours; `q` is the ceiling, `qu` its unit, `w` the window in seconds, `r` what is left and
`t` the seconds until it resets. Money is counted in cents, because the fields know whole numbers only.
"""

from __future__ import annotations

from decimal import Decimal

from departments.calls.caller import CallEndedEarly, CallRefused
from departments.limits.budget import Refusal

UNITS = {
    "tokens": "tokens",
    "money": "us-cents",
    "price": "us-cents",
    "requests": "requests",
    "answers": "concurrent-requests",
}
WINDOWS = {"minute": 60, "day": 86_400}  # a month has no length of its own, answers at once have no window
MOST = 999_999_999_999_999  # the largest whole number of a structured field (RFC 9651)


def headers_of(early: CallEndedEarly) -> dict[str, str]:
    """The header fields of a response that says why there is no answer; none where nobody knows when to come back."""
    seconds = early.retry_after
    if seconds is None:
        return {}
    fields = {"Retry-After": str(seconds)}
    if isinstance(early, CallRefused) and early.refusal is not None and early.refusal.measure in UNITS:
        fields |= _rate_limit(early.refusal, seconds)
    return fields


def _rate_limit(refusal: Refusal, seconds: int) -> dict[str, str]:
    name = f'"{refusal.scope}-{refusal.measure}-{refusal.period}"'
    window = f";w={WINDOWS[refusal.period]}" if refusal.period in WINDOWS else ""
    ceiling, left = _whole(refusal, refusal.limit), _whole(refusal, refusal.limit - refusal.used)
    return {
        "RateLimit-Policy": f'{name};q={ceiling};qu="{UNITS[refusal.measure]}"{window}',
        "RateLimit": f"{name};r={left};t={seconds}",
    }


def _whole(refusal: Refusal, value: int | Decimal) -> int:
    whole = int(value * 100) if UNITS[refusal.measure] == "us-cents" else int(value)
    return min(MOST, max(0, whole))
