"""The estimator finds how often items come in a stream, follows changes, and corrects what popularity skews."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.training.negatives.frequencies import FrequencyEstimator


def stream(shares: np.ndarray, batches: int, size: int, seed: int) -> list[np.ndarray]:
    draws = np.random.default_rng(seed).choice(len(shares), (batches, size), p=shares)
    return [np.unique(batch) for batch in draws]


@settings(max_examples=8)
@given(st.integers(0, 1000), st.floats(0.3, 1.5), st.integers(8, 64))
def test_a_popularity_skewed_sample_is_corrected_to_the_true_distribution(seed: int, skew: float, size: int) -> None:
    """Each item, weighed by one over its estimated chance, counts as often in the end as any other."""
    shares = np.arange(1, 31) ** -skew
    shares /= shares.sum()
    estimator, weights = FrequencyEstimator(1 << 12, rate=0.005), np.zeros(30)
    batches = stream(shares, 1500, size, seed)
    for batch in batches:
        estimator.observe(batch)
    for batch in batches:
        weights[batch] += 1 / estimator.probabilities(batch)
    raw = np.bincount(np.concatenate(batches), minlength=30)
    true = 1 - (1 - shares) ** size
    often = true * 1500 > 60
    corrected, skewed = weights[often] / weights[often].mean(), raw[often] / raw[often].mean()
    assert np.abs(corrected - 1).max() < 0.3
    assert np.abs(np.log(corrected)).mean() < 0.1
    assert np.abs(np.log(corrected)).mean() < np.abs(np.log(skewed)).mean() or np.ptp(true[often]) < 0.2
    np.testing.assert_allclose(estimator.probabilities(np.arange(30))[often], true[often], rtol=0.35)


def test_it_follows_what_changes() -> None:
    estimator = FrequencyEstimator(1 << 12, rate=0.05)
    for shares in (np.array([0.9, 0.02, 0.08]), np.array([0.02, 0.9, 0.08])):
        for batch in stream(shares, 600, 1, 3):
            estimator.observe(batch)
    rare, often, same = estimator.probabilities(np.arange(3))
    assert often > 0.75
    assert rare < 0.1
    assert 0.03 < same < 0.2


def test_colliding_items_count_by_the_bucket_that_they_do_not_share() -> None:
    shares = np.append(np.full(60, 0.9 / 60), np.full(400, 0.1 / 400))
    errors = {}
    for hashes in (1, 3):
        estimator = FrequencyEstimator(512, hashes=hashes, rate=0.01)
        for batch in stream(shares, 2000, 8, 5):
            estimator.observe(batch)
        found, true = estimator.probabilities(np.arange(460)), 1 - (1 - shares) ** 8
        errors[hashes] = np.abs(np.log(found / true, where=found > 0, out=np.zeros(460)))[60:].mean()
    assert errors[3] < 0.7 * errors[1]


def test_unseen_items_have_no_chance_and_known_ones_begin_with_theirs() -> None:
    estimator, items = FrequencyEstimator(1 << 12), np.array([5, -7, 1 << 60])
    assert estimator.probabilities(items).tolist() == [0, 0, 0]
    estimator.believe(items, np.array([0.5, 0.01, 0.0]))
    np.testing.assert_allclose(estimator.probabilities(items), [0.5, 0.01, 0])
    estimator.observe(np.array([1 << 60]))
    assert estimator.probabilities(items)[2] == pytest.approx(1)


def test_what_it_knows_can_be_saved() -> None:
    one, other = FrequencyEstimator(64), FrequencyEstimator(64)
    batches = stream(np.full(10, 0.1), 40, 3, 0)
    for batch in batches[:20]:
        one.observe(batch)
    other.load_state_dict({name: tensor.clone() for name, tensor in one.state_dict().items()})
    for batch in batches[20:]:
        one.observe(batch)
        other.observe(batch)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
