"""The provider's stream is read whole however it is cut, and nothing in it can break the reader."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from departments.calls.events import LONGEST_EVENT, EventReader, Piece, StreamBroken, Usage, pieces, usage_of

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def line(event: Any) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def text_event(text: str) -> bytes:
    return line({"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def add_up(parts: list[bytes]) -> Piece:
    reader, total = EventReader(), Piece()
    for part in parts:
        piece = reader.feed(part)
        total.text += piece.text
        total.usage = piece.usage or total.usage
        total.finish = piece.finish or total.finish
    return total


@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]))), st.data())
def test_wherever_the_network_cuts_the_text_comes_out_whole(texts: list[str], data: st.DataObject) -> None:
    end = line({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    usage = line({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})
    stream = b": a comment\n\n" + b"".join(map(text_event, texts)) + end + usage + b"data: [DONE]\n\n"
    if data.draw(st.booleans()):
        stream = stream.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    parts = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = add_up(parts)
    assert whole.text == "".join(texts)
    assert (whole.finish, whole.usage) == ("stop", Usage(3, 5))


@settings(deadline=None)
@given(anything)
def test_an_event_of_any_shape_is_read_or_refused(event: Any) -> None:
    with suppress(StreamBroken):
        assert isinstance(EventReader().feed(line(event)).text, str)


@settings(deadline=None)
@given(anything, st.sampled_from(["model", "usage", "choices", "error", "delta", "content", "finish_reason"]))
def test_a_field_of_any_shape_is_read_or_refused(value: Any, field: str) -> None:
    choice: dict[str, Any] = {"delta": {"content": "x"}, "finish_reason": None}
    event: dict[str, Any] = {"model": "m", "choices": [choice], "usage": None}
    target = {"delta": choice, "finish_reason": choice, "content": choice["delta"]}.get(field, event)
    target[field] = value
    with suppress(StreamBroken):
        piece = EventReader().feed(line(event))
        assert isinstance(piece.text, str)
        assert isinstance(piece.model, str)
        assert piece.usage is None or piece.usage.prompt >= 0


@pytest.mark.parametrize("bad", [b"data: {", b"data: 5", b"data: []", b'data: {"choices": 5}', b"data: nonsense"])
def test_what_cannot_be_understood_is_an_error(bad: bytes) -> None:
    with pytest.raises(StreamBroken, match="event_unreadable"):
        EventReader().feed(bad + b"\n\n")


def test_a_line_that_never_ends_is_an_error() -> None:
    reader = EventReader()
    reader.feed(b"data: " + b"x" * (LONGEST_EVENT - 6))
    with pytest.raises(StreamBroken, match="event_too_long"):
        reader.feed(b"x")


@pytest.mark.parametrize(
    ("reported", "known"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, 4, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(3, 4, 3)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": "?"}, Usage(3, 4)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}},
            Usage(9, 0, 4, 0, 5),
        ),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6}},
            Usage(9, 0, 4, 0, 5),
        ),
        ({"prompt_tokens": -3, "completion_tokens": 4}, None),
        ({"prompt_tokens": "3", "completion_tokens": 4}, None),
        ({"prompt_tokens": 3, "completion_tokens": 1e30}, None),
        ({"prompt_tokens": 3, "completion_tokens": 10**18}, None),
        ({"prompt_tokens": True, "completion_tokens": 4}, None),
        ({"completion_tokens": 4}, None),
        ({}, None),
    ],
)
def test_usage_is_believed_as_far_as_it_can_be_true(reported: dict[str, Any], known: Usage | None) -> None:
    assert usage_of(reported) == known


async def stream_of(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


async def test_a_stream_without_its_end_is_broken() -> None:
    with pytest.raises(StreamBroken, match="stream_cut"):
        [piece async for piece in pieces(stream_of(text_event("Half an")))]


async def test_a_finished_answer_without_the_last_line_is_whole() -> None:
    end = line({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert [piece.text async for piece in pieces(stream_of(text_event("All"), end))] == ["All", ""]


async def test_nothing_after_the_end_is_read_as_text() -> None:
    found = [piece.text async for piece in pieces(stream_of(b"data: [DONE]\n\n", text_event("More")))]
    assert "".join(found) == ""
