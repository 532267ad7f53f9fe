"""What the pre-ranker reads of users and items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.errors import IntegrityError
from pagoda.model.encoder import Encoded
from pagoda.model.user_inputs import UserKeys
from pagoda.prerank.inputs import pair_inputs
from pagoda.prerank.items import EncodedItems, columns_of, write_items

NAMES = (
    *("popularity", "near", "item.kind", "item.tags"),
    *("share.kind", "since.kind", "share.tags", "since.tags", "user.age"),
)
HOUR = 3600.0


def columns(count: int, seed: int = 0) -> Encoded:
    rng = np.random.default_rng(seed)
    tags = rng.integers(-1, 4, (count, 2))
    features = {"kind": rng.integers(0, 4, count), "tags": tags, "look": rng.normal(size=(count, 3)).astype(np.float32)}
    return columns_of(rng.normal(size=(count, 5)).astype(np.float32), rng.random(count) + 0.1, features)


@given(st.lists(st.integers(-50, 50), unique=True, min_size=1, max_size=30), st.lists(st.integers(-60, 60)), st.data())
def test_items_are_found_and_read_in_one_file_or_in_several(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], asked: list[int], data: st.DataObject
) -> None:
    folder, known, wanted = tmp_path_factory.mktemp("items"), np.array(sorted(ids)), np.array(asked, np.int64)
    cut, whole = data.draw(st.integers(0, len(ids))), columns(len(ids))
    write_items(folder / "first", known[:cut], {name: values[:cut] for name, values in whole.items()})
    write_items(folder / "second", known[cut:], {name: values[cut:] for name, values in whole.items()})
    parts, memory = EncodedItems.open([folder / "first", folder / "second"]), EncodedItems([(known, whole)])
    places, there = parts.find(wanted)
    assert there.tolist() == [one in ids for one in asked]
    assert known[places[there]].tolist() == wanted[there].tolist()
    assert not places[~there].any()
    for items in (parts, memory):
        np.testing.assert_array_equal(items.vectors(places), whole["vector"][places].astype(np.float32))
        np.testing.assert_array_equal(items.popularity(places)[:, 0], whole["popularity"][places])
        for name in ("kind", "tags", "look"):
            np.testing.assert_array_equal(items.feature(name, places), whole[f"feature.{name}"][places])


@given(st.sets(st.integers(0, 20), max_size=12), st.sets(st.integers(0, 20), max_size=12), st.integers(1, 3))
def test_changed_items_are_read_as_they_became_and_all_others_as_they_were(
    exported: set[int], changed: set[int], files: int
) -> None:
    ids, new = np.array(sorted(exported), np.int64), np.array(sorted(changed), np.int64)
    before, after = columns(len(ids)), columns(len(new), seed=1)
    cuts = np.array_split(np.arange(len(ids)), files)
    parts = EncodedItems([(ids[cut], {name: values[cut] for name, values in before.items()}) for cut in cuts])
    items, asked = parts.under(new, after), np.arange(22)
    places, there = items.find(asked)
    assert there.tolist() == [one in exported | changed for one in range(22)]
    for item in exported | changed:
        columns_then, own = (after, new) if item in changed else (before, ids)
        expected = columns_then["feature.kind"][np.searchsorted(own, item)]
        assert items.feature("kind", places[[item]]).tolist() == [expected]
    assert parts.find(asked)[1].tolist() == [one in exported for one in range(22)], "what was exported stays as it was"


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items").write_bytes(b"no arrow")
    with pytest.raises(IntegrityError, match="not readable as the items of a pre-ranker"):
        EncodedItems.open([tmp_path / "items"])


@given(st.integers(0, 10_000))
def test_what_is_crossed_is_what_loops_find(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, users, length, pairs = 12, 3, int(rng.integers(0, 6)), 9
    items = EncodedItems([(np.arange(count) * 3, columns(count, seed))])
    mask = rng.random((users, length)) < 0.7
    past = np.where(mask, rng.integers(0, count + 3, (users, length)) * 3, 0)  # The last three are no items.
    age = np.where(mask, rng.random((users, length)) * 1e6, 0).astype(np.float32)
    keys = UserKeys(np.arange(users), past, mask, age, {"age": np.arange(users)})
    places, owner = rng.integers(count, size=pairs), rng.integers(users, size=pairs)
    vectors = rng.normal(size=(users, 5)).astype(np.float32)
    read = pair_inputs(NAMES, items, vectors, keys, places=places, owner=owner)
    assert set(read.features) == set(NAMES)
    for name in ("kind", "tags"):
        own = items.category(name, np.arange(count))
        for pair, (place, user) in enumerate(zip(places, owner, strict=True)):
            events = [
                (own[item // 3] if item < 3 * count else 0, at)
                for item, there, at in zip(past[user], mask[user], age[user], strict=True)
                if there
            ]
            same = [at for category, at in events if category == own[place] and own[place] > 0]
            share = len(same) / max(len(events), 1)
            hours = min(same, default=24 * 365 * HOUR) / HOUR
            assert read.features[f"share.{name}"][pair, 0] == pytest.approx(share)
            assert read.features[f"since.{name}"][pair, 0] == pytest.approx(np.log1p(hours), rel=1e-5)


@given(st.integers(0, 10_000))
def test_how_near_an_item_is_to_the_past_is_what_loops_find(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, users, length, pairs = 6, int(rng.integers(1, 4)), int(rng.integers(0, 5)), 5
    items = EncodedItems([(np.arange(count), columns(count, seed))])
    vectors = items.vectors(np.arange(count))
    past, mask = rng.integers(0, count + 2, (users, length)), rng.random((users, length)) < 0.7  # Two are no items.
    age = (rng.random((users, length)) * 1e6).astype(np.float32)
    keys = UserKeys(np.arange(users), past, mask, age, {})
    places, owner = rng.integers(count, size=pairs), rng.integers(users, size=pairs)
    read = pair_inputs(["near"], items, np.zeros((users, 5), np.float32), keys, places=places, owner=owner)
    for pair, (place, user) in enumerate(zip(places, owner, strict=True)):
        events = [
            (float(vectors[place] @ vectors[item]), float(at) / HOUR)
            for item, there, at in zip(past[user], mask[user], age[user], strict=True)
            if there and item < count
        ]
        newest = min((at for _, at in events), default=0)
        expected = [max((cosine for cosine, _ in events), default=0)]
        for half_life in (1, 6, 24, 168):
            weights = [0.5 ** ((at - newest) / half_life) for _, at in events]
            weighed = sum(weight * cosine for weight, (cosine, _) in zip(weights, events, strict=True))
            expected.append(weighed / max(sum(weights), 1))
        np.testing.assert_allclose(read.features["near"][pair], expected, atol=1e-4)


def test_what_one_user_reads_does_not_depend_on_who_is_asked_with_them() -> None:
    rng, items = np.random.default_rng(1), EncodedItems([(np.arange(8), columns(8))])
    past, vectors, places = rng.integers(0, 8, (2, 4)), rng.normal(size=(2, 5)).astype(np.float32), np.arange(8)

    def told(users: list[int]) -> UserKeys:
        there, age = np.ones((len(users), 4), np.bool_), np.ones((len(users), 4), np.float32)
        return UserKeys(np.array(users), past[users], there, age, {"age": np.array(users)})

    both = pair_inputs(NAMES, items, vectors, told([0, 1]), places=np.tile(places, 2), owner=np.repeat([0, 1], 8))
    one = pair_inputs(NAMES, items, vectors[1:], told([1]), places=places, owner=np.zeros(8, np.int64))
    for name in NAMES[:-1]:
        np.testing.assert_allclose(both.features[name][8:], one.features[name], rtol=1e-5, atol=1e-6)
