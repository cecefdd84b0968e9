"""The models the simulator offers. Names, limits and shutdown dates are those of OpenAI in November 2026.

Sizes are in tokens. `writes` is the longest answer; embedding models have none and have `dimensions` instead.
`gpt-4.1-mini` is here because it is the one that still takes `max_tokens`, as compatible servers do, and because its
announced end lets an administrator's warning be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatgrid.dev.openai_simulator.errors import ApiError, invalid, model_not_found


@dataclass(frozen=True)
class Model:
    id: str
    created: int
    reads: int
    writes: int = 0
    dimensions: int = 0
    reasons: bool = False
    always_reasons: bool = False
    moderates: bool = False
    shutdown_date: str | None = None
    owned_by: str = "system"

    def listing(self) -> dict[str, Any]:
        listing: dict[str, Any] = {"id": self.id, "object": "model", "created": self.created, "owned_by": self.owned_by}
        if self.shutdown_date:
            listing["shutdown_date"] = self.shutdown_date
        return listing


MODELS = {
    model.id: model
    for model in (
        Model("gpt-6-luna", 1_788_220_800, reads=922_000, writes=128_000, reasons=True),
        Model("gpt-6.1-terra", 1_791_244_800, reads=922_000, writes=128_000, reasons=True),
        Model("gpt-6.2-sol", 1_794_960_000, reads=922_000, writes=128_000, reasons=True, always_reasons=True),
        Model("gpt-4.1-mini", 1_744_318_173, reads=1_014_808, writes=32_768, shutdown_date="2027-01-14"),
        Model("text-embedding-3-small", 1_705_948_997, reads=8_192, dimensions=1536),
        Model("text-embedding-3-large", 1_705_953_180, reads=8_192, dimensions=3072),
        Model("omni-moderation-latest", 1_731_689_265, reads=32_768, moderates=True),
    )
}


def find_model(name: object) -> Model:
    if not isinstance(name, str) or not name:
        raise ApiError(400, "You must provide a model parameter.")
    if name not in MODELS:
        raise model_not_found(name)
    return MODELS[name]


def find_chat_model(name: object) -> Model:
    model = find_model(name)
    if not model.writes:
        raise ApiError(404, f"`{model.id}` is not a chat model; use it with /v1/embeddings.", param="model")
    return model


def find_moderation_model(name: object) -> Model:
    model = find_model("omni-moderation-latest" if name is None else name)
    if not model.moderates:
        raise invalid(f"`{model.id}` does not moderate; use omni-moderation-latest.", "model")
    return model


def find_embedding_model(name: object) -> Model:
    model = find_model(name)
    if not model.dimensions:
        raise invalid(f"`{model.id}` does not make embeddings; use it with /v1/chat/completions.", "model")
    return model
