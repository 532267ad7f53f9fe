"""Towers give unit vectors for any declaration, and an exported program is the tower it came from."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pagoda.config.model import (
    AugmentConfig,
    BlockConfig,
    Bsarec,
    Cin,
    Cross,
    DecayPooling,
    Fm,
    Gru,
    HistoryConfig,
    MeanPooling,
    Mlp,
    ModelConfig,
    Routing,
    RowSum,
    SelfAttentive,
    Senet,
    TowerConfig,
    Transformer,
    UserTowerConfig,
)
from pagoda.data.spec import (
    HISTORY_EVENT,
    RESERVED,
    Categorical,
    Dense,
    Feature,
    FeatureSpec,
    History,
    MultiValued,
    Numeric,
    Text,
    TimeOf,
)
from pagoda.errors import ConfigError
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.history.base import HistoryEncoder
from pagoda.model.history.bsarec import slow_changes
from pagoda.model.history.factory import build_history
from pagoda.model.history.sequence_history import SequenceHistory
from pagoda.model.tensors import tensors
from pagoda.model.towers.towers import EXAMPLE_AGE, Towers, warm_start
from pagoda.model.user_inputs import UserInputs

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

HISTORIES: tuple[HistoryConfig, ...] = tuple(section() for section in get_args(get_args(HistoryConfig)[0]))
"""One of each encoder that a training file can declare."""
ALONG = [declared for declared in HISTORIES if not isinstance(declared, SelfAttentive | Routing)]
"""Those that `learn: sequences` may have."""


def history_of(declared: HistoryConfig, *, dim: int, length: int = 5, seed_item: bool = False) -> HistoryEncoder:
    return build_history(ModelConfig(dim=dim, history=declared, seed_item=seed_item), length).eval()


def past(rows: Tensor, mask: Tensor, age: Tensor) -> UserInputs:
    """Histories alone."""
    return UserInputs(rows[:, 0], rows, mask, age, {})


def make(spec: FeatureSpec, config: ModelConfig) -> tuple[Towers, Encoder]:
    torch.manual_seed(0)
    users, items = pa.table({"job": ["a", "b"]}), pa.table({"genres": [["x"], ["y"]]})
    encoder = Encoder.fit(spec, users, items)
    return Towers(config, encoder), encoder


def inputs(encoder: Encoder, length: int, rows: int, row_dim: int = DIM) -> tuple[UserInputs, dict[str, Tensor]]:
    """What the user tower reads, and features of as many items."""
    generator = torch.Generator().manual_seed(rows)
    history = torch.randn(rows, length, row_dim, generator=generator)
    mask = torch.rand(rows, length, generator=generator) > 0.5
    age = torch.rand(rows, length, generator=generator) * 1e6
    users = encoder.encode_rows("user", [{"job": "b"}] * rows)
    items = encoder.encode_rows("item", [{"year": 1995, "genres": ["x", "?"], "text": [0.5] * 5}] * rows)
    read = UserInputs(torch.randn(rows, row_dim, generator=generator), history, mask, age, tensors(users))
    return read, tensors(items)


def assert_exported(folder: Path, spec: FeatureSpec, config: ModelConfig) -> None:
    towers, encoder = make(spec, config)
    export_towers(towers, encoder, config.row_dim, folder / "user.pt2", folder / "item.pt2")
    user, item = (torch.export.load(folder / f"{tower}.pt2").module() for tower in ("user", "item"))
    for rows in (1, 2, 5):
        read, item_features = inputs(encoder, towers.history_length, rows, config.row_dim)
        expected = towers.user(*read), towers.item(read.id_rows, item_features)
        torch.testing.assert_close(user(*read), expected[0])
        torch.testing.assert_close(item(read.id_rows, item_features), expected[1])
        for vectors in expected:
            torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))


def test_inner_products_are_of_the_same_vectors_at_the_length_that_they_have(tmp_path: Path) -> None:
    spec = SPECS["everything"]
    (towers, encoder), (unit, _) = (make(spec, ModelConfig(dim=DIM, similarity=by)) for by in ("dot", "cosine"))
    read, features = inputs(encoder, towers.history_length, 5)
    for ours, theirs in (
        (towers.user(*read), unit.user(*read)),
        (towers.item(read.id_rows, features), unit.item(read.id_rows, features)),
    ):
        assert ours.norm(dim=1).std() > 0.1
        assert torch.equal(towers.directions(ours), theirs)
        assert torch.equal(unit.directions(theirs), theirs)
    export_towers(towers, encoder, DIM, tmp_path / "user.pt2", tmp_path / "item.pt2")
    exported = torch.export.load(tmp_path / "user.pt2").module()
    torch.testing.assert_close(exported(*read), towers.user(*read))


@pytest.mark.parametrize("name", SPECS)
def test_an_exported_program_is_its_tower_for_any_batch(tmp_path: Path, name: str) -> None:
    assert_exported(tmp_path, SPECS[name], ModelConfig(dim=DIM, item=TowerConfig(blocks=(Mlp(hidden=(12, 10)),))))


@pytest.mark.parametrize("history", HISTORIES, ids=lambda declared: declared.kind)
def test_every_history_encoder_is_exported(tmp_path: Path, history: HistoryConfig) -> None:
    assert_exported(tmp_path, SPECS["everything"], ModelConfig(dim=DIM, history=history, seed_item=True))


BLOCKS: tuple[BlockConfig, ...] = tuple(section() for section in get_args(get_args(BlockConfig)[0]))
"""One of each block."""


@pytest.mark.parametrize("first", BLOCKS, ids=lambda block: block.kind)
def test_every_block_is_exported(tmp_path: Path, first: BlockConfig) -> None:
    blocks = (first, Mlp(hidden=(12,)))
    config = ModelConfig(
        dim=DIM, user=UserTowerConfig(blocks=blocks, example_age=True), item=TowerConfig(blocks=blocks)
    )
    spec = FeatureSpec(features=(*FEATURES, Text(name="name", tower="item")), history=History(length=6))
    assert_exported(tmp_path, spec, config)


def test_towers_that_pool_by_attention_are_exported(tmp_path: Path) -> None:
    pooling = TowerConfig(pooling="attention")
    spec = FeatureSpec(features=(*FEATURES, Text(name="name", tower="item")), history=None)
    assert_exported(tmp_path, spec, ModelConfig(dim=DIM, item=pooling))


EVENTS = FeatureSpec(history=History(length=6, events=("click", "like", "purchase"), embed_event=True))


def told(read: UserInputs, kinds: Tensor) -> UserInputs:
    """The inputs with which event each was."""
    return read._replace(features={HISTORY_EVENT: kinds})


def test_towers_that_are_told_events_are_exported_and_begin_without_them(tmp_path: Path) -> None:
    config = ModelConfig(dim=DIM, seed_item=True)
    towers, encoder = make(EVENTS, config)
    read, _ = inputs(encoder, 6, 3)
    kinds = torch.arange(18).reshape(3, 6) % 4
    plain, _ = make(FeatureSpec(history=History(length=6)), config)
    warm_start(plain, {name: value for name, value in towers.state_dict().items() if "events" not in name})
    assert towers.user.events is not None
    assert torch.equal(towers.user(*told(read, kinds)), plain.user(*read))
    torch.nn.init.normal_(towers.user.events.weight[1:])
    assert torch.equal(towers.user(*told(read, torch.zeros_like(kinds))), plain.user(*read)), "none of them is known"
    export_towers(towers, encoder, DIM, tmp_path / "user.pt2", tmp_path / "item.pt2")
    program = torch.export.load(tmp_path / "user.pt2").module()
    for rows in (1, 3):
        few = UserInputs(*(array[:rows] for array in read[:4]), {HISTORY_EVENT: kinds[:rows]})
        assert not torch.allclose(towers.user(*few), plain.user(*read)[:rows], atol=1e-3)
        torch.testing.assert_close(program(*few), towers.user(*few))


def test_vectors_along_a_sequence_are_told_events_as_each_prefix_is() -> None:
    towers, _ = make(EVENTS, ModelConfig(dim=DIM, history=Gru()))
    assert towers.user.events is not None
    torch.nn.init.normal_(towers.user.events.weight[1:])
    rows, kinds, ids = torch.randn(1, 6, DIM), torch.tensor([[1, 2, 3, 3, 2, 1]]), torch.randn(6, DIM)
    whole, ages = torch.ones(1, 6, dtype=torch.bool), torch.zeros(1, 6)
    found = towers.user.along(told(UserInputs(ids, rows, whole, ages, {}), kinds), torch.arange(6))
    for seen in range(1, 7):
        mask = torch.arange(6)[None] >= 6 - seen
        prefix = UserInputs(ids[seen - 1 : seen], rows.roll(6 - seen, 1), mask, ages, {})
        expected = towers.user(*told(prefix, kinds.roll(6 - seen, 1)))
        torch.testing.assert_close(found[seen - 1 : seen], expected)


PARALLEL = ModelConfig(
    dim=DIM,
    branches=(RowSum(), Fm(width=3), Cin(width=3, maps=(4, 2)), Cross()),
    augment=AugmentConfig(),
    user=UserTowerConfig(blocks=(Senet(),), example_age=True),
    item=TowerConfig(blocks=()),
)


def test_parallel_towers_with_augmented_vectors_are_exported(tmp_path: Path) -> None:
    assert_exported(tmp_path, SPECS["everything"], PARALLEL)


def test_augmented_vectors_are_inputs_of_their_own_tower_and_no_part_of_histories_or_of_the_sum_of_rows() -> None:
    augmented, encoder = make(SPECS["everything"], ModelConfig(dim=DIM, augment=AugmentConfig()))
    plain, _ = make(SPECS["everything"], ModelConfig(dim=DIM))
    # The first layers without the columns that read augmented vectors, which come last.
    theirs = plain.state_dict()
    plain.load_state_dict(
        {
            name: value[: len(theirs[name])] if value.ndim == 1 else value[:, : theirs[name].shape[1]]
            for name, value in augmented.state_dict().items()
        }
    )
    read, item_features = inputs(encoder, augmented.history_length, 4, 2 * DIM)
    halved = read._replace(id_rows=read.id_rows[:, :DIM], history_rows=read.history_rows[..., :DIM])
    without = read._replace(id_rows=functional.pad(halved.id_rows, (0, DIM)))
    torch.testing.assert_close(augmented.user(*without), plain.user(*halved))
    torch.testing.assert_close(
        augmented.item(without.id_rows, item_features), plain.item(halved.id_rows, item_features)
    )
    assert not torch.allclose(augmented.user(*read), augmented.user(*without), atol=1e-3)
    changed = read._replace(history_rows=torch.cat([halved.history_rows, torch.randn_like(halved.history_rows)], 2))
    assert torch.equal(augmented.user(*changed), augmented.user(*read))


def test_the_age_of_an_example_matters_in_training_and_is_zero_when_serving() -> None:
    towers, encoder = make(SPECS["everything"], ModelConfig(dim=DIM, user=UserTowerConfig(example_age=True)))
    read, _ = inputs(encoder, towers.history_length, 3)
    without = towers.user(*read)
    ages = (read.features | {EXAMPLE_AGE: torch.full((3, 1), days)} for days in (0.0, 30.0))
    new, old = (towers.user(*read._replace(features=features)) for features in ages)
    assert torch.equal(without, new)
    assert not torch.allclose(without, old, atol=1e-3)
    assert EXAMPLE_AGE in RESERVED


def test_towers_of_rows_alone_are_exported_and_have_no_projection(tmp_path: Path) -> None:
    spec = FeatureSpec(history=History(length=6))
    nothing = TowerConfig(blocks=())
    config = ModelConfig(dim=DIM, history=Gru(), user=UserTowerConfig(blocks=(), id_row=False), item=nothing)
    towers, encoder = make(spec, config)
    export_towers(towers, encoder, DIM, tmp_path / "user.pt2", tmp_path / "item.pt2")
    read, _ = inputs(encoder, 6, 3)
    item, user = (torch.export.load(tmp_path / f"{tower}.pt2").module() for tower in ("item", "user"))
    torch.testing.assert_close(item(read.id_rows, {}), functional.normalize(read.id_rows, dim=1))
    assert torch.equal(user(*read._replace(id_rows=torch.zeros(3, DIM))), user(*read))
    with pytest.raises(ConfigError, match=r"id_row is false, but the dataset declares no history"):
        make(FeatureSpec(history=None), config)


@given(st.integers(0, 1000))
def test_what_stands_in_masked_places_does_not_matter(seed: int) -> None:
    torch.manual_seed(seed)
    for declared in HISTORIES:
        encoder = history_of(declared, dim=2, seed_item=bool(seed % 2))
        rows, age, mask = torch.randn(3, 5, 2), torch.rand(3, 5) * 1e9, torch.rand(3, 5) > 0.5
        other = torch.where(mask[..., None], rows, torch.randn(3, 5, 2))
        torch.testing.assert_close(encoder(past(rows, mask, age)), encoder(past(other, mask, age)))
        assert not encoder(past(rows, torch.zeros(3, 5, dtype=torch.bool), age)).any()


def test_decay_halves_the_weight_with_each_half_life() -> None:
    rows = torch.eye(3)[None]
    age = torch.tensor([[1_000_020.0, 1_000_010.0, 1_000_000.0]])
    encoder = history_of(DecayPooling(half_lives_seconds=(10.0,)), dim=3)
    encoded = encoder(past(rows, torch.ones(1, 3, dtype=torch.bool), age))
    torch.testing.assert_close(encoded[0, 0], torch.tensor([1.0, 2.0, 4.0]) / 7)


@pytest.mark.parametrize(
    "declared", [Gru(), Transformer(hidden=8), Bsarec(hidden=8)], ids=["gru", "transformer", "bsarec"]
)
def test_the_state_after_an_event_is_what_a_history_up_to_it_gives(declared: HistoryConfig) -> None:
    torch.manual_seed(1)
    encoder = history_of(declared, dim=4, length=6)
    assert isinstance(encoder, SequenceHistory)
    rows = torch.randn(2, 6, 4)
    states = encoder.states(rows)
    for seen in range(1, 7):
        right_aligned = torch.cat([torch.randn(2, 6 - seen, 4), rows[:, :seen]], 1)
        mask = torch.arange(6).expand(2, 6) >= 6 - seen
        encoded = encoder(past(right_aligned, mask, torch.zeros(2, 6)))
        torch.testing.assert_close(encoded[:, 0], states[:, seen - 1])


@pytest.mark.parametrize("declared", ALONG, ids=lambda declared: declared.kind)
@pytest.mark.parametrize("id_row", [True, False], ids=["with ID row", "history alone"])
def test_vectors_along_a_sequence_are_those_of_the_tower_for_each_prefix(declared: HistoryConfig, id_row: bool) -> None:
    user = UserTowerConfig(id_row=id_row)
    towers, encoder = make(SPECS["everything"], ModelConfig(dim=DIM, history=declared, seed_item=True, user=user))
    tower, length = towers.user.eval(), 6
    generator = torch.Generator().manual_seed(3)
    sequences = torch.randn(2, length, DIM, generator=generator)
    moments = torch.rand(2, length, generator=generator).cumsum(1) * 3600
    seen = torch.arange(length + 1)
    features = tensors(encoder.encode_rows("user", [{"job": "a"}] * len(seen), np.arange(len(seen)) * 10**10))
    ids = torch.randn(len(seen), DIM, generator=generator)
    for sequence in range(2):
        after = torch.where(seen > 0, sequence * length + seen - 1, -1)
        whole = torch.ones(2, length, dtype=torch.bool)
        ages = (moments[:, -1:] - moments).double()
        found = tower.along(UserInputs(ids, sequences, whole, ages, features), after)
        mask = torch.arange(length) >= length - seen[:, None]
        place = (torch.arange(length) - (length - seen[:, None])).clamp(min=0)
        age = 1e5 - moments[sequence][place]
        expected = tower(ids, sequences[sequence][place], mask, age, features)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_seed_is_the_row_of_the_last_event() -> None:
    rows, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, True], [False, False, False]])
    encoded = history_of(MeanPooling(), dim=4, length=3, seed_item=True)(past(rows, mask, torch.zeros(2, 3)))
    torch.testing.assert_close(encoded, torch.stack([torch.stack([rows[0].mean(0), rows[0, -1]]), torch.zeros(2, 4)]))


def test_the_filter_of_bsarec_is_the_papers_at_the_last_event() -> None:
    events, low = torch.randn(2, 50, 4, dtype=torch.float64), 3
    spectrum = torch.fft.rfft(events, dim=1, norm="ortho")
    spectrum[:, low:] = 0
    expected = torch.fft.irfft(spectrum, n=50, dim=1, norm="ortho")[:, -1]
    torch.testing.assert_close((slow_changes(50, low).double() @ events)[:, -1], expected, atol=1e-6, rtol=1e-5)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match=r"model\.history\.heads 3 must divide model\.dim 8"):
        ModelConfig(dim=8, history=Transformer(heads=3))


def test_a_warm_start_keeps_what_was_learned_and_grows() -> None:
    config, spec = ModelConfig(dim=DIM), SPECS["everything"]
    parent, encoder = make(spec, config)
    grown = Encoder.fit(spec, pa.table({"job": ["c", "d"]}), pa.table({}), encoder)
    child = Towers(config, grown)
    warm_start(child, parent.state_dict())
    assert child.user.features.tables["job"].weight.shape[0] == 5
    read, item_features = inputs(grown, child.history_length, 4)
    assert torch.equal(child.user(*read), parent.user(*read))
    assert torch.equal(child.item(read.id_rows, item_features), parent.item(read.id_rows, item_features))
