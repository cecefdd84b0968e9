"""As everywhere in ChatGrid: 24 hours, and the day before the month. Times of the console are UTC, and say so."""

from __future__ import annotations

DATETIME_FORMAT = r"j M Y, H:i \U\T\C"
DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
