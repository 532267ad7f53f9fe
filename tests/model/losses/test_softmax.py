"""The softmax by blocks is the softmax: value and gradients against autograd of the formula written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pagoda.model.losses import softmax
from pagoda.model.losses.softmax import softmax_loss


def written_out(
    users: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    scale: Tensor,
    bias: Tensor,
    first_shared: int,
    masked: Tensor | None = None,
) -> Tensor:
    logits, columns = scale * users @ items.T + bias, torch.arange(len(items))
    absent = (columns < first_shared)[None] & (columns[None] != targets[:, None])
    if masked is not None:
        absent[masked[0], masked[1]] = True
    return functional.cross_entropy(logits.masked_fill(absent, -torch.inf), targets)


@given(sizes=st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(0, 29)), seed=st.integers(0, 99))
def test_equals_the_formula_and_its_gradients(sizes: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    rows, items, first = sizes
    # Whether one shift is enough for all logits depends on how long vectors are.
    users, items_ = (torch.randn(n, 5, dtype=torch.float64) * (1 + 3 * (seed % 2)) for n in (rows, items))
    inputs = [tensor.requires_grad_() for tensor in (users, items_, 5 * torch.rand(1, dtype=torch.float64)[0] + 0.1)]
    bias, targets = -30 * torch.rand(items, dtype=torch.float64), torch.randint(0, items, (rows,))
    some = (torch.rand(rows, items) < 0.3) & (torch.arange(items) != targets[:, None])
    masked = some.nonzero().T if seed % 3 else None
    ours, theirs = (
        each(users, items_, targets, scale=inputs[2], bias=bias, first_shared=min(first, items - 1), masked=masked)
        for each in (softmax_loss, written_out)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    for mine, expected in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-9, rtol=1e-7)


def test_is_the_same_to_the_bit_however_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(softmax, "_BLOCK_NUMBERS", 400)
    monkeypatch.setattr(softmax, "_ROWS", 1)
    users, items = (functional.normalize(torch.randn(90, 8), dim=1).requires_grad_() for _ in range(2))

    def gradients(threads: int) -> tuple[Tensor, ...]:
        pool = softmax.ThreadPoolExecutor(threads)
        monkeypatch.setattr(softmax, "_pool", lambda: pool)
        loss = softmax_loss(users, items, torch.arange(90), scale=10.0, bias=torch.zeros(90))
        pool.shutdown()
        return (loss, *torch.autograd.grad(loss, (users, items)))

    runs = [gradients(threads) for threads in (1, 2, 3)]
    for other in runs[1:]:
        assert all(torch.equal(one, two) for one, two in zip(runs[0], other, strict=True))
