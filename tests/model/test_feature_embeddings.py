"""Several values of a feature become one vector: by their mean, or weighed by what they are."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pagoda.config.model import Pooling
from pagoda.model.encoder import Field
from pagoda.model.features.feature_embeddings import FeatureEmbeddings

VALUES, WIDTH, DIM = 6, 4, 3
bags = st.lists(st.lists(st.integers(0, VALUES - 1), max_size=WIDTH), min_size=1, max_size=4)


def padded(rows: list[list[int]]) -> dict[str, Tensor]:
    return {"tags": torch.tensor([row + [-1] * (WIDTH - len(row)) for row in rows])}


def embeddings(pooling: Pooling) -> FeatureEmbeddings:
    torch.manual_seed(0)
    return FeatureEmbeddings([Field("tags", "bag", VALUES)], DIM, pooling)


def spread(built: FeatureEmbeddings) -> FeatureEmbeddings:
    """As after some training: the query has left zero."""
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter)
    return built


@given(bags)
def test_attention_begins_as_the_mean(rows: list[list[int]]) -> None:
    mean, attention = embeddings("mean"), embeddings("attention")
    attention.tables.load_state_dict(mean.tables.state_dict())
    torch.testing.assert_close(attention(padded(rows))[0], mean(padded(rows))[0])


@given(bags)
def test_attention_knows_no_order_and_lies_among_the_values(rows: list[list[int]]) -> None:
    built = spread(embeddings("attention"))
    (pooled,) = built(padded(rows))
    (reversed_,) = built(padded([row[::-1] for row in rows]))
    torch.testing.assert_close(pooled, reversed_)
    table = built.tables["tags"].weight
    for row, vector in zip(rows, pooled, strict=True):
        values = table[row] if row else torch.zeros(1, DIM)
        assert (vector <= values.amax(0) + 1e-5).all() and (vector >= values.amin(0) - 1e-5).all()


def test_attention_learns_which_value_counts() -> None:
    """The same value decides wherever it stands, which a mean cannot say."""
    torch.manual_seed(1)
    built = embeddings("attention")
    rows = [[1, other, third] for other in range(2, VALUES) for third in range(2, VALUES)]
    rows += [[2, other, third] for other in range(3, VALUES) for third in range(3, VALUES)]
    with torch.no_grad():
        built.tables["tags"].weight.copy_(torch.randn(VALUES, DIM))
    goal = built.tables["tags"].weight[[row[0] for row in rows]].detach()
    built.tables.requires_grad_(False)

    def loss() -> Tensor:
        return (built(padded(rows))[0] - goal).square().mean()

    first, optimiser = float(loss()), torch.optim.Adam(built.attention.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert float(loss()) < 0.2 * first
