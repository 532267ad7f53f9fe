"""The ranker reads each item with the user's history as that item sees it, and nothing of the other items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pagoda.model.encoder import Field
from pagoda.model.ranker import TargetAttentionRanker
from pagoda.model.user_inputs import UserInputs

USERS, ITEMS, EVENTS, DIM = 5, 7, 6, 4


@pytest.fixture(scope="module")
def ranker() -> TargetAttentionRanker:
    torch.manual_seed(3)
    return TargetAttentionRanker(DIM, 2, [Field("kind", "index", 3)], [Field("look", "dense", 2)]).eval()


def given() -> tuple[UserInputs, Tensor, dict[str, Tensor], Tensor]:
    random = torch.Generator().manual_seed(1)
    mask = torch.arange(EVENTS) >= torch.tensor([0, 2, 3, 5, EVENTS])[:, None]  # The last one has done nothing.
    inputs = UserInputs(
        torch.empty(USERS, 0),
        torch.randn(USERS, EVENTS, DIM, generator=random),
        mask,
        torch.rand(USERS, EVENTS, generator=random) * 1e5,
        {"kind": torch.tensor([0, 1, 2, 1, 0])},
    )
    rows, looks = torch.randn(ITEMS, DIM, generator=random), torch.randn(ITEMS, 2, generator=random)
    return inputs, rows, {"look": looks}, torch.randint(0, ITEMS, (USERS, 3), generator=random)


def test_an_item_has_the_same_score_in_every_list(ranker: TargetAttentionRanker) -> None:
    inputs, rows, features, chosen = given()
    with torch.inference_mode():
        together = ranker(inputs, rows, features, chosen)
        alone = [ranker(inputs, rows, features, chosen[:, [place]]) for place in range(3)]
        whole = ranker(inputs, rows, features, torch.arange(ITEMS).expand(USERS, -1))
    assert together.shape == (USERS, 3)
    np.testing.assert_allclose(together, torch.cat(alone, 1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(together, whole.gather(1, chosen), rtol=1e-4, atol=1e-6)


def test_attention_is_the_papers_unit_over_each_event(ranker: TargetAttentionRanker) -> None:
    """Zhou et al., KDD 2018, equation 3: the sum of a(event, target) · event, by loops."""
    inputs, rows, _, chosen = given()
    targets = rows[chosen]
    with torch.inference_mode():
        attended = ranker.attended(inputs, targets)
        for user in range(USERS):
            for place in range(3):
                target, total = targets[user, place], torch.zeros(DIM)
                there, ages = np.flatnonzero(inputs.history_mask[user]), inputs.history_age[user]
                for event in there:
                    row, age = inputs.history_rows[user, event], ages[event] - ages[there].min()
                    told = torch.cat([row, torch.exp2(-age / ranker.half_lives)])
                    unit = ranker.event(told) + ranker.target(target) + ranker.product(row * target)
                    total += ranker.weight(ranker.activation(unit)) * row
                np.testing.assert_allclose(attended[user, place], total, rtol=1e-4, atol=1e-6)
    assert not attended[-1].any()


def test_what_lies_where_no_event_is_has_no_say(ranker: TargetAttentionRanker) -> None:
    inputs, rows, features, chosen = given()
    there = inputs.history_mask
    filled = inputs._replace(
        history_rows=torch.where(there[..., None], inputs.history_rows, 9.0),
        history_age=torch.where(there, inputs.history_age, 1e7),
    )
    with torch.inference_mode():
        assert torch.equal(ranker(inputs, rows, features, chosen), ranker(filled, rows, features, chosen))
