"""One list of several channels': quotas, places, and what a user who did nothing yet gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.channels.merging import looked_at, merged, shares_of
from pagoda.config.channels import MergingConfig
from pagoda.config.training import parse_config
from pagoda.errors import ConfigError

CHANNELS = ("two_tower", "item_to_item", "popular")
LISTS = st.fixed_dictionaries({channel: st.lists(st.integers(0, 60), unique=True, max_size=40) for channel in CHANNELS})
PARTS = st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any)


def parts(numbers: list[int]) -> dict[str, float]:
    return {channel: number / sum(numbers) for channel, number in zip(CHANNELS, numbers, strict=True)}


@given(LISTS, PARTS, st.integers(1, 50), st.sampled_from(["quota", "rrf"]))
def test_an_answer_is_as_long_as_can_be_and_names_who_had_each_item(
    lists: dict[str, list[int]], numbers: list[int], k: int, kind: str
) -> None:
    answer = merged(lists, parts(numbers), kind, k)
    there = {item for items in lists.values() for item in items}
    assert len(answer) == min(k, len(there)) == len({one.item for one in answer})
    assert all(list(one.channels) == [name for name in CHANNELS if one.item in lists[name]] for one in answer)
    assert [one.weight for one in answer] == sorted((one.weight for one in answer), reverse=True)


@given(PARTS, st.integers(1, 50))
def test_channels_that_have_enough_of_their_own_get_their_shares(numbers: list[int], k: int) -> None:
    lists = {channel: [1000 * place + item for item in range(50)] for place, channel in enumerate(CHANNELS)}
    shares = parts(numbers)
    answer = merged(lists, shares, "quota", k)
    for channel in CHANNELS:
        assert abs(sum(channel in one.channels for one in answer) - shares[channel] * k) < 1
    # And from the first places on, not only in all.
    for half in (answer[: k // 2], answer[k // 2 :]):
        for channel in CHANNELS:
            assert abs(sum(channel in one.channels for one in half) - shares[channel] * len(half)) <= len(CHANNELS)


APART = st.fixed_dictionaries(
    {
        "item_to_item": st.lists(st.integers(40, 80), unique=True, max_size=40),
        "popular": st.lists(st.integers(70, 120), unique=True, max_size=40),
    }
)


@given(APART, PARTS, st.integers(1, 50), st.sampled_from(["quota", "rrf"]))
def test_what_is_not_looked_at_shortens_no_answer_whose_towers_give_enough(
    lists: dict[str, list[int]], numbers: list[int], k: int, kind: str
) -> None:
    lists, shares = {**lists, "two_tower": list(range(k))}, parts(numbers)
    looked = looked_at(lists, shares, kind, k)
    assert all(list(items) == lists[channel][: len(items)] for channel, items in looked.items())
    answer = merged(looked, shares, kind, k)
    assert len(answer) == k
    # Where no other has taken any of its items, a channel's places want no more.
    distinct = {item for items in lists.values() for item in items}
    if kind == "quota" and len(distinct) == sum(map(len, lists.values())):
        assert answer == merged(lists, shares, kind, k)


def test_without_the_towers_all_candidates_are_looked_at() -> None:
    lists = {"item_to_item": list(range(40)), "popular": list(range(40, 80))}
    shares = {"two_tower": 0.8, "item_to_item": 0.1, "popular": 0.1}
    assert len(merged(looked_at(lists, shares, "quota", 50), shares, "quota", 50)) == 50


def test_a_dead_channel_costs_its_items_and_nothing_else() -> None:
    lists = {"two_tower": list(range(20)), "popular": list(range(100, 120))}
    shares = {"two_tower": 0.5, "item_to_item": 0.3, "popular": 0.2}
    answer = merged(lists, shares, "quota", 10)
    assert sum(one.channels == ("two_tower",) for one in answer) == 8
    assert sum(one.channels == ("popular",) for one in answer) == 2


def test_an_item_of_two_channels_stands_once_and_the_second_gives_another() -> None:
    answer = merged({"two_tower": [1, 2, 3], "popular": [2, 1, 9]}, {"two_tower": 0.5, "popular": 0.5}, "quota", 3)
    assert {one.item for one in answer} == {1, 2, 9}
    assert {one.item: one.channels for one in answer}[1] == ("two_tower", "popular")


def test_who_did_nothing_yet_gets_another_mixture_that_moves_with_what_they_do() -> None:
    declared = "{kind: two_tower, share: 0.8, cold_share: 0.2}, {kind: popular, share: 0.2, cold_share: 0.8}"
    channels = parse_config(f"channels: [{declared}]").channels
    towers = [shares_of(channels, MergingConfig(), past)["two_tower"] for past in (0, 20, 10_000)]
    assert towers == pytest.approx([0.2, 0.5, 0.8], abs=2e-3)
    assert sum(shares_of(channels, MergingConfig(), 7).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ("[{kind: popular, share: 1}]", "channels lack two_tower"),
        ("[{kind: two_tower, share: 0.5}, {kind: two_tower, share: 0.5}]", "two_tower more than once"),
        ("[{kind: two_tower, share: 0.5}, {kind: popular, share: 0.4}]", "share adds up to 0.9"),
        ("[{kind: two_tower, share: 0.5, cold_share: 1}, {kind: popular, share: 0.5}]", "popular has no cold_share"),
        ("[{kind: two_towers, share: 1}]", "channels"),
    ],
)
def test_channels_that_are_no_whole_are_refused(declared: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_config(f"channels: {declared}")


def test_a_configuration_without_channels_is_written_as_before() -> None:
    assert "channels" not in parse_config("").to_yaml() and "merging" not in parse_config("").to_yaml()
    with pytest.raises(ConfigError, match="merging has no effect without channels"):
        parse_config("merging: {kind: rrf}")
