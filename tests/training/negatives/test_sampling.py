"""What the sampler says of an item's chance is how often the item is a candidate; every objective trains."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pagoda.config.negatives import NegativesConfig
from pagoda.config.training import TrainConfig
from pagoda.errors import ConfigError
from pagoda.model.losses.comparisons import BinaryCrossEntropy, calibrating_beta
from pagoda.model.losses.objective import Candidates, ListwiseSoftmax, log_q_of
from pagoda.training.full import refusals
from pagoda.training.full.update import full_update
from pagoda.training.negatives.item_choice import Chooser
from pagoda.training.negatives.sampling import NegativeSampler
from tests.training.worlds import config, hours, make

CLICKS = np.array([60, 30, 9, 1, 0])


@pytest.mark.parametrize(
    "negatives",
    [
        NegativesConfig(uniform=0),
        NegativesConfig(in_batch=False, uniform=3),
        NegativesConfig(in_batch=False, uniform=0, popularity=3, popularity_exponent=0.5),
        NegativesConfig(uniform=2, popularity=2),
        NegativesConfig.model_validate({"catalogue": True}),
    ],
)
def test_q_is_the_share_of_batches_that_hold_the_item(negatives: NegativesConfig) -> None:
    rng, held, batches = np.random.default_rng(0), np.zeros(5), 20_000
    sampler = NegativeSampler(negatives, CLICKS)
    for _ in range(batches):
        own = rng.choice(5, size=4, p=CLICKS / 100) if negatives.in_batch else np.empty(0, np.int64)
        held[np.union1d(own, sampler.draw(rng))] += 1
    ever = held > 0
    np.testing.assert_allclose(-np.expm1(sampler.log_missed(4))[ever], held[ever] / batches, atol=0.015)


@pytest.mark.parametrize(
    "negatives",
    [
        NegativesConfig(uniform=2),
        NegativesConfig(uniform=2, popularity=2),
        NegativesConfig(in_batch=False, uniform=0, popularity=3),
    ],
    ids=["mixed", "mixed with popular ones", "popular ones alone"],
)
def test_true_preferences_are_the_optimum_under_every_sampler(negatives: NegativesConfig) -> None:
    """The mean gradient vanishes where a softmax over all items has its optimum (mixed: Yang et al. 2020)."""
    shares = np.arange(1, 13) ** -1.2
    shares /= shares.sum()
    sampler = NegativeSampler(negatives, (shares * 1e6).astype(np.int64))
    chooser, log_missed = Chooser(sampler, None, 12), torch.from_numpy(sampler.log_missed(4).astype(np.float64))
    gradients = {}
    for corrected in (True, False):
        rng, scores = np.random.default_rng(0), torch.from_numpy(np.log(shares))[None].requires_grad_()
        for _ in range(400):
            chosen = chooser.choose(rng.choice(12, 4, p=shares), np.zeros(4, np.int64), rng)
            log_q = log_q_of(log_missed[chosen.places]) * corrected
            vectors, targets = torch.eye(12, dtype=torch.float64)[chosen.places], torch.from_numpy(chosen.targets)
            candidates = Candidates(vectors, log_q, chosen.first_shared)
            (ListwiseSoftmax(1.0)(scores.expand(4, 12), candidates, targets) / 400).backward()
        assert scores.grad is not None
        gradients[corrected] = float(scores.grad.abs().sum())
    assert 3 * gradients[True] < gradients[False], gradients


def test_with_the_whole_catalogue_the_loss_is_the_softmax_over_all_items() -> None:
    sampler = NegativeSampler(NegativesConfig.model_validate({"catalogue": True}), CLICKS)
    own = np.array([3, 0, 3])
    chosen = Chooser(sampler, None, 5).choose(own, np.zeros(3, np.int64), np.random.default_rng(0))
    items, users = torch.randn(5, 4), torch.randn(3, 4)
    log_q = log_q_of(torch.from_numpy(sampler.log_missed(3)[chosen.places]))
    candidates = Candidates(items[chosen.places], log_q, chosen.first_shared)
    loss = ListwiseSoftmax(0.5)(users, candidates, torch.from_numpy(chosen.targets))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(users @ items.T / 0.5, torch.from_numpy(own)))


@pytest.mark.parametrize("further", [{"uniform": 5}, {"in_batch": True}, {"mined": 1}, {"correction": "none"}])
def test_beside_the_whole_catalogue_nothing_is_sampled(further: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"catalogue: true makes all items candidates, so {next(iter(further))}"):
        NegativesConfig.model_validate({"catalogue": True, **further})


def test_a_catalogue_beyond_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    refusals.refuse_too_many(100_000, TrainConfig())
    with pytest.raises(ConfigError, match=r"all 1,000,000 items of 64 numbers takes 3\.1 GB, and 1\.0 GB of memory"):
        refusals.refuse_too_many(1_000_000, TrainConfig())


def test_a_catalogue_that_several_interests_meet_all_at_once_is_refused_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their logits are no blocks: batch x items x interests are in memory together."""
    monkeypatch.setattr(refusals.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    several = TrainConfig.model_validate({"model": {"history": {"kind": "self_attentive"}}})
    refusals.refuse_too_many(4_000, several)
    with pytest.raises(ConfigError, match=r"beside 1,024 users of 4 interests, takes 10\.1 GB, and 1\.0 GB of memory"):
        refusals.refuse_too_many(100_000, several)


def test_single_negatives_are_even_among_the_shared_candidates_without_the_own_item() -> None:
    rng, targets = np.random.default_rng(0), np.repeat([0, 1, 3, 4], 3000)
    found = NegativeSampler(NegativesConfig(), CLICKS, 2).negatives(targets, 2, 5, rng)
    assert found is not None
    for own in (0, 1, 3, 4):
        expected = [item for item in (2, 3, 4) if item != own]
        counts = np.bincount(found.numpy()[targets == own].ravel(), minlength=5)
        assert np.flatnonzero(counts).tolist() == expected
        assert counts.max() < 1.15 * counts[expected].min()
    alone = NegativeSampler(NegativesConfig(), CLICKS, 2).negatives(np.array([0]), 0, 1, rng)
    assert alone is not None
    assert alone.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "objective",
    [
        {"kind": "listwise", "learn_temperature": True},
        {"kind": "pointwise"},
        {"kind": "triplet_hinge"},
        {"kind": "triplet_logistic"},
    ],
    ids=lambda given: given["kind"],
)
def test_every_objective_learns_and_goes_on(objective: dict[str, object], tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    blocks = [{"kind": "senet"}, {"kind": "cross"}, {"kind": "mlp", "hidden": [8]}]
    model = {"dim": 8, "history": {"kind": "gru"}, "item": {"blocks": blocks}}
    how = config(objective=objective, negatives={"in_batch": False, "uniform": 20}, model=model)
    first = full_update(dataset, hours(0, 40), None, how, tmp_path / "a")
    assert first.metrics()["losses"][-1] < first.metrics()["losses"][0]
    full_update(dataset, hours(40, 50), first, how, tmp_path / "b")
    assert (first.objective_state() is not None) == ("learn_temperature" in objective)


def test_a_child_of_a_version_with_a_learned_temperature_may_be_given_one(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", clicks_an_hour=5)
    sampled = {"in_batch": False, "uniform": 20}
    learns, given = (config(objective={"learn_temperature": one}, negatives=sampled) for one in (True, False))
    first = full_update(dataset, hours(0, 40), None, learns, tmp_path / "a", programs=False)
    assert first.objective_state() is not None
    child = full_update(dataset, hours(40, 50), first, given, tmp_path / "b", programs=False)
    assert child.objective_state() is None


def test_calibrated_probabilities_are_those_of_being_chosen() -> None:
    """The gradient vanishes, on average, where each probability is the item's share; uncalibrated, it does not."""
    torch.manual_seed(0)
    shares, rng, single = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]), np.random.default_rng(0), 2
    chooser = Chooser(NegativeSampler(NegativesConfig(in_batch=False, uniform=8), CLICKS, single), None, 5)
    gradients = {}
    for calibration in (1.0, 0.0):
        objective = BinaryCrossEntropy(1.0, calibrating_beta(calibration, single, 5))
        scores = torch.logit(shares)[None].requires_grad_()
        for _ in range(40):
            own = torch.multinomial(shares, 256, replacement=True).numpy()
            chosen = chooser.choose(own, np.zeros(256, np.int64), rng)
            items = torch.eye(5)[chosen.places]
            candidates = Candidates(items, torch.zeros(len(items)), chosen.first_shared, chosen.negatives)
            loss = objective(scores.expand(256, 5), candidates, torch.from_numpy(chosen.targets))
            (loss / 40).backward()
        assert scores.grad is not None
        gradients[calibration] = float(scores.grad.abs().max())
    assert 10 * gradients[1.0] < gradients[0.0], gradients
