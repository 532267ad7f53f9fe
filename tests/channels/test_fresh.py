"""The items that came last."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.config.channels import Fresh
from tests.channels.logs import DAYS, ITEMS, LOGS, Act, ids_of, known, opened
from tests.channels.test_popular import counted

END = DAYS * 24 * 60


@settings(max_examples=25)
@given(LOGS, st.sampled_from([0.5, 2.0, 1e9]), st.integers(1, 12), st.integers(1, 12))
def test_the_newest_are_kept_and_those_chosen_most_come_first(acts: list[Act], days: float, kept: int, k: int) -> None:
    births = {row["item_id"]: END for row in ITEMS}
    for act in acts:
        births[act.item] = min(births[act.item], act.minute)
    fresh = [item for item, minute in births.items() if minute >= END - days * 24 * 60]
    newest = sorted(fresh, key=lambda item: (-births[item], item))[:kept]
    counts = counted(acts, days)
    wanted = [item for item in sorted(newest, key=lambda item: (-counts[item], item)) if item % 3]
    with opened(Fresh(share=0.1, days=days, kept=kept), acts) as table:
        assert ids_of(table.candidates(known(), lambda ids: ids % 3 != 0, k)) == wanted[:k]
