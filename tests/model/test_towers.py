"""Towers give unit vectors for any declaration, and an exported program is the tower it came from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pagoda.data.spec import Categorical, Dense, Feature, FeatureSpec, History, MultiValued, Numeric, TimeOf
from pagoda.model.config import DecayPooling, MeanPooling, Mlp, ModelConfig, TowerConfig
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.pooling import build_history
from pagoda.model.towers import Towers

DIM = 8
FEATURES: tuple[Feature, ...] = (
    Categorical(name="job", tower="user"),
    TimeOf(name="hour", part="hour"),
    Numeric(name="year", tower="item", edges=(1990, 2000)),
    MultiValued(name="genres", tower="item", max_values=4),
    Dense(name="text", tower="item", length=5),
)
SPECS = {
    "everything": FeatureSpec(features=FEATURES, history=History(length=6)),
    "ids alone": FeatureSpec(history=None),
    "features without history": FeatureSpec(features=FEATURES, history=None),
}


def make(spec: FeatureSpec, config: ModelConfig) -> tuple[Towers, Encoder]:
    torch.manual_seed(0)
    users, items = pa.table({"job": ["a", "b"]}), pa.table({"genres": [["x"], ["y"]]})
    encoder = Encoder.fit(spec, users, items)
    return Towers(config, encoder), encoder


def inputs(encoder: Encoder, length: int, rows: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(rows)
    history = torch.randn(rows, length, DIM, generator=generator)
    mask = torch.rand(rows, length, generator=generator) > 0.5
    age = torch.rand(rows, length, generator=generator) * 1e6
    users = encoder.encode_rows("user", [{"job": "b"}] * rows)
    items = encoder.encode_rows("item", [{"year": 1995, "genres": ["x", "?"], "text": [0.5] * 5}] * rows)
    return (
        (torch.randn(rows, DIM, generator=generator), history, mask, age),
        {name: torch.from_numpy(array) for name, array in users.items()},
        {name: torch.from_numpy(array) for name, array in items.items()},
    )


@pytest.mark.parametrize("name", SPECS)
def test_an_exported_program_is_its_tower_for_any_batch(tmp_path: Path, name: str) -> None:
    config = ModelConfig(dim=DIM, item=TowerConfig(blocks=(Mlp(hidden=(12, 10)),)))
    towers, encoder = make(SPECS[name], config)
    export_towers(towers, encoder, DIM, tmp_path / "user.pt2", tmp_path / "item.pt2")
    user, item = (torch.export.load(tmp_path / f"{tower}.pt2").module() for tower in ("user", "item"))
    for rows in (1, 2, 5):
        arrays, user_features, item_features = inputs(encoder, towers.history_length, rows)
        expected = towers.user(*arrays, user_features), towers.item(arrays[0], item_features)
        torch.testing.assert_close(user(*arrays, user_features), expected[0])
        torch.testing.assert_close(item(arrays[0], item_features), expected[1])
        for vectors in expected:
            torch.testing.assert_close(vectors.norm(dim=1), torch.ones(rows))


@given(st.integers(0, 1000))
def test_what_stands_in_masked_places_does_not_matter(seed: int) -> None:
    torch.manual_seed(seed)
    for declared in (MeanPooling(), DecayPooling(half_lives_seconds=(1.0, 1e6))):
        encoder = build_history(declared)
        rows, age, mask = torch.randn(3, 5, 2), torch.rand(3, 5) * 1e9, torch.rand(3, 5) > 0.5
        other = torch.where(mask[..., None], rows, torch.randn(3, 5, 2))
        torch.testing.assert_close(encoder(rows, mask, age), encoder(other, mask, age))
        assert not encoder(rows, torch.zeros(3, 5, dtype=torch.bool), age).any()


def test_decay_halves_the_weight_with_each_half_life() -> None:
    rows = torch.eye(3)[None]
    age = torch.tensor([[1_000_020.0, 1_000_010.0, 1_000_000.0]])
    encoded = build_history(DecayPooling(half_lives_seconds=(10.0,)))(rows, torch.ones(1, 3, dtype=torch.bool), age)
    torch.testing.assert_close(encoded[0, 0], torch.tensor([1.0, 2.0, 4.0]) / 7)


def test_a_warm_start_keeps_what_was_learned_and_grows() -> None:
    config, spec = ModelConfig(dim=DIM), SPECS["everything"]
    parent, encoder = make(spec, config)
    grown = Encoder.fit(spec, pa.table({"job": ["c", "d"]}), pa.table({}), encoder)
    child = Towers(config, grown)
    child.warm_start(parent.state_dict())
    assert child.user.features.tables["job"].weight.shape[0] == 5
    arrays, user_features, item_features = inputs(grown, child.history_length, 4)
    assert torch.equal(child.user(*arrays, user_features), parent.user(*arrays, user_features))
    assert torch.equal(child.item(arrays[0], item_features), parent.item(arrays[0], item_features))
