"""Several items to find agree with counting them one by one; of a single one, with ranks as they ever were."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pagoda.evaluation.metrics import ndcg, recall
from pagoda.evaluation.ranking import DotScorer, ExcludedPairs, StaticScorer, rank
from pagoda.evaluation.relevance import Relevant, find, tail_share

ITEMS = 9


@given(data=st.data(), rows=st.integers(1, 4), k=st.integers(1, ITEMS))
def test_metrics_agree_with_sorting_by_hand(data: st.DataObject, rows: int, k: int) -> None:
    scores = np.array([data.draw(st.permutations(range(ITEMS))) for _ in range(rows)], np.float32)
    sets = [data.draw(st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=4)) for _ in range(rows)]
    seen = [data.draw(st.sets(st.integers(0, ITEMS - 1))) - wanted for wanted in sets]
    missing = data.draw(st.integers(0, 2))
    relevant = Relevant(*pairs(sets), np.array([len(wanted) + missing for wanted in sets]))
    found = find(DotScorer(scores, np.eye(ITEMS, dtype=np.float32)), relevant, ExcludedPairs(*pairs(seen)), k)
    shown = np.zeros(ITEMS)
    for row in range(rows):
        top = [item for item in np.argsort(-scores[row]) if item not in seen[row]][:k]
        shown[top] += 1
        gains = [1 / np.log2(place + 2) for place, item in enumerate(top) if item in sets[row]]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(k, len(sets[row]) + missing)))
        assert found.recall(k)[row] == len(gains) / (len(sets[row]) + missing)
        assert found.hit_rate(k)[row] == bool(gains)
        np.testing.assert_allclose(found.ndcg(k)[row], sum(gains) / ideal)
    np.testing.assert_array_equal(found.shown, shown)


def test_of_one_item_a_row_metrics_are_those_of_ranks() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(-2, 3, (50, 4)).astype(np.float32), rng.integers(-2, 3, (30, 4)).astype(np.float32)
    targets = rng.integers(0, 30, 50)
    seen = ExcludedPairs(np.arange(50), (targets + 1) % 30)
    found = find(DotScorer(users, items), Relevant.single(targets), seen, 5)
    ranks = rank(DotScorer(users, items), targets, seen)
    for metric in (found.recall, found.hit_rate):
        np.testing.assert_array_equal(metric(5), recall(ranks, 5))
    np.testing.assert_allclose(found.ndcg(5), ndcg(ranks, 5))
    assert set(found.metrics(["hr@5", "ndcg@3"])) == {"hr@5", "ndcg@3"}


def test_the_tails_share_is_of_what_is_shown() -> None:
    popular = StaticScorer(np.array([3, 2, 1, 0], np.float32), 2)
    found = find(popular, Relevant.single(np.array([3, 3])), ExcludedPairs(np.array([0]), np.array([0])), 2)
    assert found.shown.tolist() == [1, 2, 1, 0]
    assert tail_share(found.shown, np.array([0, 1, 2, 2])) == 0.25


def pairs(sets: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    found = [(row, item) for row, wanted in enumerate(sets) for item in sorted(wanted)]
    rows, items = np.array(found, np.int64).reshape(-1, 2).T
    return rows, items
