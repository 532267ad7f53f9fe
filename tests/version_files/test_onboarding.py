"""What is shown first: for every n the best items of n kinds, popular ones on which opinions differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.layout import INTERESTS
from pagoda.data.spec import MultiValued
from pagoda.training.full.update import full_update
from pagoda.version_files.onboarding import ONBOARDING, entropy, first_items
from tests.training.worlds import SPEC, config, hours, make

KINDS, EACH = 6, 40


def kinds_of_items(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of items of six kinds, in pairs of related ones, and scores."""
    rng = np.random.default_rng(seed)
    related = np.repeat(np.linalg.qr(rng.normal(size=(16, KINDS // 2)))[0].T, 2, axis=0)
    centres = related + 0.4 * np.linalg.qr(rng.normal(size=(16, KINDS)))[0].T
    vectors = np.repeat(centres, EACH, axis=0) + 0.01 * rng.normal(size=(KINDS * EACH, 16))
    return vectors.astype(np.float32), rng.permutation(KINDS * EACH) + 1.0


@settings(max_examples=15)
@given(st.integers(0, 30))
def test_the_first_six_are_the_best_of_each_kind_and_the_first_is_the_best(seed: int) -> None:
    vectors, scores = kinds_of_items(seed)
    chosen = first_items(vectors, scores, 5 * KINDS)[:KINDS]
    best = scores.reshape(KINDS, EACH).argmax(1) + EACH * np.arange(KINDS)
    assert set(chosen) == set(best)
    assert chosen[0] == scores.argmax()
    # Fewer are of kinds that are less alike: three are of three pairs.
    assert len(set(chosen[:3] // EACH // 2)) == 3


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 5))
def test_items_without_a_score_are_never_shown(count: int, scored: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.where(np.arange(count) < scored, rng.random(count) + 0.1, 0.0)
    chosen = first_items(rng.normal(size=(count, 4)).astype(np.float32), scores, 5)
    assert len(set(chosen)) == len(chosen) <= 5
    assert (scores[chosen] > 0).all() and bool(len(chosen)) == bool((scores > 0).any())


def test_opinions_differ_most_where_likes_are_as_many_as_skips() -> None:
    bits = entropy(np.array([50, 99, 1, 0]), np.array([50, 1, 99, 0]))
    assert bits.argmax() in (0, 3) and bits[0] == bits[3] == 1
    assert np.isclose(bits[1], bits[2]) and bits[1] < 0.2
    assert (entropy(np.array([50, 1]), np.array([0, 0])) == 1).all()


def test_a_version_whose_users_can_say_what_they_like_has_such_items(tmp_path: Path) -> None:
    feature = MultiValued(name=INTERESTS, tower="user", max_values=3)
    dataset = make(tmp_path / "data", SPEC.model_copy(update={"features": (*SPEC.features, feature)}))
    how = config(cold={"by": "tags", "users": "interests"}, bootstrap_epochs=2)
    files = full_update(dataset, hours(0, 40), None, how, tmp_path / "out", programs=False)
    first = pq.read_table(files.folder / ONBOARDING)["item_id"].to_pylist()
    clicked = {item for item, clicks in zip(*files.popularity().to_pydict().values(), strict=True) if clicks}
    assert first[0] == files.popularity()["item_id"][0].as_py()
    assert set(first) <= clicked and len(first) > 20
