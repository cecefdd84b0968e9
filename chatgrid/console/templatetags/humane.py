"""Words for times and numbers on the console's pages."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.timesince import timesince

from chatgrid.console import precedence

register = template.Library()
register.filter(precedence.in_words)


@register.filter
def ago(moment: datetime) -> str:
    """As in "just now", "5 minutes ago"."""
    if (timezone.now() - moment).total_seconds() < 60:
        return "just now"
    return f"{timesince(moment, depth=1)} ago"


@register.filter
def in_full(number: int) -> str:
    """As in "5,000"."""
    return f"{number:,}"
