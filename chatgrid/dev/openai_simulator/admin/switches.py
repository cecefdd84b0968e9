"""What the Admin API can be told to do wrong.

- An order meets the requests whose method and path match it: it lets `skip` of them pass, then spoils `times` of them.
- "before": nothing happened when the client hears of the failure; "after": everything did.
- "error" answers with a status, "cut" breaks the connection in the middle of the answer, "delay" waits.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from chatgrid.dev.openai_simulator.errors import invalid

WHEN = ("before", "after")
HOW = ("error", "cut", "delay")


@dataclass
class Order:
    when: str
    how: str
    method: str = ""
    path: str = ""
    skip: int = 0
    times: int = 1
    seconds: float = 0.0
    status: int = 500

    def meets(self, method: str, path: str) -> bool:
        if self.method and method not in self.method.split("|"):
            return False
        return re.search(self.path, path) is not None


@dataclass
class Switches:
    """For `stale_seconds` deleted keys still work and new ones do not yet, as authentication caches have it."""

    stale_seconds: float = 0.0
    refuses_key_deletion: bool = False
    orders: list[Order] = field(default_factory=list)

    def give(self, fields: dict[str, Any]) -> Order:
        try:
            order = Order(**fields)
            re.compile(order.path)
        except (TypeError, re.error) as error:
            raise invalid(f"This order is not understood: {error}.", None) from None
        if order.when not in WHEN or order.how not in HOW:
            raise invalid(f"`when` is one of {', '.join(WHEN)}; `how` is one of {', '.join(HOW)}.", "how")
        self.orders.append(order)
        return order

    def take(self, method: str, path: str) -> Order | None:
        """The order this request has to obey, used up by one."""
        for order in self.orders:
            if order.times <= 0 or not order.meets(method, path):
                continue
            if order.skip > 0:
                order.skip -= 1
                continue
            order.times -= 1
            return order
        return None

    def listing(self) -> dict[str, Any]:
        return asdict(self)
