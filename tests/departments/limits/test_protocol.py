"""The protocol of a reservation, looked at whole: two calls, every order of their steps, a crash before each of them.

A small model of what departments/calls and departments/limits do: each arrow is one statement that happens or does not.

    ask -> admitted -> sent -> written -> renewed -> written -> settled      (and dead, from any of them)

Beside the two calls stand time (the lease of a dead process lapses) and the sweep, which books what is lapsed. What
holds in every state, and what holds when nothing more can happen, is checked for every path there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

PROMPT, CAP, PIECE = 10, 20, 10
NEED = PROMPT + CAP
STEPS = ("ask", "send", "write", "renew", "write", "settle")


@dataclass(frozen=True)
class Call:
    """A call and the row that the ledger has of it. `step` counts the steps its process has done."""

    step: int = 0
    alive: bool = True
    refused: bool = False
    row: bool = False
    leased: bool = False
    known: int = 0  # written, as the ledger knows it
    consumed: int = 0  # what the provider counts
    booked: int | None = None
    bookings: int = 0
    requested: int = 0  # events
    responded: int = 0

    @property
    def is_over(self) -> bool:
        return not self.alive or self.refused or self.step == len(STEPS)

    @property
    def held(self) -> int:
        if not self.row or self.booked is not None:
            return 0
        return NEED if self.leased else PROMPT + self.known


State = tuple[Call, Call]


def spent(state: State) -> int:
    return sum(call.booked or 0 for call in state)


def left(state: State, ceiling: int) -> int:
    return ceiling - spent(state) - sum(call.held for call in state)


def after_step(state: State, place: int, ceiling: int) -> Call:
    call = state[place]
    step, done = STEPS[call.step], replace(call, step=call.step + 1)
    if step == "ask":
        if left(state, ceiling) < NEED:
            return replace(done, refused=True)
        return replace(done, row=True, leased=True, requested=1)
    if step == "send":
        return replace(done, consumed=PROMPT)
    if step == "write":
        return replace(done, consumed=call.consumed + PIECE)
    if step == "renew":
        return replace(done, known=call.consumed - PROMPT)
    return _booked(done, call.consumed)


def _booked(call: Call, tokens: int) -> Call:
    if call.booked is not None:
        return call  # the first settlement stands
    return replace(call, booked=tokens, bookings=call.bookings + 1, responded=call.responded + 1)


def next_states(state: State, ceiling: int) -> Iterator[tuple[str, State]]:
    for place in (0, 1):
        for name, call in _moves(state, place, ceiling):
            yield f"{name} {place}", (call, state[1]) if place == 0 else (state[0], call)


def _moves(state: State, place: int, ceiling: int) -> Iterator[tuple[str, Call]]:
    call = state[place]
    if not call.is_over:
        yield STEPS[call.step], after_step(state, place, ceiling)
        yield "crash", replace(call, alive=False)
    if call.row and call.booked is None and not call.alive:
        if call.leased:
            yield "lapse", replace(call, leased=False)
        else:
            yield "sweep", _booked(call, PROMPT + call.known)


def explore(ceiling: int) -> tuple[set[State], set[State]]:
    """Every state that can be reached, and those in which nothing more can happen."""
    seen: set[State] = set()
    ends: set[State] = set()
    waiting = [(Call(), Call())]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        following = [after for _, after in next_states(state, ceiling)]
        waiting += following
        if not following:
            ends.add(state)
    return seen, ends


@pytest.mark.parametrize("ceiling", [0, NEED - 1, NEED, NEED + PROMPT, 2 * NEED - 1, 2 * NEED, 5 * NEED])
def test_in_every_order_with_every_crash_the_budget_holds_and_nothing_stays(ceiling: int) -> None:
    states, ends = explore(ceiling)
    assert len(states) > (2 if ceiling < NEED else 100)
    for state in states:
        assert spent(state) + sum(call.held for call in state) <= ceiling, "a token too many"
        for call in state:
            assert call.consumed == 0 or call.requested == 1, "sent without a record"
            assert call.bookings <= 1 >= call.responded, "counted twice"
            assert call.responded == call.bookings, "in the ledger and not in the record"
    for state in ends:
        assert sum(call.held for call in state) == 0, "a phantom block"
        for call in state:
            assert call.requested == call.responded, "a call without an end"
            if call.alive and not call.refused:
                assert call.booked == call.consumed == NEED
            elif call.row:
                # what was written after the last renewal of a process that died is known to the provider alone
                assert call.booked is not None
                assert call.booked == PROMPT + call.known
                assert call.consumed - call.booked <= PIECE


def test_the_model_finds_a_fault_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lapsed lease that held nothing, as it once did, lets a second call have what the first has used."""
    monkeypatch.setattr(Call, "held", property(lambda call: NEED if call.leased and call.booked is None else 0))
    with pytest.raises(AssertionError, match="a token too many"):
        test_in_every_order_with_every_crash_the_budget_holds_and_nothing_stays(NEED)
