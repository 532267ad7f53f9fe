"""The best items of a user's commonest categories."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.channels.factory import refuse_channels
from pagoda.config.channels import Category
from pagoda.errors import ConfigError
from tests.channels.logs import ITEMS, LOGS, SPEC, Act, all_of, ids_of, known, opened
from tests.channels.test_popular import counted

GENRES = {row["item_id"]: list(dict.fromkeys(row["genres"] or [])) for row in ITEMS}
MAKER = {row["item_id"]: [row["maker"]] if row["maker"] else [] for row in ITEMS}
PAST = st.lists(st.integers(1, 14), max_size=12)


def commonest(past: list[int], categories: dict[int, list[str]], lists: dict[str, list[int]]) -> list[str]:
    found = Counter(one for item in past for one in categories.get(item, []) if one in lists)
    newest = {one: min(place for place, i in enumerate(past) if one in categories.get(i, [])) for one in found}
    return sorted(found, key=lambda one: (-found[one], newest[one]))


@settings(max_examples=25)
@given(LOGS, PAST, st.sampled_from([("genres", GENRES), ("maker", MAKER)]), st.integers(1, 3), st.integers(1, 12))
def test_the_best_of_the_commonest_categories_come_in_turn(
    acts: list[Act], past: list[int], by: tuple[str, dict[int, list[str]]], seeds: int, k: int
) -> None:
    name, categories = by
    counts = counted(acts, 3.0)
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    lists = {
        one: [i for i in ranked if one in categories[i]][:4] for one in {c for own in categories.values() for c in own}
    }
    lists = {one: items for one, items in lists.items() if items}
    top = commonest(past[:seeds], categories, lists)[:2]
    with opened(Category(share=0.1, by=name, days=3.0, seeds=seeds, categories=2, kept=4), acts) as table:
        found = ids_of(table.candidates(known(past), lambda ids: ids != 2, k))
    left = [[item for item in lists[one] if item != 2] for one in top]
    turns = [item for turn in zip_longest(*left) for item in turn if item is not None]
    placed = {item: min(own.index(item) for own in left if item in own) for item in turns}
    assert set(found) <= set(turns)
    assert len(found) == min(k, len(set(turns)))
    assert found == list(dict.fromkeys(turns))[:k]
    assert [placed[item] for item in found] == sorted(placed[item] for item in found)


def test_who_did_nothing_and_who_had_what_nobody_knows_gets_nothing() -> None:
    acts = [Act(8000, 1, item, "click", None) for item in range(1, 13)]
    with opened(Category(share=0.1, by="maker"), acts) as table:
        assert ids_of(table.candidates(known(), all_of, 5)) == []
        assert ids_of(table.candidates(known([999, 3]), all_of, 5)) == []  # Item 3 has no maker.
        assert ids_of(table.candidates(known([999, 1]), all_of, 5)) == [1, 4, 7, 10]


def test_what_items_had_that_are_no_candidates_counts_and_they_are_none() -> None:
    acts = [Act(8000, 1, item, "click", None) for item in range(1, 13)]
    with opened(Category(share=0.1, by="maker"), acts, items=[4, 7]) as table:
        assert ids_of(table.candidates(known([1]), all_of, 5)) == [4, 7]


def test_a_category_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"channels: category: by 'city' is no .*genres, maker"):
        refuse_channels([Category(share=0.1, by="city")], SPEC)
