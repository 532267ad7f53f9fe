"""Unit vectors in training, where their gradient is our own."""

from __future__ import annotations

import torch
from torch.nn import functional

from pagoda.model.unit_vectors import normalized


def test_a_step_of_training_has_the_vectors_and_gradients_that_pytorch_has() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(6, 3, 5, generator=generator, dtype=torch.float64)
    vectors[2, 1] = 0
    vectors[4] *= 1e-4
    weights = torch.randn(6, 3, 5, generator=generator, dtype=torch.float64)
    given = [vectors.clone().requires_grad_() for _ in range(2)]
    units = normalized(given[0], training=True), functional.normalize(given[1], dim=-1)
    for each in units:
        (each * weights).sum().backward()
    torch.testing.assert_close(units[0], units[1])
    torch.testing.assert_close(given[0].grad, given[1].grad)
    assert torch.equal(normalized(vectors, training=False), units[1])
