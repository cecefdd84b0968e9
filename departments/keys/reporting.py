"""Error reports without keys: Django's debug page and its mails to administrators show local variables of every frame.

A key in a local variable is `Secret` nearly everywhere and shows as a mask; where it has been revealed for a moment, or
came in with a form, the report is cleaned as a whole, after it was made.
"""

from __future__ import annotations

from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter

from departments.keys.redaction import without_keys


class RedactingReporter(ExceptionReporter):
    """Django's own reporter, its text cleaned."""

    def get_traceback_html(self) -> SafeString:
        return mark_safe(without_keys(super().get_traceback_html()))  # noqa: S308 - Django's own page, cleaned

    def get_traceback_text(self) -> SafeString:
        return mark_safe(without_keys(super().get_traceback_text()))  # noqa: S308 - plain text
