"""Ranks are exact, ties are worth what chance makes of them, and what was seen is no candidate."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.config.ensemble import CascadeShape
from pagoda.errors import IntegrityError
from pagoda.evaluation import ranking
from pagoda.evaluation.metrics import ndcg, recall
from pagoda.evaluation.ranking import CascadeScorer, DotScorer, ExcludedPairs, Ranks, StaticScorer, rank
from pagoda.evaluation.relevance import Relevant, find

NOTHING = ExcludedPairs(np.empty(0, np.int64), np.empty(0, np.int64))


def one(above: int, tied: int) -> Ranks:
    return Ranks(np.array([above]), np.array([tied]), {})


def test_recall_and_ndcg_of_plain_ranks() -> None:
    ranks = Ranks(np.array([0, 1, 9, 10]), np.ones(4, np.int64), {})
    np.testing.assert_array_equal(recall(ranks, 10), [1, 1, 1, 0])
    np.testing.assert_allclose(ndcg(ranks, 10), [1, 1 / np.log2(3), 1 / np.log2(11), 0])


@given(above=st.integers(0, 4), tied=st.integers(1, 5), k=st.integers(1, 10))
def test_ties_are_the_mean_over_all_orders(above: int, tied: int, k: int) -> None:
    places = [above + order.index(0) for order in permutations(range(tied))]
    hits = [float(place < k) for place in places]
    gains = [1 / np.log2(place + 2) if place < k else 0.0 for place in places]
    np.testing.assert_allclose(recall(one(above, tied), k), np.mean(hits))
    np.testing.assert_allclose(ndcg(one(above, tied), k), np.mean(gains))


@given(data=st.data(), rows=st.integers(1, 6), items=st.integers(1, 12))
def test_ranks_agree_with_counting_one_by_one(data: st.DataObject, rows: int, items: int) -> None:
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows * items, max_size=rows * items)), np.float32)
    scores = scores.reshape(rows, items)
    targets = np.array(data.draw(st.lists(st.integers(0, items - 1), min_size=rows, max_size=rows)), np.int64)
    everything = [(row, item) for row in range(rows) for item in range(items) if item != targets[row]]
    left_out = sorted(data.draw(st.sets(st.sampled_from(everything)) if everything else st.just(set())))
    seen = ExcludedPairs(*np.array(left_out, np.int64).reshape(-1, 2).T)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_BYTES", 4 * items * data.draw(st.integers(1, rows)))
        # Items as unit axes make the dot products equal to `scores`.
        ranks = rank(DotScorer(scores, np.eye(items, dtype=np.float32)), targets, seen, shown_at=(1, 3))
    for row in range(rows):
        others = [scores[row, item] for item in range(items) if item != targets[row] and (row, item) not in left_out]
        assert ranks.above[row] == sum(other > scores[row, targets[row]] for other in others)
        assert ranks.tied[row] == 1 + sum(other == scores[row, targets[row]] for other in others)
    shown = {
        item
        for row in range(rows)
        for item in sorted(range(items), key=lambda item: -scores[row, item] + 99 * ((row, item) in left_out))[:1]
    }
    if len(set(scores.ravel())) == scores.size:
        assert set(np.flatnonzero(ranks.shown[1])) == shown


def test_constant_scores_are_worth_what_chance_is_wherever_the_target_stands() -> None:
    targets = np.array([0, 50, 99])
    ranks = rank(StaticScorer(np.ones(100, np.float32), 3), targets, NOTHING)
    np.testing.assert_allclose(recall(ranks, 10), 0.1)
    np.testing.assert_allclose(recall(ranks, 100), 1.0)


def test_seen_items_make_room() -> None:
    scores = np.arange(5, dtype=np.float32)
    seen = ExcludedPairs(np.array([1, 1]), np.array([3, 4]))
    ranks = rank(StaticScorer(scores, 2), np.array([2, 2]), seen, shown_at=(1,))
    assert ranks.above.tolist() == [2, 0]
    assert np.flatnonzero(ranks.shown[1]).tolist() == [2, 4]


def test_what_a_cascade_does_not_find_is_not_found_however_many_are_asked_for() -> None:
    items = np.array([[3, 1], [2, 2], [1, 9], [0, 9]], np.float32)
    users, seen = np.ones((2, 2), np.float32), ExcludedPairs(np.array([1]), np.array([0]))
    ranks = rank(CascadeScorer(users, items, CascadeShape(1, 2), seen), np.array([2, 2]), seen)
    np.testing.assert_array_equal(recall(ranks, 4), [0, 1])
    np.testing.assert_array_equal(ndcg(ranks, 4), [0, 1])
    several = find(CascadeScorer(users, items, CascadeShape(1, 2), seen), Relevant.single(np.array([2, 2])), seen, 1)
    np.testing.assert_array_equal(several.recall(4), [0, 1])


def test_vectors_that_are_not_finite_are_refused() -> None:
    good, bad = np.ones((2, 3), np.float32), np.array([[1, 1, 1], [1, np.nan, 1]], np.float32)
    with pytest.raises(IntegrityError, match="item vector 1"):
        DotScorer(good, bad)
    with pytest.raises(IntegrityError, match="user vector 1"):
        DotScorer(bad, good)


@given(seed=st.integers(0, 1000), items=st.integers(2, 15), data=st.data())
def test_a_cascade_orders_by_its_second_model_what_its_first_finds(seed: int, items: int, data: st.DataObject) -> None:
    rng, first, k = np.random.default_rng(seed), 3, data.draw(st.integers(1, items))
    users, catalogue = (rng.standard_normal((count, first + 2)).astype(np.float32) for count in (4, items))
    finding = DotScorer(users[:, :first], catalogue[:, :first]).block(slice(None))
    ordering = DotScorer(users[:, first:], catalogue[:, first:]).block(slice(None))
    scores = CascadeScorer(users, catalogue, CascadeShape(first, k), NOTHING).block(slice(None))
    for row in range(len(users)):
        best = np.argsort(-finding[row])[:k]
        assert set(np.argsort(-scores[row])[:k]) == set(best)
        np.testing.assert_array_equal(np.argsort(-scores[row])[:k], best[np.argsort(-ordering[row][best])])
    every = CascadeScorer(users, catalogue, CascadeShape(first, items + 1), NOTHING).block(slice(None))
    np.testing.assert_array_equal(every, ordering)
    # What somebody has seen takes no place among the candidates.
    seen = ExcludedPairs(np.arange(len(users)), np.argmax(finding, 1))
    others = CascadeScorer(users, catalogue, CascadeShape(first, k), seen).block(slice(None))
    for row in range(len(users)):
        assert set(np.flatnonzero(np.isfinite(others[row]))) >= set(np.argsort(-finding[row])[1 : k + 1])
    # What the first model does not find is in no answer.
    target = np.argmin(finding, 1)
    ranks = rank(CascadeScorer(users, catalogue, CascadeShape(first, k), NOTHING), target, NOTHING)
    assert k == items or not recall(ranks, k).any()
