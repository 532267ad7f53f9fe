"""The channel `item_to_item`: its table from a log, and the candidates of a user by it."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.channels import item_to_item
from pagoda.channels.base import Ask, ChannelTable, Known, TableSource, anything
from pagoda.channels.factory import open_table, write_tables
from pagoda.channels.neighbours import co_occurrence, item_similarity
from pagoda.config.channels import ItemToItem
from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.embeddings.array_files import save_array
from pagoda.errors import ConfigError, IntegrityError
from tests.channels.logs import no_vectors
from tests.data.folders import write_dataset

END = datetime(2024, 5, 7, tzinfo=UTC)
ITEMS = range(10, 20)
ITEM_CF = ItemToItem(share=0.5, method="item_cf")
Positive = tuple[int, int, int]
"""User, item, hours before `END`."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def _written(log: Path, positives: list[Positive], declared: ItemToItem = ITEM_CF, items: Any = ITEMS) -> ChannelTable:
    """The table as a version has it whose window ends at `END`; what came after is in the data, too."""
    rows = [
        {"user_id": user, "item_id": item, "event": "click", "timestamp": END - timedelta(hours=hours)}
        for user, item, hours in sorted(positives, key=lambda one: -one[2])
    ]
    days = sorted({f"date={row['timestamp'].date().isoformat()}" for row in rows})
    parts = [(day, [row for row in rows if day == f"date={row['timestamp'].date().isoformat()}"]) for day in days]
    users = [{"user_id": user} for user in sorted({one[0] for one in positives})]
    data = write_dataset(log, parts=parts, users=users, items=[{"item_id": item} for item in ITEMS], spec=FeatureSpec())
    window, vectors = Window(start=END - timedelta(days=1), end=END), lambda: _vectors(items)
    read = vectors if declared.method == "vectors" else no_vectors
    source = TableSource(Dataset.open(data), window, np.array(items, np.int64), read)
    write_tables(log / "channels", [declared], source)
    return open_table(log / "channels", declared)


def _vectors(items: Any) -> np.ndarray:
    """Those of neighbouring numbers are ten degrees from each other; lengths differ, which says nothing."""
    angles = np.radians([10 * item for item in items])
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32) * np.array([[item] for item in items], "f")


def _known(*past: tuple[int, float]) -> Known:
    """A user with these items, each so many days old."""
    items, ages = zip(*past, strict=True) if past else ((), ())
    return Known(np.array(items, np.int64), np.array(ages, np.float32), 0)


def _all(ids: np.ndarray) -> np.ndarray:
    return np.ones(len(ids), np.bool_)


def _found(table: ChannelTable, *past: tuple[int, float], k: int = 10) -> dict[int, float]:
    ids, scores = table.candidates(_known(*past), _all, k)
    return dict(zip(ids.tolist(), scores.tolist(), strict=True))


def test_items_that_the_same_users_chose_are_candidates_by_their_cosine(log: Path) -> None:
    table = _written(log, [(1, 10, 1), (1, 11, 2), (2, 10, 1), (2, 11, 2), (3, 10, 1), (3, 12, 1)])
    assert _found(table, (10, 0)) == pytest.approx({11: 2 / np.sqrt(3 * 2), 12: 1 / np.sqrt(3)})
    assert _found(table, (12, 0)) == pytest.approx({10: 1 / np.sqrt(3)})
    assert _found(table) == _found(table, (19, 0)) == _found(table, (999, 0)) == {}


@pytest.mark.parametrize("method", ["swing", "item_cf"])
def test_only_positives_of_the_last_days_before_the_windows_end_count(log: Path, method: Any) -> None:
    together = [(user, item, hours) for hours, item in ((30, 11), (60, 12), (-3, 13)) for user in (1, 2)]
    mine = [(user, 10, 1) for user in (1, 2)]
    declared = ItemToItem(share=0.5, method=method, days=2)
    assert list(_found(_written(log, mine + together, declared), (10, 0))) == [11]


def test_an_item_without_a_vector_is_no_candidate(log: Path) -> None:
    positives = [(user, item, 1) for user in (1, 2) for item in (10, 11, 12)]
    assert list(_found(_written(log, positives, items=[10, 12]), (10, 0))) == [12]


