"""New items chosen by chance: how many, which, and how probable that was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.channels.explore import Believed, Explored, Lot, draws_of, explored
from pagoda.channels.merging import apart, spread
from pagoda.config.channels import Explore
from tests.channels.logs import DAYS, ITEMS, LOGS, Act, all_of, ids_of, known, opened

END = DAYS * 24 * 60
EPSILON, THOMPSON = Explore(share=0.05, method="epsilon"), Explore(share=0.05)


def chosen(declared: Explore, items: int, budget: float, times: int) -> list[Explored]:
    believed = Believed(np.linspace(1, 3, items), np.full(items, 20.0))
    places, draws = np.arange(items), draws_of(believed, 0)
    seeds = np.random.default_rng(3).integers(1 << 64, size=times, dtype=np.uint64).tolist()
    return explored(draws, [Lot(places, budget, seed) for seed in seeds], declared)


@given(st.integers(0, 12), st.floats(0, 6), st.sampled_from([EPSILON, THOMPSON]))
def test_places_are_the_whole_budget_and_at_times_one_more(items: int, budget: float, declared: Explore) -> None:
    for one in chosen(declared, items, budget, 5):
        assert min(int(budget), items) <= len(one.numbers) <= min(int(budget) + 1, items)
        assert len(set(one.numbers.tolist())) == len(one.numbers) == len(one.propensities)
        assert ((one.propensities > 0) & (one.propensities <= 1)).all()


@pytest.mark.parametrize(("items", "budget"), [(10, 2.3), (10, 0.4), (2, 1.7), (3, 5.0)])
def test_a_propensity_of_epsilon_is_how_often_an_item_is_chosen(items: int, budget: float) -> None:
    runs = chosen(EPSILON, items, budget, 4000)
    often = np.bincount(np.concatenate([one.numbers for one in runs]), minlength=items) / len(runs)
    told = next(one.propensities[0] for one in runs if len(one.numbers))
    assert often == pytest.approx(np.full(items, told), abs=0.03)  # Some four standard errors.


def test_propensities_of_thompson_are_near_to_how_often_an_item_is_chosen() -> None:
    runs = chosen(THOMPSON, 8, 1.5, 3000)
    often = np.bincount(np.concatenate([one.numbers for one in runs]), minlength=8) / len(runs)
    told = np.zeros(8)
    for one in runs:
        told[one.numbers] += one.propensities
    told /= np.bincount(np.concatenate([one.numbers for one in runs]), minlength=8)
    assert often[7] > 1.5 * often[0]  # It is believed to be three times as good.
    assert told == pytest.approx(often, abs=0.05)


def test_the_same_seed_chooses_the_same() -> None:
    first, again = (chosen(THOMPSON, 9, 2.5, 20) for _ in range(2))
    assert all((one.numbers == two.numbers).all() for one, two in zip(first, again, strict=True))
    assert len({tuple(one.numbers.tolist()) for one in first}) > 5


CHOICES = st.builds(
    lambda items, budget, seed: Lot(np.array(items, np.int64), budget, seed),
    st.lists(st.integers(0, 19), unique=True, max_size=12),
    st.sampled_from([0.0, 0.4, 2.0, 2.5, 7.0]),
    st.integers(0, (1 << 64) - 1),
)


@given(st.lists(CHOICES, max_size=8), st.sampled_from([EPSILON, THOMPSON]))
def test_answers_that_are_chosen_for_together_get_what_each_gets_alone(choices: list[Lot], declared: Explore) -> None:
    draws = draws_of(Believed(np.linspace(1, 3, 20), np.full(20, 20.0)), 0)
    together, alone = explored(draws, choices, declared), [explored(draws, [one], declared)[0] for one in choices]
    assert [one.numbers.tolist() for one in together] == [one.numbers.tolist() for one in alone]
    assert [one.propensities.tolist() for one in together] == [one.propensities.tolist() for one in alone]


def test_regret_of_thompson_grows_ever_more_slowly_and_less_than_that_of_chance() -> None:
    rates, rng = np.linspace(0.05, 0.6, 20), np.random.default_rng(0)
    lost = {}
    for declared in (THOMPSON, EPSILON):
        counts, regret = np.zeros((2, 20), np.int64), []
        for step in range(1200):
            impressions, clicks = counts
            draws = draws_of(Believed(4 + clicks, 16 + impressions - clicks), step)
            (found,) = explored(draws, [Lot(np.arange(20), 1.0, step << 32)], declared)
            place = int(found.numbers[0])
            counts[:, place] += 1, rng.random() < rates[place]
            regret.append(rates[-1] - rates[place])
        lost[declared.method] = [sum(regret[:300]), sum(regret[-300:])]
    assert lost["thompson"][1] < 0.5 * lost["thompson"][0]
    assert sum(lost["thompson"]) < 0.4 * sum(lost["epsilon"])


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.integers(0, 6), st.integers(6, 15))
def test_explored_items_stand_between_the_others_and_none_is_lost(others: list[int], explores: int, k: int) -> None:
    among = list(range(100, 100 + explores))
    answer = spread(others, among, k)
    assert [item for item in answer if item >= 100] == among
    assert [item for item in answer if item < 100] == others[: k - explores]
    places = [place for place, item in enumerate(answer) if item >= 100]
    gaps = np.diff([-len(answer) / explores / 2, *places]) if explores else np.empty(0)
    assert all(abs(gap - len(answer) / explores) <= 1.01 for gap in gaps)


@given(st.floats(0, 0.5), st.floats(0.1, 1))
def test_the_others_share_what_is_not_explored(own: float, towers: float) -> None:
    whole = {"two_tower": towers * (1 - own), "popular": (1 - towers) * (1 - own), "explore": own}
    shares, found = apart(whole, "explore")
    assert found == own
    assert shares == pytest.approx({"two_tower": towers, "popular": 1 - towers})


@settings(max_examples=20)
@given(LOGS, st.integers(1, 4), st.sampled_from([1.0, 3.0]))
def test_a_table_has_new_items_with_few_clicks_and_their_numbers(acts: list[Act], clicks: int, days: float) -> None:
    births = {row["item_id"]: END for row in ITEMS}
    for act in acts:
        births[act.item] = min(births[act.item], act.minute)
    within = [act for act in acts if act.within(days) and act.minute < END]
    shown = {item: sum(act.item == item and not act.positive for act in within) for item in births}
    had = {item: sum(act.item == item and act.positive for act in within) for item in births}
    new = [item for item in births if births[item] >= END - days * 24 * 60 and had[item] < clicks]
    with opened(Explore(share=0.1, days=days, clicks=clicks), acts) as table:
        assert table.items.tolist() == new
        assert table.counts.tolist() == [[shown[item] for item in new], [had[item] for item in new]]
        assert sorted(ids_of(table.candidates(known(), all_of, 12))) == new
