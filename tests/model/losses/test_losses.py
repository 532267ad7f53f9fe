"""The loss is the published formula, and it recovers true preferences from a popularity-skewed sample."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pagoda.model.losses.objective import Candidates, ListwiseSoftmax, log_drawn, log_missed


def written_out(users: Tensor, items: Tensor, ids: Tensor, log_q: Tensor, temperature: float) -> Tensor:
    """Row by row: the own item against each other item of the batch, scores less logQ, accidental hits left out."""
    losses = []
    for row, own in enumerate(ids.tolist()):
        scores = {item: users[row] @ items[item] / temperature - log_q[item] for item in ids.tolist()}
        negatives = [score for item, score in scores.items() if item != own]
        losses.append(torch.stack([scores[own], *negatives]).logsumexp(0) - scores[own])
    return torch.stack(losses).mean()


@given(st.integers(1, 12), st.integers(1, 8), st.floats(0.05, 2), st.integers(0, 10_000))
def test_listwise_equals_the_formula_and_its_gradient(
    batch: int, catalogue: int, temperature: float, seed: int
) -> None:
    torch.manual_seed(seed)
    users = functional.normalize(torch.randn(batch, 4, dtype=torch.float64), dim=1).requires_grad_()
    items = functional.normalize(torch.randn(catalogue, 4, dtype=torch.float64), dim=1).requires_grad_()
    log_q = torch.rand(catalogue, dtype=torch.float64).log()
    ids = torch.randint(0, catalogue, (batch,))

    distinct, targets = torch.unique(ids, return_inverse=True)
    loss = ListwiseSoftmax(temperature)(users, Candidates(items[distinct], log_q[distinct]), targets)
    expected = written_out(users, items, ids, log_q, temperature)

    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (users, items)), torch.autograd.grad(expected, (users, items)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_q_is_the_share_of_batches_that_hold_the_item() -> None:
    shares = np.array([0.6, 0.3, 0.09, 0.01])
    draws = np.random.default_rng(0).choice(4, size=(200_000, 8), p=shares)
    held = [(draws == item).any(1).mean() for item in range(4)]
    np.testing.assert_allclose(np.exp(log_drawn(log_missed(shares, 8))), held, atol=0.003)
    tiny = np.array([1e-6, 3e-6])
    np.testing.assert_allclose(np.diff(log_drawn(log_missed(tiny, 100))), np.log(3), rtol=1e-3)
    assert log_drawn(log_missed(np.ones(1), 4))[0] == 0


def test_true_preferences_are_the_optimum_under_popularity_skewed_sampling_only_with_the_correction() -> None:
    """In-batch negatives are drawn by popularity; the mean gradient vanishes where a softmax over all items has its."""
    torch.manual_seed(0)
    size, batches = 16, 300
    shares = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05], dtype=torch.float64)
    log_q = torch.from_numpy(log_drawn(log_missed(shares.numpy(), size)))
    gradients = {}
    for name, correction in {"with": log_q, "without": torch.zeros(5)}.items():
        scores = shares.log()[None].requires_grad_()
        for batch in torch.multinomial(shares, size * batches, replacement=True).view(batches, size):
            distinct, targets = torch.unique(batch, return_inverse=True)
            candidates = Candidates(torch.eye(5, dtype=torch.float64)[distinct], correction[distinct])
            (ListwiseSoftmax(1.0)(scores.expand(size, 5), candidates, targets) / batches).backward()
        assert scores.grad is not None
        gradients[name] = float(scores.grad.abs().max())
    assert 3 * gradients["with"] < gradients["without"], gradients
