"""How fast the simulator writes and which keys it lets in: the settings of one running simulator."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chatgrid.dev.openai_simulator import embeddings

HUMAN_FIRST_TOKEN_MS = 200.0
HUMAN_TOKENS_PER_SECOND = 60.0


class KeyPolicy(enum.Enum):
    """Which well-formed keys are let in. A revoked key is refused under every policy."""

    UNTIL_REGISTERED = "until-registered"
    ANY = "any"
    REGISTERED = "registered"


@dataclass(frozen=True)
class Options:
    """`first_token_ms` and `tokens_per_second` pace every answer; 0 means as fast as it can.

    `state_file` keeps projects, fingerprints of keys and usage across restarts; without one they live in memory.
    `embed` makes the vectors of texts, with that many dimensions: a measurement puts a real model here.
    """

    first_token_ms: float = 0.0
    tokens_per_second: float = 0.0
    keys: KeyPolicy = KeyPolicy.UNTIL_REGISTERED
    journal_size: int = 200
    state_file: Path | None = None
    embed: Callable[[Sequence[str], int], NDArray[np.float32]] = embeddings.embed


def read_options(environ: Mapping[str, str] = os.environ) -> Options:
    """The options of a laptop: a human pace unless CHATGRID_SIMULATOR_* says otherwise."""
    return Options(
        first_token_ms=float(environ.get("CHATGRID_SIMULATOR_FIRST_TOKEN_MS", HUMAN_FIRST_TOKEN_MS)),
        tokens_per_second=float(environ.get("CHATGRID_SIMULATOR_TOKENS_PER_SECOND", HUMAN_TOKENS_PER_SECOND)),
        journal_size=int(environ.get("CHATGRID_SIMULATOR_JOURNAL", "200")),
        keys=KeyPolicy(environ.get("CHATGRID_SIMULATOR_KEYS", KeyPolicy.UNTIL_REGISTERED.value)),
    )
