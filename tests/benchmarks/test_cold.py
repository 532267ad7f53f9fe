"""The benchmark of new items and users: a day that is answered, and what is said of several worlds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from benchmarks.cold.day import ActedDay, K
from benchmarks.cold.document import cold_object
from benchmarks.cold.job import (
    ASKED,
    CLICKS,
    DAY,
    EXPLORED,
    KNOWN_ITEMS,
    NEW_ITEMS,
    NOTHING,
    ROWS,
    SESSIONS,
    ColdJob,
    train_and_ask,
)
from benchmarks.cold.worlds import declare, last_day, learned
from benchmarks.kept_run import KeptRun, UserValues, read_run
from benchmarks.seeds import ratio_over_seeds
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.simulation import World, simulate
from pagoda.simulation.config import WorldConfig
from pagoda.simulation.population import Float
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles

WORLD = WorldConfig(users=40, items=90, days=3, events=3_000, seed=5, new_users=0.3, new_items=0.5)


class WatchedWorld(World):
    """Remembers what its users were shown."""

    def __init__(self, config: WorldConfig) -> None:
        super().__init__(config)
        self.shown: list[tuple[int, int, tuple[int, ...]]] = []

    def preferences(self, user_ids: ArrayLike, item_ids: ArrayLike, times_us: ArrayLike) -> Float:
        rows = zip(np.asarray(user_ids), np.asarray(times_us), np.asarray(item_ids), strict=True)
        self.shown += [(int(user), int(time), tuple(items.tolist())) for user, time, items in rows]
        return super().preferences(user_ids, item_ids, times_us)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> tuple[FullVersionFiles, Dataset]:
    folder = tmp_path_factory.mktemp("cold")
    simulate(WORLD, folder / "data")
    small = {"model": {"dim": 8, "feature_dim": 4}, "bootstrap_epochs": 1, "device": "cpu"}
    row = ROWS[EXPLORED]
    config = TrainConfig.model_validate(small | {"cold": row.cold, "channels": row.channels})
    known = declare(folder / "data", folder / "known", "undeclared", learned(WORLD).end_us)
    files = full_update(known, learned(WORLD), None, config, folder / "version", programs=False)
    return files, declare(folder / "data", folder / "asked", "undeclared", last_day(WORLD).end_us)


def test_users_are_shown_what_has_come_and_what_they_did_not_have(version: tuple[FullVersionFiles, Dataset]) -> None:
    files, dataset = version
    world = WatchedWorld(WORLD)
    requests = world.requests(WORLD.days - 1)
    lived = ActedDay(world, files, dataset, learned(WORLD)).live(requests, seed=0)
    arrival_us, had = world.item_table.arrival_us, set[tuple[int, int]]()
    for batch in dataset.batches(learned(WORLD), events=["click"]):
        had |= set(zip(batch.column("user_id").to_pylist(), batch.column("item_id").to_pylist(), strict=True))
    assert [user for user, _, _ in world.shown] == requests.users.tolist() == lived.users.tolist()
    for user, time_us, items in world.shown:
        assert len(set(items)) == K
        assert (arrival_us[np.array(items) - 1] <= time_us).all()
        assert not {(user, item) for item in items} & had
    assert 0.7 < lived.clicks.sum() / lived.expected.sum() < 1.3
    untouched = np.setdiff1d(np.concatenate([items for _, _, items in world.shown]), [item for _, item in had])
    assert len(untouched)  # New items are explored.


def test_who_lives_a_day_again_lives_the_same(version: tuple[FullVersionFiles, Dataset]) -> None:
    world = World(WORLD)
    requests = world.requests(WORLD.days - 1)
    first, again = (ActedDay(world, *version, learned(WORLD)).live(requests, seed=3) for _ in range(2))
    assert (first.expected == again.expected).all() and (first.clicks == again.clicks).all()


def test_a_ratio_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        level = rng.normal(10, 1, 5)
        found = ratio_over_seeds(2 * level + rng.normal(0, 1, 5), level + rng.normal(0, 0.5, 5))
        held += found.low < 2 < found.high
    assert 0.91 < held / 400 < 0.99


def run(known: int, clicks: float) -> KeptRun:
    users, three = np.arange(4), np.array([1.0, 0.0, np.nan, 1.0])
    asked = {
        ASKED: UserValues(users, {"young items": three}),
        SESSIONS: UserValues(users, {CLICKS: np.full(4, clicks)}),
        DAY: UserValues(users, {CLICKS: np.full(4, clicks)}),
    }
    return KeptRun(asked, {NEW_ITEMS: 10, KNOWN_ITEMS: known})


def told(known: Sequence[int], base: Sequence[int]) -> dict[str, Any]:
    own, others = ([run(number, 2 + number / 10) for number in each] for each in (known, base))
    return cold_object({row: others if row == NOTHING else own for row in ROWS})


def test_the_object_says_ratios_and_what_they_are_of() -> None:
    found = told([4, 6], [2, 2])
    assert found["set"] == "cold"
    assert found["new_items_with_20_clicks"] == pytest.approx(0.5)
    assert found["new_items_with_20_clicks_ratio"] == pytest.approx(2.5)
    assert found["all_clicks_ratio_low"] < found["all_clicks_ratio"] < found["all_clicks_ratio_high"]
    assert found["recall@50_new_items_ratio"] == pytest.approx(1)


def test_a_ratio_to_nothing_is_none() -> None:
    found = told([4, 6], [0, 0])
    assert found["new_items_with_20_clicks_ratio"] is None
    assert found["new_items_with_20_clicks_without"] == 0


@pytest.mark.long
def test_new_items_are_known_after_a_day_only_where_they_are_given_a_chance(tmp_path: Path) -> None:
    found = {}
    for row in (NOTHING, EXPLORED):
        job = ColdJob(row, 100, tmp_path / f"{len(found)}.npz")
        found[row] = train_and_ask(job)
        assert read_run(job.kept_at).facts == found[row].facts
    shares = {row: one.facts[KNOWN_ITEMS] / one.facts[NEW_ITEMS] for row, one in found.items()}
    assert shares[EXPLORED] > 2 * shares[NOTHING]
