"""The tree over the events of one seal, as in Certificate Transparency (RFC 6962, section 2.1).

- A leaf is SHA-256 over 0x00 and the leaf's data, a node SHA-256 over 0x01 and its two children: a node can never pass
  for a leaf.
- Where a level has an odd number, its last hash goes up unchanged. That gives the tree of the RFC for every size.
- A tree of nothing has the hash of nothing as its root.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()

Level = Sequence[bytes]


def leaf_hash(data: bytes) -> bytes:
    """The 32 bytes that stand for `data` in the tree."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def levels(leaves: Level) -> list[Level]:
    """Every level of the tree, the leaves first, the root alone last. Leaves are hashes already."""
    built = [leaves]
    while len(built[-1]) > 1:
        built.append(_parents(built[-1]))
    return built


def root(leaves: Level) -> bytes:
    """The hash that stands for all `leaves` in their order."""
    if not leaves:
        return EMPTY_ROOT
    level = leaves
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def path(built: Sequence[Level], index: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root, from the bottom up; `built` comes from `levels`."""
    steps = []
    for level in built[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            steps.append(level[sibling])
        index //= 2
    return steps


def leads_to(expected: bytes, leaf: bytes, index: int, size: int, steps: Sequence[bytes]) -> bool:
    """Whether `leaf` is number `index` of the `size` leaves under root `expected`."""
    if not 0 <= index < size:
        return False
    left_over = list(steps)
    reached = leaf
    while size > 1:
        if index ^ 1 < size:
            if not left_over:
                return False
            sibling = left_over.pop(0)
            reached = node_hash(sibling, reached) if index & 1 else node_hash(reached, sibling)
        index, size = index // 2, (size + 1) // 2
    return not left_over and reached == expected


def _parents(level: Level) -> list[bytes]:
    # written out: this loop is most of what sealing costs
    pairs = zip(level[::2], level[1::2], strict=False)
    above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    if len(level) & 1:
        above.append(level[-1])
    return above
