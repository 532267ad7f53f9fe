"""Popular items, by everyone or by those in a like situation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.channels import popular
from pagoda.channels.base import Ranked
from pagoda.channels.factory import refuse_channels
from pagoda.channels.item_lists import ItemLists
from pagoda.config.channels import Popular
from pagoda.errors import ConfigError, IntegrityError
from tests.channels.logs import CITY, END_US, LOGS, SPEC, Act, all_of, ids_of, known, opened

HOUR_US = 3_600_000_000
BY = {"hour": lambda act: str(act.hour), "device": lambda act: act.device or "none", "city": lambda act: CITY[act.user]}


def counted(acts: list[Act], days: float) -> Counter[int]:
    return Counter(act.item for act in acts if act.positive and act.within(days) and act.minute < 6 * 24 * 60)


@settings(max_examples=20)
@given(LOGS, st.sampled_from([1.0, 2.5, 1e9]), st.integers(1, 12), st.sets(st.integers(1, 12), min_size=1))
def test_the_list_of_all_has_what_was_chosen_most(acts: list[Act], days: float, kept: int, items: set[int]) -> None:
    counts = {item: count for item, count in counted(acts, days).items() if item in items}
    wanted = sorted(counts, key=lambda item: (-counts[item], item))[:kept]
    with opened(Popular(share=0.1, days=days, kept=kept), acts, list(items)) as table:
        assert ids_of(table.candidates(known(), all_of, 12)) == wanted
        even = table.candidates(known(), lambda ids: ids % 2 == 0, 3)
        assert ids_of(even) == [item for item in wanted if item % 2 == 0][:3]


@settings(max_examples=20)
@given(LOGS, st.sampled_from(sorted(BY)), st.sampled_from([1, 13, 1 << 25]))
def test_a_situation_has_its_own_list_smoothed_by_that_of_all(acts: list[Act], by: str, cells: int) -> None:
    shares = counted(acts, 3.0)
    situations = {BY[by](act) for act in acts}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(popular, "_CELLS", cells)
        with opened(Popular(share=0.1, days=3.0, by=by), acts) as table:
            for situation in situations:
                own = counted([act for act in acts if BY[by](act) == situation], 3.0)
                told = {} if situation == "none" else {by: situation}
                moment_us = END_US + int(situation) * HOUR_US if by == "hour" else END_US
                found = table.candidates(known(moment_us=moment_us, **told), all_of, 12)
                scores = {i: (own[i] + 1000 * shares[i] / shares.total()) / (own.total() + 1000) for i in shares}
                assert set(ids_of(found)) == set(scores)
                assert found.scores == pytest.approx([scores[item] for item in found.ids.tolist()])


def often(item: int, times: int, device: str) -> list[Act]:
    return [Act(7000 + number % 60, 1, item, "click", device) for number in range(times)]


def test_a_thin_situation_is_no_noise_and_one_nobody_knows_has_the_list_of_all() -> None:
    acts = [*often(1, 800, "phone"), *often(2, 100, "phone"), *often(3, 1, "watch"), *often(2, 900, "tv")]
    acts.sort(key=lambda act: act.minute)
    with opened(Popular(share=0.1, by="device"), acts) as table:
        of = {device: ids_of(table.candidates(known(device=device), all_of, 3)) for device in ("phone", "watch", "new")}
        assert of == {"phone": [1, 2, 3], "watch": [2, 1, 3], "new": [2, 1, 3]}
        assert ids_of(table.candidates(known(), all_of, 3)) == [2, 1, 3]


def test_what_the_data_has_no_situation_for_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"channels: popular: by 'maker' is neither hour nor .*device, city"):
        refuse_channels([Popular(share=0.1, by="maker")], SPEC)
    refuse_channels([Popular(share=0.1, by="city"), Popular(share=0.1, by="hour"), Popular(share=0.1)], SPEC)


def test_a_table_without_positives_gives_nothing() -> None:
    with opened(Popular(share=0.1, by="hour"), [Act(1, 1, 1, "impression", None)]) as table:
        assert ids_of(table.candidates(known(), all_of, 5)) == []


@pytest.mark.parametrize("name", ["ids.npy", "scores.npy", "lists.json", "situation.json"])
def test_a_damaged_table_is_told(name: str, tmp_path: Path) -> None:
    declared = Popular(share=0.1, by="device")
    ItemLists.write(tmp_path, {None: Ranked(np.arange(5), np.zeros(5, np.float32))})
    (tmp_path / "situation.json").write_text('{"default": ""}')
    popular.PopularKind().open(tmp_path, declared)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-3])
    with pytest.raises(IntegrityError, match=name):
        popular.PopularKind().open(tmp_path, declared)
