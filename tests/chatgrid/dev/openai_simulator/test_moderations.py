"""Moderation: the shape of OpenAI's reply, read by its own SDK, and what is refused."""

from __future__ import annotations

import openai as sdk
import pytest
from openai import AsyncOpenAI


async def test_a_text_is_flagged_for_what_stands_in_it(openai: AsyncOpenAI) -> None:
    reply = await openai.moderations.create(input=["Where is the canteen?", "I will kill the idiot."])
    assert reply.model == "omni-moderation-latest"
    assert reply.id.startswith("modr-")
    harmless, harmful = reply.results
    assert not harmless.flagged
    assert harmful.flagged
    assert harmful.categories.violence
    assert harmful.categories.harassment
    assert not harmful.categories.self_harm_intent
    assert harmful.category_scores.violence > 0.9 > harmless.category_scores.violence
    assert harmful.category_applied_input_types.violence == ["text"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"input": ""}, 400),
        ({"input": "x", "model": "gpt-6-luna"}, 400),
        ({"input": "x", "model": "no-such-model"}, 404),
        ({"input": "x", "extra_body": {"temperature": 1}}, 400),
    ],
)
async def test_it_refuses_what_it_does_not_take(openai: AsyncOpenAI, asked: dict[str, object], status: int) -> None:
    with pytest.raises(sdk.APIStatusError) as refused:
        await openai.moderations.create(**asked)  # type: ignore[arg-type]
    assert refused.value.status_code == status
