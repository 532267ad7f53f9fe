"""Objectives over single negatives, and listwise ones with sampled candidates, are their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pagoda.model.losses.comparisons import BinaryCrossEntropy, Pointwise, TripletHinge, TripletLogistic
from pagoda.model.losses.objective import Candidates, LearnedTemperature, ListwiseSoftmax, Objective


def unit(rows: int) -> Tensor:
    return functional.normalize(torch.randn(rows, 4, dtype=torch.float64), dim=1).requires_grad_()


def written_out(kind: str, users: Tensor, items: Tensor, negatives: list[list[int]], targets: list[int]) -> Tensor:
    losses = []
    for user, own, others in zip(users, targets, negatives, strict=True):
        good = user @ items[own]
        if kind == "pointwise":
            losses.append((good - 1) ** 2)
        elif kind == "bce":
            losses.append(-torch.log(torch.sigmoid(4 * good)))
        elif kind == "gbce":
            losses.append(-torch.log(torch.sigmoid(4 * good) ** 0.3))
        for bad in (user @ items[other] for other in others if other != own):
            if kind == "pointwise":
                losses.append((bad + 1) ** 2)
            elif kind in ("bce", "gbce"):
                losses.append(-torch.log(1 - torch.sigmoid(4 * bad)))
            elif kind == "hinge":
                losses.append(torch.clamp(0.3 + bad - good, min=0))
            else:
                losses.append(torch.log(1 + torch.exp(5 * (bad - good))))
    return torch.stack(losses).mean()


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        ("pointwise", Pointwise()),
        ("bce", BinaryCrossEntropy(4.0)),
        ("gbce", BinaryCrossEntropy(4.0, 0.3)),
        ("hinge", TripletHinge(0.3)),
        ("logistic", TripletLogistic(5.0)),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_each_equals_its_formula_and_gradient(kind: str, objective: Objective, seed: int) -> None:
    torch.manual_seed(seed)
    users, items = unit(6), unit(5)
    targets, negatives = torch.randint(0, 5, (6,)), torch.randint(0, 5, (6, 3))
    loss = objective(users, Candidates(items, torch.zeros(5), 0, negatives), targets)
    expected = written_out(kind, users, items, negatives.tolist(), targets.tolist())
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, (users, items), retain_graph=True) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "objective",
    [
        ListwiseSoftmax(0.2),
        LearnedTemperature(0.2),
        Pointwise(),
        BinaryCrossEntropy(4.0, 0.3),
        TripletHinge(0.3),
        TripletLogistic(5.0),
    ],
)
@pytest.mark.parametrize("hard", [False, True])
@settings(max_examples=10)
@given(weights=st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any), seed=st.integers(0, 99))
def test_a_weight_is_as_if_the_positive_came_so_often(
    objective: Objective, hard: bool, weights: list[int], seed: int
) -> None:
    torch.manual_seed(seed)
    users, items, log_q = unit(4), unit(7), torch.randn(7, dtype=torch.float64)
    targets, negatives = torch.randint(0, 4, (4,)), torch.randint(4, 7, (4, 3))

    def loss(rows: Tensor, weights: Tensor | None) -> Tensor:
        own = negatives[rows] if hard and isinstance(objective, ListwiseSoftmax) else None
        log_q_own = torch.zeros_like(own, dtype=torch.float64) if own is not None else None
        candidates = Candidates(items, log_q, 2, negatives[rows], hard=own, hard_log_q=log_q_own)
        return objective(users[rows], candidates, targets[rows], weights)

    repeated = loss(torch.repeat_interleave(torch.tensor(weights)), None) * sum(weights)
    weighed = loss(torch.arange(4), torch.tensor(weights, dtype=torch.float64)) * 4
    torch.testing.assert_close(weighed, repeated)
    ours, theirs = (torch.autograd.grad(value, (users, items)) for value in (weighed, repeated))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("seed", range(5))
def test_items_before_the_first_shared_are_candidates_of_their_users_alone(seed: int) -> None:
    torch.manual_seed(seed)
    users, items, log_q = unit(6), unit(7), torch.randn(7, dtype=torch.float64)
    targets, first, losses = torch.randint(0, 7, (6,)), 3, []
    for row, own in enumerate(targets.tolist()):
        logits = torch.stack([users[row] @ items[i] / 0.2 - log_q[i] for i in sorted({own, *range(first, 7)})])
        losses.append(logits.logsumexp(0) - (users[row] @ items[own] / 0.2 - log_q[own]))
    expected = torch.stack(losses).mean()
    loss = ListwiseSoftmax(0.2)(users, Candidates(items, log_q, first), targets)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, (users, items), retain_graph=True) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_a_learned_temperature_begins_where_it_is_set_and_has_a_gradient() -> None:
    users, items, targets = unit(4), unit(5), torch.tensor([0, 1, 2, 2])
    learned, candidates = LearnedTemperature(0.2), Candidates(items, torch.zeros(5))
    loss = learned(users, candidates, targets)
    torch.testing.assert_close(loss, ListwiseSoftmax(0.2)(users, candidates, targets))
    step, (gradient,) = 1e-4, torch.autograd.grad(loss, list(learned.parameters()))
    around = [ListwiseSoftmax(0.2 * math.exp(s))(users, candidates, targets) for s in (step, -step)]
    torch.testing.assert_close(float(gradient), float(around[0] - around[1]) / (2 * step), rtol=1e-3, atol=1e-6)


def test_a_learned_temperature_rises_again_from_the_lowest() -> None:
    learned = LearnedTemperature(0.2)
    optimiser = torch.optim.SGD(learned.parameters(), lr=0.005)
    users = items = torch.eye(2)
    candidates = Candidates(items, torch.zeros(2))
    with torch.no_grad():
        learned.log_temperature.fill_(math.log(0.002))  # a step that went too far
    for _ in range(3):
        optimiser.zero_grad()
        learned(users, candidates, torch.tensor([1, 0])).backward()  # all wrong: the colder, the worse
        optimiser.step()
    assert float(learned.temperature.detach()) > 0.02
