"""A running answer: the provider's stream on one side, text for the page on the other.

Rules:
- Text leaves in flushes of `FLUSH_SECONDS`, the first at once, all of it through the output filter.
- One task reads the provider's stream; it and the stream are closed before the call is settled.
- An answer is never longer than the budget granted, whatever the provider does with the cap it was sent.
- An answer ends exactly once, with an `ending`; whoever leaves early (a closed tab) leaves `ABANDONED`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

import httpx2
import openai

from audit.events import Outcome
from departments.calls import sentences
from departments.calls.booking import Booking
from departments.calls.events import Piece, StreamBroken, Usage, pieces
from departments.calls.guard_in import Guarded
from departments.calls.hold import ABANDONED as ABANDONED  # the page's names for how an answer ended
from departments.calls.hold import Ending as Ending
from departments.calls.hold import Hold
from departments.calls.meter import Meter
from departments.calls.tokens import count_tokens
from departments.prompts.guard import OutputFilter, Withheld

FLUSH_SECONDS = 0.05  # the eye takes it for a flow, and each flush is rendered, written and sent
COUNTED_AT_ONCE = 4_000  # characters; counting each piece by itself would cost more than reading it
CAP_SLACK = 1.1  # our count of somebody else's tokens is an estimate

ANSWERED = Ending(Outcome.ANSWERED)
WITHHELD = "output_filter"
FINISHES = {
    "length": Ending(Outcome.ANSWERED, sentences.LENGTH, "length"),
    "content_filter": Ending(Outcome.CUT, sentences.FILTERED, "content_filter"),
}

logger = logging.getLogger(__name__)


class Answer:
    """One answer while it is written. Iterate `text()` once; then `ending` says how it went. `cap` is in tokens.

    `guarded` is what was seen in the question and in each passage before it was sent.
    """

    def __init__(self, hold: Hold, cap: int, output_filter: OutputFilter, guarded: Guarded) -> None:
        self.hold = hold
        self.cap = cap
        self.guarded = guarded
        self.usage: Usage | None = None
        self.model = ""
        self.first_token_ms: int | None = None
        self.meter: Meter | None = None  # where the person stands, once it is settled
        self._filter = output_filter
        self._finish = ""
        self._raw: list[str] = []  # received, and not yet through the filter: that costs less in larger pieces
        self._buffer = ""  # may be shown and has not been
        self._due = asyncio.Event()  # something may be shown, or nothing more will come
        self._gathering: asyncio.TimerHandle | None = None  # until it rings, text gathers for the next flush
        self._counted = 0  # tokens of everything received, shown or not
        self._uncounted: list[str] = []
        self._uncounted_length = 0

    @property
    def call_id(self) -> UUID:
        return self.hold.call_id

    @property
    def booking(self) -> Booking:
        return self.hold.booking

    @property
    def ending(self) -> Ending | None:
        return self.hold.ending

    def stop(self) -> None:
        """End the answer now, as the person asked."""
        self.hold.stop()

    def written(self) -> int:
        """Tokens of everything received so far, counted by us."""
        self._counted += count_tokens("".join(self._uncounted))
        self._uncounted, self._uncounted_length = [], 0
        return self._counted

    async def text(self, source: AsyncGenerator[bytes, None]) -> AsyncGenerator[str, None]:
        """The answer in flushes. Ends when the answer does, for whatever reason; does not raise."""
        reading = asyncio.create_task(self._read(source))
        self.hold.when_over(self._due.set)
        try:
            while self.ending is None:
                await self._due.wait()
                self._due.clear()
                if flush := self._flush():
                    yield flush
                    self._gathering = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._gathered)
            if flush := self._flush():
                yield flush
        finally:
            if self._gathering is not None:
                self._gathering.cancel()
            reading.cancel()
            # it must have let go of the stream before that is closed
            await asyncio.wait((reading,))

    def _gathered(self) -> None:
        self._gathering = None
        if self._raw:
            self._due.set()

    def _flush(self) -> str:
        """What may be shown and has not been. After something was withheld there is nothing more."""
        if self.ending is not None and self.ending.reason == WITHHELD:
            return ""
        try:
            self._sift()
        except Withheld as withheld:
            self.hold.end(_withheld(withheld))
        flush, self._buffer = self._buffer, ""
        return flush

    def _sift(self) -> None:
        received, self._raw = "".join(self._raw), []
        if received:
            self._buffer += self._filter.feed(received)

    async def _read(self, source: AsyncGenerator[bytes, None]) -> None:
        try:
            ending = await self._read_to_the_end(source)
        except Exception as error:
            # any, because nobody awaits this task: without an ending the page would wait for ever
            ending = self._broken_off(error)
        self.hold.end(ending)

    async def _read_to_the_end(self, source: AsyncGenerator[bytes, None]) -> Ending:
        async with aclosing(source), aclosing(pieces(source)) as reading:
            async for piece in reading:
                self._take(piece)
                if self._is_too_long():
                    return FINISHES["length"]
        self._sift()
        self._buffer += self._filter.finish()
        return FINISHES.get(self._finish, ANSWERED)

    def _broken_off(self, error: Exception) -> Ending:
        match error:
            case Withheld():
                return _withheld(error)
            case StreamBroken():
                return Ending(Outcome.CUT, sentences.CUT, error.reason)
            case httpx2.TimeoutException():
                return Ending(Outcome.CUT, sentences.PROVIDER_SILENT, "provider_silent")
            case httpx2.HTTPError() | openai.APIError():
                return Ending(Outcome.CUT, sentences.CUT, "connection_cut")
        # the operator sees the kind of error and not its text, which may hold the answer
        logger.error("call %s: %s while reading the answer", self.call_id, type(error).__name__)
        return Ending(Outcome.CUT, sentences.PROVIDER_UNCLEAR, "stream_unreadable")

    def _take(self, piece: Piece) -> None:
        self.usage = piece.usage or self.usage
        self.model = piece.model or self.model
        self._finish = piece.finish or self._finish
        if not piece.text:
            return
        if self.first_token_ms is None:
            self.first_token_ms = self.hold.milliseconds
        self._raw.append(piece.text)
        self._uncounted.append(piece.text)
        self._uncounted_length += len(piece.text)
        if self._gathering is None:
            self._due.set()

    def _is_too_long(self) -> bool:
        if self._uncounted_length < COUNTED_AT_ONCE:
            return False
        return self.written() > self.cap * CAP_SLACK


def _withheld(found: Withheld) -> Ending:
    return Ending(Outcome.CUT, sentences.WITHHELD, WITHHELD, found.label)
