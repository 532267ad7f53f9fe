"""Channels: whose candidates become the answer, and what a channel holds of a generation."""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from pagoda.errors import UnavailableError
from serving.recall.api import RecalledItem
from serving.recall.channels import popular
from serving.recall.channels.base import Channel
from serving.recall.channels.factory import channels_of
from serving.recall.channels.merge import merge
from serving.recall.channels.popular import PopularChannel, PopularItems
from serving.recall.fallback.fallback import Fallback
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from tests.serving.fakes import FakeIndex, FakeTower, manifest
from tests.serving.recall.setting import Setting, begun
from tests.serving.worlds import make_spec

LIVE = LiveGeneration(manifest(3))
_SPEC = make_spec().model_copy(update={"title": "title"})
TITLED = LiveGeneration(manifest(3, _SPEC).model_copy(update={"texts": ("title",), "backend": "in_process"}))
LIST = pa.table({"item_id": [7], "clicks": [4], "genres": [["Drama"]], "year": [1990.0]})


class Stub(Channel):
    """Gives its one item, or what is wrong with it."""

    def __init__(self, name: str, error: Exception | None = None, stands_in: str = "") -> None:
        self.name, self.stands_in, self.error, self.asked = name, stands_in, error, 0
        self.turns = 0
        """Of the loop, before it answers."""

    async def candidates(self, *_: Any) -> list[RecalledItem]:
        self.asked += 1
        for _turn in range(self.turns):
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [{"item_id": self.name, "score": 1.0}]


def lookup() -> Lookup:
    (one,) = begun(LIVE)
    return one


async def merged(*channels: Channel) -> Lookup:
    one = lookup()
    await merge(channels, LIVE, one)
    return one


async def test_the_first_channel_that_answers_is_the_answer_and_no_further_one_is_asked() -> None:
    last = Stub("last")
    one = await merged(Stub("gone", UnavailableError("gone")), Stub("own"), last)
    assert ([item["item_id"] for item in one.items], one.candidates.keys(), one.degraded) == (["own"], {"own"}, [])
    assert last.asked == 0


async def test_a_channel_that_stands_in_marks_the_answer() -> None:
    one = await merged(Stub("own", UnavailableError("gone")), Stub("other", stands_in="index_popular"))
    assert (one.candidates.keys(), one.degraded) == ({"other"}, ["index_popular"])


@pytest.mark.parametrize("later", ["text", "other"])
async def test_what_stood_in_is_said_in_one_order_whichever_failed_first(later: str) -> None:
    (one,) = begun(TITLED, text="a word")
    gone = Stub("own", UnavailableError("gone")), Stub("other", stands_in="index_popular")
    text = Stub("text", UnavailableError("gone"))
    {"text": text, "other": gone[1]}[later].turns = 5
    await merge(gone, TITLED, one, text)
    assert one.degraded == ["index_popular", "text_missing"]


async def test_where_no_channel_answers_the_first_says_why() -> None:
    with pytest.raises(UnavailableError, match="the index"):
        await merged(Stub("own", UnavailableError("the index")), Stub("other", UnavailableError("no list")))
    with pytest.raises(ZeroDivisionError):
        await merged(Stub("own", ZeroDivisionError()), Stub("other"))


async def test_a_canary_is_asked_for_what_is_its_own_alone() -> None:
    channels = channels_of(FakeIndex(), frozenset())
    own = replace(Setting().parts, channels=channels).strict.channels
    assert {one.name for one in channels if one not in own} == {"popular"}


async def test_what_is_held_of_a_generation_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def load(made: Any, removed: Any) -> PopularItems:
        read.append(made.id)
        return PopularItems(made.spec, LIST, removed)

    monkeypatch.setattr(popular, "load_popular", load)
    channel, fallback = PopularChannel(frozenset()), Fallback()
    full, incremental = manifest(3), manifest(3).model_copy(update={"id": "g3.1"})
    lives = [LiveGeneration(full), LiveGeneration(incremental)]
    for live in lives:
        await channel.warm(live)
        await fallback.warm(live, FakeTower({"g3", "g3.1"}))
        assert [item["item_id"] for item in await channel.candidates(live, lookup())] == [7]
        assert fallback.stand_in(live, [lookup()])
    assert read == ["g3"]  # All generations of a full version have the same list.
    assert not fallback.stand_in(LIVE, [lookup()])
    del live, lives
    gc.collect()
    assert not channel._lists._of and not fallback._newcomers


async def test_a_generation_whose_popular_items_cannot_be_read_serves_without(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = PopularChannel(frozenset())
    with caplog.at_level(logging.WARNING):
        await channel.warm(LIVE)
    assert "g3 has no answer without its index: " in caplog.text
    with pytest.raises(UnavailableError, match="popular items"):
        await channel.candidates(LIVE, lookup())
    monkeypatch.setattr(popular, "load_popular", lambda made, removed: PopularItems(made.spec, LIST, removed))
    await channel.warm(LIVE)
    assert [item["item_id"] for item in await channel.candidates(LIVE, lookup())] == [7], "once they can be"
