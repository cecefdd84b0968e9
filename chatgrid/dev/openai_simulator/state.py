"""Everything one simulator remembers. The Admin API and the model endpoints share the same keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatgrid.dev.openai_simulator.admin.fence import Fence
from chatgrid.dev.openai_simulator.admin.memory import AdminState
from chatgrid.dev.openai_simulator.journal import Journal
from chatgrid.dev.openai_simulator.keys import KeyRing
from chatgrid.dev.openai_simulator.misbehaviour import Orders
from chatgrid.dev.openai_simulator.options import Options
from chatgrid.dev.openai_simulator.quota import CachedPrefixes, Meters


@dataclass
class State:
    options: Options
    keys: KeyRing = field(init=False)
    journal: Journal = field(init=False)
    admin: AdminState = field(init=False)
    fence: Fence = field(init=False)
    orders: Orders = field(default_factory=Orders)
    meters: Meters = field(default_factory=Meters)
    prefixes: CachedPrefixes = field(default_factory=CachedPrefixes)

    def __post_init__(self) -> None:
        self.keys = KeyRing(self.options.keys)
        self.journal = Journal(self.options.journal_size)
        self.admin = AdminState(self.keys, self.options.state_file)
        self.fence = Fence(self.admin)

    def reset(self) -> None:
        """As if it had just been started."""
        self.keys.reset()
        self.journal.reset()
        self.admin.reset()
        self.orders.reset()
        self.meters.reset()
        self.prefixes.reset()
