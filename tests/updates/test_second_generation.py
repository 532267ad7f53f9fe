"""The channel `second_generation` from two full updates to an answer, all in this process."""

from __future__ import annotations

import pytest

from pagoda.config.training import TrainConfig
from pagoda.data.ids import NOBODY
from pagoda.errors import ConfigError
from pagoda.generations.release_log import open_log
from pagoda.index.factory import open_collections
from pagoda.registry.publish import publish
from pagoda.settings.rollout import RolloutSettings
from tests.training.worlds import config, hours

from .homes import USER, Home, K

SHARE = 0.4


def _declaring(**keys: object) -> TrainConfig:
    channels = [{"kind": "two_tower", "share": 1 - SHARE}, {"kind": "second_generation", "share": SHARE, **keys}]
    return config(bootstrap_epochs=1, channels=channels)


async def test_the_generation_before_gives_what_its_own_towers_find_for_somebody_it_has_no_row_of(home: Home) -> None:
    first = home.full(hours(0, 38), _declaring())
    assert first.mixture is not None and first.second is None
    own = await home.prediction(first)
    assert own["degraded"] == [], "nothing was stable before, and so nothing is missing"
    assert {name for item in own["items"] for name in item["channels"]} == {"two_tower"}
    publish(open_log(home.settings), first.id, "stable")
    later = home.full(hours(0, 40), _declaring())
    assert later.second == first.id

    # Neither generation alone asks the other.
    nobody = await home.said(first, int(NOBODY["int64"]))
    before = [item["item_id"] for item in nobody["items"]]
    expected = home.expected(later)
    mine = sorted(expected, key=lambda item: -expected[item])[:K]
    said = await home.prediction(later)
    assert said["degraded"] == []
    items = [int(item["item_id"]) for item in said["items"]]
    assert len(set(items)) == K
    for name, theirs in (("two_tower", mine), ("second_generation", before)):
        assert {int(one["item_id"]) for one in said["items"] if name in one["channels"]} == {*items} & {*theirs}
    assert len({*items} & {*before}) >= SHARE * K
    assert before != [item["item_id"] for item in (await home.said(first, USER))["items"]]

    seen = await home.prediction(later, exclude_seen=True)
    assert not {int(item["item_id"]) for item in seen["items"]} & {*home.past().padded().items.ravel().tolist()}


async def test_a_second_that_is_gone_costs_its_items_and_nothing_else(home: Home) -> None:
    first = home.full(hours(0, 38), config(bootstrap_epochs=1))
    publish(open_log(home.settings), first.id, "stable")
    later = home.full(hours(0, 40), _declaring(seconds=30))
    open_collections(home.settings).drop(first.collection)
    said = await home.prediction(later)
    assert said["degraded"] == ["second_generation_missing"]
    assert len(said["items"]) == K
    assert {name for item in said["items"] for name in item["channels"]} == {"two_tower"}


def test_where_a_server_holds_one_tower_the_channel_is_refused_before_anything_is_learned(home: Home) -> None:
    home.settings = home.settings.model_copy(update={"rollout": RolloutSettings(backend="kserve")})
    with pytest.raises(ConfigError, match=r"channels: second_generation .* a predictor holds one full version"):
        home.exported(hours(0, 38), _declaring())
