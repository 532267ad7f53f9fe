"""Augmented vectors follow the other tower and move nothing else; categories are drawn together by their spread."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pagoda.model.losses.dual_augmentation import alignment_loss, mimic_losses


def unit(rows: int, dim: int = 4) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, dim), dim=1)


def test_mimicry_moves_augmented_vectors_towards_the_other_tower_and_nothing_else() -> None:
    torch.manual_seed(0)
    augmented, vectors = torch.randn(5, 4).requires_grad_(), unit(5).requires_grad_()
    losses = mimic_losses(augmented, vectors)
    torch.testing.assert_close(losses, 2 - 2 * functional.cosine_similarity(augmented, vectors))
    gradient, none = torch.autograd.grad(losses.mean(), (augmented, vectors), allow_unused=True)
    assert none is None
    assert (mimic_losses(augmented - gradient, vectors) < losses).all()
    torch.testing.assert_close(mimic_losses(3 * vectors, vectors), torch.zeros(5), atol=1e-6, rtol=0)


def test_an_augmented_vector_that_is_still_zero_has_no_gradient_out_of_bounds() -> None:
    augmented = torch.zeros(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(mimic_losses(augmented, unit(2)).sum(), augmented)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() < 1


def test_alignment_is_the_distance_of_covariances_from_the_commonest_categorys() -> None:
    torch.manual_seed(1)
    vectors = torch.cat([unit(20), unit(12) * torch.tensor([1.0, 0.1, 0.1, 0.1]), unit(9)])
    categories = torch.tensor([3] * 20 + [1] * 12 + [7] * 9)
    shuffled = torch.randperm(41)
    first, second, third = (vectors[categories == one].T.cov() for one in (3, 1, 7))
    expected = (first - second).square().sum() + (first - third).square().sum()
    torch.testing.assert_close(alignment_loss(vectors[shuffled], categories[shuffled]), expected)


@pytest.mark.parametrize(
    "categories",
    [
        pytest.param([3] * 16, id="one"),
        pytest.param([3] * 9 + [1] * 7, id="one, and too few of another"),
        pytest.param([3] * 8 + [0] * 8, id="one, and items of unknown ones"),
        pytest.param([[3, 1]] * 8 + [[-1, -1]] * 8, id="one, and items of none"),
        pytest.param([[3, 1]] * 8 + [[3, 2]] * 8, id="one that is the first of several"),
    ],
)
def test_one_category_alone_has_nothing_to_be_aligned_with(categories: list[int] | list[list[int]]) -> None:
    assert alignment_loss(unit(16), torch.tensor(categories)) == 0
    assert alignment_loss(unit(16), torch.tensor([3, 1] * 8)) > 0
