"""The items that came last."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.config.channels import Fresh
from pagoda.data.ids import user_places
from tests.channels.logs import DAYS, ITEMS, LOGS, Act, all_of, ids_of, known, opened
from tests.channels.test_popular import counted

END = DAYS * 24 * 60


def drawn(items: list[int]) -> list[int]:
    """In the order in which items without any interaction are taken."""
    places = user_places(np.array(items, np.int64))
    return [items[number] for number in np.argsort(places, kind="stable")]


def test_what_nobody_touched_pushes_out_nothing_that_came() -> None:
    acts = [Act(END - 60, 1, 11, "click", None), Act(END - 30, 1, 12, "impression", None)]
    with opened(Fresh(share=0.1, days=2, kept=4), acts) as table:
        kept = ids_of(table.candidates(known(), all_of, 12))
    assert {11, 12} < set(kept) and len(kept) == 4
    assert set(kept) - {11, 12} != {1, 2}  # By chance, not the lowest.


def test_a_channel_that_finds_no_item_is_told_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """Else its answers look as if nobody had declared it."""
    old = [Act(0, 1, row["item_id"], "click", None) for row in ITEMS]
    with caplog.at_level(logging.WARNING), opened(Fresh(share=0.1, days=2), old) as table:
        assert ids_of(table.candidates(known(), all_of, 12)) == []
    assert "channels: fresh: finds no item in the data up to 2024-05-07" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING), opened(Fresh(share=0.1, days=2), old[:-1]):
        assert not caplog.text


@settings(max_examples=25)
@given(LOGS, st.sampled_from([0.5, 2.0, 1e9]), st.integers(1, 12), st.integers(1, 12))
def test_the_newest_are_kept_and_those_chosen_most_come_first(acts: list[Act], days: float, kept: int, k: int) -> None:
    births: dict[int, int] = {}
    for act in acts:
        if act.minute >= END:  # The version knows nothing of what came after its window.
            continue
        births[act.item] = min(births.get(act.item, act.minute), act.minute)
    came = [item for item, minute in births.items() if minute >= END - days * 24 * 60]
    newest = sorted(came, key=lambda item: (-births[item], item))[:kept]
    newest += drawn([row["item_id"] for row in ITEMS if row["item_id"] not in births])[: kept - len(newest)]
    counts = counted(acts, days)
    wanted = [item for item in sorted(newest, key=lambda item: (-counts[item], item)) if item % 3]
    with opened(Fresh(share=0.1, days=days, kept=kept), acts) as table:
        assert ids_of(table.candidates(known(), lambda ids: ids % 3 != 0, k)) == wanted[:k]
