"""What is known of a model: read from the catalogue table, kept in this process for a minute."""

from __future__ import annotations

import math
import time

from audit.database import fetch
from departments.calls.models import CatalogueModel
from departments.limits.models import Correction

FRESH_SECONDS = 60.0

# an unknown model (a compatible server's, say) is taken for a small one, so that a prompt rather fits than fails
UNKNOWN = CatalogueModel(name="", kind=CatalogueModel.Kind.CHAT, context_tokens=32_000, output_tokens=4_000)

_known: dict[str, CatalogueModel] = {}
_ratios: dict[str, float] = {}
_read_at = float("-inf")


async def model_named(name: str) -> CatalogueModel:
    """The catalogue's entry, or `UNKNOWN` without prices."""
    await _read()
    return _known.get(name, UNKNOWN)


async def corrected(name: str, counted: int) -> int:
    """Tokens that a prompt of `counted` will be at most, by what the provider reported for this model lately."""
    await _read()
    return math.ceil(counted * _ratios.get(name, 1.0))


async def _read() -> None:
    global _known, _ratios, _read_at  # one cache per process; a race of two reads costs a query and nothing else
    if time.monotonic() - _read_at > FRESH_SECONDS:
        models = await fetch(CatalogueModel.objects.order_by())
        ratios = await fetch(Correction.objects.order_by())
        _known, _ratios = {model.name: model for model in models}, {each.model: each.ratio for each in ratios}
        _read_at = time.monotonic()
