"""Views hide what they should, and relatedness is the mutual information written out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from pagoda.config.self_supervision import SelfSupervisionConfig
from pagoda.data.spec import Categorical, Dense, FeatureSpec, MultiValued
from pagoda.model.encoder import Encoder
from pagoda.model.losses.contrastive import contrastive_loss
from pagoda.training.batches.augmentation import Augmenter
from pagoda.training.batches.feature_relatedness import related

ITEMS = 240
SPEC = FeatureSpec(
    history=None,
    features=(
        Categorical(name="brand", tower="item"),
        Categorical(name="country", tower="item"),
        MultiValued(name="tags", tower="item", max_values=3),
        Dense(name="text", tower="item", length=2),
        Categorical(name="colour", tower="item"),
    ),
)


def catalogue() -> tuple[Encoder, dict[str, np.ndarray]]:
    """A brand says all about the country, something about the text, and nothing about tags or colour."""
    rng = np.random.default_rng(0)
    brand = rng.integers(0, 8, ITEMS)
    items = pa.table(
        {
            "brand": [f"b{number}" for number in brand],
            "country": [f"c{number % 4}" for number in brand],
            "tags": [list(rng.choice(["x", "y", "z"], 2, replace=False)) for _ in range(ITEMS)],
            "text": pa.array([[float(number), 0.1] for number in brand], pa.list_(pa.float32())),
            "colour": rng.choice(["red", "blue"], ITEMS),
        }
    )
    encoder = Encoder.fit(SPEC, pa.table({}), items)
    return encoder, encoder.encode_table("item", items)


def written_out(one: np.ndarray, other: np.ndarray) -> float:
    """Mutual information over the greater entropy, by counting."""
    total, entropies = 0.0, [0.0, 0.0]
    for a in np.unique(one):
        for b in np.unique(other):
            both = ((one == a) & (other == b)).mean()
            total += both * np.log(both / ((one == a).mean() * (other == b).mean())) if both else 0.0
    for place, values in enumerate((one, other)):
        shares = np.unique(values, return_counts=True)[1] / len(values)
        entropies[place] = float(-(shares * np.log(shares)).sum())
    return total / max(entropies)


def test_relatedness_is_mutual_information() -> None:
    encoder, encoded = catalogue()
    found = related(encoder.fields("item"), encoded, ITEMS)
    np.testing.assert_allclose(found, found.T)
    columns = [np.arange(ITEMS), encoded["brand"], encoded["country"], None, None, encoded["colour"]]
    for one, first in enumerate(columns):
        for other, second in enumerate(columns):
            if first is not None and second is not None and one != other:
                assert found[one, other] == pytest.approx(written_out(first, second), abs=1e-9)
    assert found[1, 2] > 0.6
    assert found[2, 5] < 0.1
    assert found[1, 4] > 0.9  # the vector lies along the brand
    assert 0 <= found[1, 3] < 0.1


@pytest.mark.parametrize("views", ["correlated", "complementary", "mask"])
def test_views_hide_what_they_should(views: Literal["correlated", "complementary", "mask"]) -> None:
    encoder, encoded = catalogue()
    config = SelfSupervisionConfig(items=100, views=views, mask=0.25, value_dropout=0.0)
    drawn = [Augmenter(config, encoder, encoded, ITEMS).draw(np.random.default_rng(seed)) for seed in range(20)]
    for view in drawn:
        count = len(view.items) // 2
        assert len(np.unique(view.items[:count])) == count
        np.testing.assert_array_equal(view.items[:count], view.items[count:])
    nothing = encoder.encode_rows("item", [{}])
    hidden = {
        name: np.concatenate(
            [np.equal(v.features[name], nothing[name]).reshape(len(v.items), -1).all(1) for v in drawn]
        )
        for name in encoded
    } | {"id": np.concatenate([view.hides_id for view in drawn])}
    for view in drawn:
        for name, values in view.features.items():
            shown = ~np.equal(values, nothing[name]).reshape(len(values), -1).all(1)
            np.testing.assert_array_equal(values[shown], encoded[name][view.items][shown])
    shares = {name: where.mean() for name, where in hidden.items()}
    together = (hidden["brand"] == hidden["country"]).mean()
    if views == "mask":
        assert all(0.2 < share < 0.3 for share in shares.values())
    else:
        assert all(0.3 < share < 0.7 for share in shares.values())
        assert sum(where.astype(int) for where in hidden.values()).tolist() == [3] * len(hidden["id"])
    if views == "correlated":
        assert together > 0.6
    elif views == "complementary":
        assert together < 0.5


def test_values_of_lists_are_dropped_one_by_one() -> None:
    encoder, encoded = catalogue()
    config = SelfSupervisionConfig(items=200, views="mask", mask=0.0, value_dropout=0.5)
    view = Augmenter(config, encoder, encoded, ITEMS).draw(np.random.default_rng(0))
    before, after = encoded["tags"][view.items], view.features["tags"]
    assert ((after == before) | (after == -1)).all()
    assert 0.4 < (after[before >= 0] == -1).mean() < 0.6
    np.testing.assert_array_equal(view.features["brand"], encoded["brand"][view.items])


def test_the_loss_is_equation_1() -> None:
    torch.manual_seed(0)
    first, second = (functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1) for _ in range(2))
    first.requires_grad_()
    losses = [
        -((first[i] @ second[i] / 0.2).exp() / sum((first[i] @ second[j] / 0.2).exp() for j in range(6))).log()
        for i in range(6)
    ]
    expected, loss = torch.stack(losses).mean(), contrastive_loss(first, second, 0.2)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each, first)[0] for each in (loss, expected)))
