"""Parallel towers: unit vectors whose product is the weighted sum of the branches' cosines."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pagoda.config.model import BranchConfig, Cin, Cross, Fm, Mlp, ModelConfig, RowSum
from pagoda.errors import ConfigError
from pagoda.model.towers.branches import Branches, SharedBranches

BRANCHES: tuple[BranchConfig, ...] = tuple(section() for section in get_args(get_args(BranchConfig)[0]))
"""One of each kind."""
WIDTHS, PART = (3, 5, 2), 4


@given(st.sets(st.sampled_from(BRANCHES), min_size=2), st.integers(0, 1000))
def test_the_product_of_two_vectors_is_the_weighted_sum_of_the_branches_cosines(
    declared: set[BranchConfig], seed: int
) -> None:
    torch.manual_seed(seed)
    dim = PART * len(declared)
    shared = SharedBranches(sorted(declared, key=lambda branch: branch.kind), dim)
    torch.nn.init.normal_(shared.theta)
    users, items = Branches(shared, (dim, *WIDTHS)), Branches(shared, (dim, dim))
    user_total, item_total = torch.randn(6, dim), torch.randn(6, dim)
    user = users(torch.cat([user_total, torch.randn(6, sum(WIDTHS))], 1), user_total)
    item = items(torch.cat([item_total, torch.randn(6, dim)], 1), item_total)
    for vectors in (user, item):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(6))
    parts = (vectors.unflatten(1, (len(declared), PART)) for vectors in (user, item))
    expected = functional.cosine_similarity(*parts, dim=2) @ shared.weights()
    torch.testing.assert_close((user * item).sum(1), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(user.unflatten(1, (len(declared), PART)).norm(dim=2).square()[0], shared.weights())


def test_what_knows_nothing_is_zero_and_spoils_no_gradient() -> None:
    """The out-of-vocabulary row begins as zero: a direction of nearly nothing would have a gradient near infinity."""
    shared = SharedBranches((RowSum(), Mlp()), 8)
    branches, total = Branches(shared, (8,)), torch.zeros(1, 8, requires_grad=True)
    vector = branches(total, total)
    assert not vector[:, :4].any()
    assert 0 < vector[:, 4:].norm() < 1
    (gradient,) = torch.autograd.grad((vector * torch.randn(8)).sum(), total)
    assert gradient.abs().max() < 100


def test_products_of_one_input_are_refused() -> None:
    with pytest.raises(ConfigError, match="holds fm, products of every two inputs, but a tower has a single input"):
        Branches(SharedBranches((RowSum(), Fm()), 8), (8,))


def test_branches_take_the_place_of_the_blocks_of_both_towers() -> None:
    declared = ModelConfig.model_validate({"dim": 8, "branches": [{"kind": "rows"}, {"kind": "mlp"}]})
    assert declared.user.blocks == declared.item.blocks == ()
    # As a version's config.yaml says it.
    assert ModelConfig.model_validate(declared.model_dump(mode="json")) == declared
    gated = declared.model_dump() | {"user": {"blocks": [{"kind": "senet"}], "example_age": True}}
    assert ModelConfig.model_validate(gated).user.blocks[0].kind == "senet"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"branches": (RowSum(), Mlp(), Cin())}, "model.branches are 3, which must divide model.dim 8"),
        ({"branches": (Mlp(),)}, r"model.branches are \['mlp'\], and must be two or more"),
        ({"branches": (Mlp(), Mlp(hidden=(4,)))}, "each of another kind"),
        (
            {"branches": (RowSum(), Cross()), "item": {"blocks": [{"kind": "senet"}, {"kind": "mlp"}]}},
            r"model.item.blocks holds \['mlp'\], but model.branches take the place of blocks",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ModelConfig.model_validate({"dim": 8} | changes)
