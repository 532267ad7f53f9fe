"""The best items that may stand in an answer, however many must be asked about."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.channels.item_lists import best, first_allowed
from pagoda.config.channels import Category, ChannelConfig, Editorial, Fresh, Popular
from tests.channels.logs import Act, opened

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=60)


@given(SCORES, st.sets(st.integers(0, 59)), st.integers(1, 12))
def test_the_best_that_may_come_and_of_equal_ones_the_lower_id_first(
    scores: list[float], barred: set[int], k: int
) -> None:
    items = np.arange(len(scores)) * 3
    asked: list[int] = []

    def allowed(ids: np.ndarray) -> np.ndarray:
        asked.append(len(ids))
        return ~np.isin(ids // 3, list(barred))

    found = first_allowed(best(items, np.array(scores, np.float32), len(items)), allowed, k)
    fine = sorted((place for place in range(len(scores)) if place not in barred), key=lambda place: -scores[place])[:k]
    assert found.ids.tolist() == [3 * place for place in fine]
    assert found.scores.tolist() == [scores[place] for place in fine]
    if not barred:
        assert sum(asked) <= 2 * k, "few are asked about, as long as all may come"


TABLES: tuple[ChannelConfig, ...] = (
    Popular(share=0.1, by="city"),
    Editorial(share=0.1, items=(7, 3), by="city", lists={"Oslo": (9, 7)}),
    Category(share=0.1, by="genres"),
    Fresh(share=0.1),
)


@pytest.mark.parametrize("declared", TABLES, ids=lambda one: one.kind)
def test_all_that_a_table_may_give_are_the_pages_of_its_file(declared: ChannelConfig) -> None:
    """Each worker process opens the table: a copy would be one a process."""
    with opened(declared, [Act(8_000, user, item, "click", None) for item in (1, 2, 6) for user in (1, 2)]) as table:
        owner = table.items
        while isinstance(owner, np.ndarray):
            owner = owner.base
        assert len(table.items) > 2 and isinstance(owner, mmap.mmap)
