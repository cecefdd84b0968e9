"""What can go wrong with the provider's Admin API, in our words.

Rules:
- A message is a sentence of ours. The provider's text never travels: its 401 repeats part of the key.
- The SDK's exception is dropped, not chained: its request carries the admin key in clear.
- `maybe_done` answers the one question a caller of a create has to ask: may it have happened all the same?
"""

from __future__ import annotations

import openai


class AdminApiError(Exception):
    """Anything the Admin API refuses or does not answer. `reason` is one word for the record and for logs."""

    reason = "admin_api"
    maybe_done = False


class AdminUnavailable(AdminApiError):
    """Not reached, too slow, too busy or broken on their side. Trying again later may help."""

    reason = "unavailable"


class AdminUnreadable(AdminApiError):
    """What came back is not an answer of the Admin API. Whether anything was done is unknown."""

    reason = "unreadable"
    maybe_done = True


class AdminKeyRefused(AdminApiError):
    """The admin key is wrong, deleted or expired."""

    reason = "admin_key_refused"


class AdminForbidden(AdminApiError):
    """The admin key lives but may not do this."""

    reason = "forbidden"


class AdminMissing(AdminApiError):
    """No such project, account, key or setting."""

    reason = "missing"


class AdminRejected(AdminApiError):
    """The provider understood the request and will not do it."""

    reason = "rejected"


class KeyDeletionRefused(AdminRejected):
    """The provider will not delete this key by itself; the account that owns it can be deleted instead."""

    reason = "key_deletion_refused"


def admin_error(error: openai.APIError, act: str) -> AdminApiError:
    """Our error for the SDK's; `act` completes "OpenAI did not …", such as "create the project"."""
    if isinstance(error, openai.APIResponseValidationError):
        return AdminUnreadable(f"OpenAI's answer to our request to {act} could not be read. Check the base URL.")
    if isinstance(error, openai.APIStatusError):
        return _by_status(error.status_code, act)
    return _unavailable(f"OpenAI could not be reached to {act}. Try again in a few minutes.", maybe_done=True)


def _by_status(status: int, act: str) -> AdminApiError:
    if status == 401:
        return AdminKeyRefused("OpenAI refuses the admin key. Make a new one there and store it for the organization.")
    if status == 403:
        return AdminForbidden(f"The admin key may not {act}. Let it write the organization's administration.")
    if status == 404:
        return AdminMissing(f"OpenAI has nothing by that id, so we could not {act}.")
    if status == 429:
        return _unavailable(f"OpenAI takes no more admin requests now, so we could not {act}.", maybe_done=False)
    if status == 408 or status >= 500:
        return _unavailable(f"OpenAI had an error when asked to {act}. Try again in a few minutes.", maybe_done=True)
    return AdminRejected(f"OpenAI would not {act} (status {status}).")


def _unavailable(sentence: str, *, maybe_done: bool) -> AdminUnavailable:
    error = AdminUnavailable(sentence)
    error.maybe_done = maybe_done
    return error
