"""What a person is told when there is no answer. One sentence says what is wrong, one what to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from departments.limits.budget import Refusal
from departments.limits.budget import dollars as dollars  # pages write amounts the same way

RECORD_DOWN = (
    "ChatGrid cannot write its record right now, so it does not send anything. Try again in a minute; IT has been told."
)
NO_KEY = "This department has no working key yet. IT can add one in the console, under Keys."
VAULT_DOWN = "The key of this department cannot be read right now. Try again in a minute; IT has been told."
KEY_REFUSED = "The provider refused this department's key. IT has been told and can replace it in the console."
NOT_ALLOWED = "The provider does not allow this model or region for this department. IT has been told."
MODEL_UNKNOWN = "The model of this department is not known to the provider. IT can choose another one in the console."
PROVIDER_LIMIT = "This department's spend limit at the provider is used up. IT can raise it or wait for the new month."
PROVIDER_BUSY = "The provider is busy with other requests of this company. Try again in a moment."
PROVIDER_DOWN = "The provider does not answer right now. Your question is kept; try again in a minute."
PROVIDER_SILENT = "The provider took the question but did not answer in time. Try again, or ask something shorter."
PROVIDER_REFUSED = "The provider did not accept this question. Put it in other words, or ask IT to look at the record."
PROVIDER_UNCLEAR = "The provider's answer could not be read. Try again; if it stays so, tell IT."
PROVIDER_UNKNOWN = "The provider of this department is not set up any more. IT can choose another one in the console."
TOO_LONG = "This is more text than the model can take at once. Ask a shorter question or start a new conversation."
LENGTH = "The answer reached the longest length allowed. Ask it to go on, or ask for something shorter."
FLAGGED = (
    "The provider's moderation flagged this question, and your department does not send such. Put it in other words."
)
FILTERED = "The provider's own filter ended this answer. Put the question in other words."
CUT = "The answer broke off on the way. What arrived is kept; ask again for the whole of it."
ACCESS_ENDED = "Your access to this department ended while the answer was being written."
LEASE_LOST = "The answer was ended because ChatGrid lost its hold on the budget. Ask again."
TIME_UP = "The answer took longer than allowed and was ended. What arrived is kept."
WITHHELD = "The rest of this answer was withheld because it held something that must not leave the server."
LOST = "The server stopped while this answer was being written. What had arrived is kept; ask again."


def paused(reason: str) -> str:
    """What a paused department answers; `reason` is what IT wrote, in its own words."""
    why = f": {reason.rstrip('.')}" if reason else ""
    return f"IT has paused this department{why}. Your question is kept; ask it again when the department goes on."


_WHOSE = {
    "organization": "The whole company's",
    "department": "This department's",
    "person": "Your",
    "member": "Your",
    "model": "The company's",
    "department_model": "This department's",
}
_PERIODS = {"day": "today", "month": "this month"}
_ASK = {
    "person": "You can ask your department admin for more.",
    "member": "You can ask your department admin for more.",
    "department": "A department admin can ask IT for more.",
}
_ASK_IT = "IT can raise it."


def refused(refusal: Refusal, time_zone: str) -> str:
    """Which limit, how much of it is used, and when it resets, in the organization's time."""
    whose = _WHOSE[refusal.scope]
    local = _whole_second(refusal.resets_at).astimezone(ZoneInfo(time_zone))
    if refusal.measure == "provider":
        return f"{PROVIDER_LIMIT} ChatGrid tries again at {local:%H:%M}."
    if refusal.measure in {"requests", "answers"}:
        return f"{whose} limit of {refusal.limit} {_rate(refusal)} {_until(refusal, local)}"
    if refusal.measure == "price":
        return (
            f"{whose} budget is in money, and the price of this department's model is not known. "
            "IT can enter it in the console, under Models."
        )
    if refusal.limit == 0:
        return f"{whose} budget for {_PERIODS[refusal.period]} is 0, so nothing is sent. {_ask(refusal)}"
    when = f"{local:%H:%M}" if refusal.period == "day" else f"{local:%-d %B, %H:%M}"
    return (
        f"{whose} budget for {_PERIODS[refusal.period]} leaves too little for an answer: {_used(refusal)} used or in "
        f"use. It resets at {when} ({time_zone}). {_ask(refusal)}"
    )


def _rate(refusal: Refusal) -> str:
    if refusal.measure == "answers":
        return "answers at the same time"
    return "questions a minute to this model" if "model" in refusal.scope else "questions a minute"


def _until(refusal: Refusal, local: datetime) -> str:
    """Waiting does not help against a limit of nothing."""
    if refusal.limit == 0:
        return f"lets nothing through. {_ASK_IT}"
    if refusal.measure == "answers":
        return "is reached. Ask again when one of them is done."
    return f"is reached. You can ask again at {local:%H:%M:%S}."


def _whole_second(moment: datetime) -> datetime:
    """Never too early: at the second that is shown there is room."""
    return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)


def _ask(refusal: Refusal) -> str:
    return _ASK.get(refusal.scope, _ASK_IT)


def _used(refusal: Refusal) -> str:
    if refusal.measure == "money":
        return f"{dollars(refusal.used)} of {dollars(refusal.limit)} are"
    return f"{refusal.used:,} of {refusal.limit:,} tokens are"
