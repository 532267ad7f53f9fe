"""The vectors of an ensemble are its members', so that one product is the weighted mean of their cosines."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pagoda.config.training import TrainConfig
from pagoda.model.towers.ensemble import Ensemble

from .test_towers import SPECS, inputs, make

DIMS, ROWS = (8, 5), 7
CONFIG = TrainConfig.model_validate(
    {
        "model": {"feature_dim": 4, "history": {"kind": "mean"}},
        "ensemble": {
            "members": [{"name": "easy", "dim": DIMS[0], "history": {"kind": "gru"}}, {"name": "hard", "dim": DIMS[1]}]
        },
    }
)


def vectors(ensemble: Ensemble) -> tuple[Tensor, Tensor]:
    read, features = READ
    with torch.no_grad():
        return ensemble.user(*read), ensemble.item(ITEM_ROWS, features)


def cosines(ensemble: Ensemble, number: int) -> Tensor:
    """Of one member, by its own towers alone, from its own part of the rows."""
    (read, features), member = READ, ensemble.members[number]
    part = slice(sum(DIMS[:number]), sum(DIMS[: number + 1]))
    own = read._replace(id_rows=read.id_rows[:, part], history_rows=read.history_rows[:, :, part])
    with torch.no_grad():
        return member.user(*own) @ member.item(ITEM_ROWS[:, part], features).T


_, ENCODER = make(SPECS["everything"], CONFIG.members[0].model)
READ = inputs(ENCODER, 6, ROWS, sum(DIMS))
ENSEMBLE = Ensemble(CONFIG, ENCODER).eval()
ITEM_ROWS = torch.randn(ROWS, sum(DIMS), generator=torch.Generator().manual_seed(1))


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1, width=32))
def test_the_product_is_the_weighted_mean_of_the_members_cosines(weight: float) -> None:
    ENSEMBLE.weigh([weight, 1 - weight])
    users, items = vectors(ENSEMBLE)
    expected = weight * cosines(ENSEMBLE, 0) + (1 - weight) * cosines(ENSEMBLE, 1)
    np.testing.assert_allclose(users @ items.T, expected, atol=1e-6)
    for side in (users, items):
        np.testing.assert_allclose(side.norm(dim=1), 1, atol=1e-6)


def test_with_all_weight_on_a_member_items_are_ordered_as_by_it_alone() -> None:
    for number, weights in enumerate(([1.0, 0.0], [0.0, 1.0])):
        ENSEMBLE.weigh(weights)
        users, items = vectors(ENSEMBLE)
        np.testing.assert_array_equal((users @ items.T).argsort(1), cosines(ENSEMBLE, number).argsort(1))


def test_a_cascade_has_each_members_vectors_as_they_are() -> None:
    of_cascade = CONFIG.ensemble and CONFIG.ensemble.model_copy(update={"combine": "cascade"})
    ensemble = Ensemble(CONFIG.model_copy(update={"ensemble": of_cascade}), ENCODER).eval()
    users, items = vectors(ensemble)
    assert users.shape == items.shape == (ROWS, sum(DIMS))
    parts = (torch.split(side, list(DIMS), 1) for side in (users, items))
    for number, (of_users, of_items) in enumerate(zip(*parts, strict=True)):
        np.testing.assert_allclose(of_users @ of_items.T, cosines(ensemble, number), atol=1e-6)