def test_users_who_had_thousands_of_items_are_left_out(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(co_occurrence, "LONGEST", 4)
    monkeypatch.setattr(item_similarity, "LONGEST", 4)
    robots = [(user, item, 1) for user in (1, 2) for item in (10, 11, 12, 13)]
    table = _written(log, [*robots, (3, 10, 1), (3, 14, 1)])
    assert list(_found(table, (10, 0))) == [14]
    assert _found(table, (11, 0)) == {}


@pytest.mark.parametrize("positives", [[(1, 10, 1)], [(1, 10, 1), (2, 11, 1)], [(1, 10, -5)], [(1, 10, 24 * 90)]])
@pytest.mark.parametrize("method", ["swing", "item_cf"])
def test_a_log_in_which_nothing_goes_together_gives_no_candidate(log: Path, method: Any, positives: Any) -> None:
    assert _found(_written(log, positives, ItemToItem(share=0.5, method=method)), (10, 0)) == {}


def test_items_with_vectors_near_to_those_of_the_last_ones_are_candidates_whoever_chose_them(log: Path) -> None:
    declared = ItemToItem(share=0.5, method="vectors", neighbours=2)
    table = _written(log, [(1, 10, 1), (1, 19, 1)], declared, items=[*range(10, 16), 19])
    near = {degrees: np.cos(np.radians(degrees)) for degrees in (10, 40, 50)}
    assert _found(table, (12, 0)) == pytest.approx({11: near[10], 13: near[10]})
    assert _found(table, (19, 0)) == pytest.approx({15: near[40], 14: near[50]})
    assert _found(table, (17, 0)) == {}, "an item without a vector is no candidate and no seed"


def test_by_vectors_no_days_can_be_said() -> None:
    with pytest.raises(ConfigError, match="days is 3, and method: vectors reads no positives"):
        parse_config(
            "channels: [{kind: two_tower, share: 1}, {kind: item_to_item, share: 0, method: vectors, days: 3}]"
        )


@st.composite
def _tables(draw: st.DrawFn) -> dict[tuple[int, int], float]:
    """By item and neighbour, a weight."""
    pairs = st.tuples(st.sampled_from(ITEMS), st.sampled_from(ITEMS)).filter(lambda pair: pair[0] != pair[1])
    weights = st.floats(1 / 64, 1, width=32)
    return draw(st.dictionaries(pairs, weights, max_size=30))


def _saved(folder: Path, weights: dict[tuple[int, int], float]) -> None:
    folder.mkdir(parents=True)
    pairs = sorted(weights)
    starts = [sum(one < item for one, _ in pairs) for item in (*ITEMS, 100)]
    save_array(folder / "ids.npy", np.array(ITEMS), np.int64)
    save_array(folder / "starts.npy", np.array(starts), np.int64)
    save_array(folder / "neighbours.npy", np.array([near - 10 for _, near in pairs], np.int32), np.int32)
    save_array(folder / "weights.npy", np.array([weights[pair] for pair in pairs], np.float32), np.float32)


_PASTS = st.lists(st.tuples(st.sampled_from([*ITEMS, 7]), st.floats(0, 60, width=32)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(_tables(), st.lists(st.tuples(_PASTS, st.integers(1, 12)), max_size=9), st.sampled_from([2, 64]))
def test_users_who_ask_together_get_what_each_gets_alone(
    weights: dict[tuple[int, int], float], users: list[tuple[list[tuple[int, float]], int]], at_once: int
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        _saved(Path(folder, "item_to_item"), weights)
        table = open_table(Path(folder), ItemToItem(share=0.5, seeds=3))
        patch.setattr(item_to_item, "_AT_ONCE", at_once)
        asks = [Ask(_known(*past), anything if k % 2 else _all, k) for past, k in users]
        together, alone = table.candidates_of_all(asks), [table.candidates(*ask) for ask in asks]
    assert [one.ids.tolist() for one in together] == [one.ids.tolist() for one in alone]
    assert [one.scores.tolist() for one in together] == [one.scores.tolist() for one in alone]


@settings(max_examples=60, deadline=None)
@given(
    weights=_tables(),
    past=_PASTS,
    barred=st.sets(st.sampled_from(ITEMS)),
    limits=st.tuples(st.integers(1, 12), st.integers(1, 5)),
)
def test_candidates_are_the_best_allowed_by_what_the_last_items_say_of_them(
    weights: dict[tuple[int, int], float],
    past: list[tuple[int, float]],
    barred: set[int],
    limits: tuple[int, int],
) -> None:
    (k, seeds), past = limits, sorted(past, key=lambda one: one[1])
    with TemporaryDirectory() as folder:
        _saved(Path(folder, "item_to_item"), weights)
        table = open_table(Path(folder), ItemToItem(share=0.5, seeds=seeds, half_life_days=7))
    ids, scores = table.candidates(_known(*past), lambda items: ~np.isin(items, list(barred)), k)

    last: dict[int, float] = {}
    for item, age in past:
        if len(last) < seeds:
            last.setdefault(item, age)
    newest = min((age for item, age in last.items() if item in ITEMS), default=0)
    expected: defaultdict[int, float] = defaultdict(float)
    for (item, near), weight in weights.items():
        if item in last and near not in barred:
            expected[near] += weight * 0.5 ** ((last[item] - newest) / 7)
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:k], rtol=1e-5)
    assert len(set(ids.tolist())) == len(ids)
    np.testing.assert_allclose([expected[item] for item in ids.tolist()], scores, rtol=1e-5)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    _saved(tmp_path / "item_to_item", {(10, 11): 0.5})
    (tmp_path / "item_to_item" / "weights.npy").write_bytes(b"no array")
    with pytest.raises(IntegrityError, match=r"weights\.npy: damaged"):
        open_table(tmp_path, ITEM_CF)
