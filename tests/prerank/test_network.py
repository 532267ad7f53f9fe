"""The pre-ranker's network, and its program as serving runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.fx import GraphModule

from pagoda.data.spec import Categorical, FeatureSpec, History, MultiValued, Numeric
from pagoda.errors import ConfigError
from pagoda.model.encoder import Encoder
from pagoda.prerank.groups import Groups, group_names, groups_of, item_features, without_vectors
from pagoda.prerank.inputs import PairInputs
from pagoda.prerank.network import PreRanker
from pagoda.prerank.program import export_preranker
from serving.tower.program import load_program

DIM = 6
SPEC = FeatureSpec(
    history=History(length=4),
    features=(
        Numeric(name="age", tower="user", edges=(10, 20)),
        Categorical(name="kind", tower="item"),
        MultiValued(name="tags", tower="item", max_values=3),
    ),
)
ENCODER = Encoder(SPEC, {"kind": ["a", "b"], "tags": ["x", "y", "z"]})
BARE = Encoder(FeatureSpec(history=None))


def learned(groups: Groups, *hidden: int, gated: bool = False) -> PreRanker:
    """A network that says more than the cosine."""
    torch.manual_seed(0)
    ranker = PreRanker(groups, DIM, 4, hidden, gated=gated)
    torch.nn.init.normal_(ranker.last.weight)
    ranker.scale(*inputs(groups, 5, 20, seed=1).tensors())
    return ranker


def inputs(groups: Groups, users: int, pairs: int, seed: int = 0) -> PairInputs:
    rng = np.random.default_rng(seed)

    def drawn(field: object, rows: int) -> np.ndarray:
        match field.form:  # type: ignore[attr-defined]
            case "dense":
                return rng.normal(size=(rows, field.size)).astype(np.float32)  # type: ignore[attr-defined]
            case "bag":
                return rng.integers(-1, field.size, (rows, 3))  # type: ignore[attr-defined]
            case _:
                return rng.integers(0, field.size, rows)  # type: ignore[attr-defined]

    features = {field.name: drawn(field, users) for field in groups.user}
    features |= {field.name: drawn(field, pairs) for field in groups.pair}
    vectors = (rng.normal(size=(rows, DIM)).astype(np.float32) for rows in (users, pairs))
    return PairInputs(*vectors, rng.integers(users, size=pairs), features)


@pytest.mark.parametrize(
    ("encoder", "names"),
    [
        pytest.param(ENCODER, group_names(SPEC), id="all"),
        pytest.param(ENCODER, ("cosine", "share.kind"), id="no user"),
        pytest.param(BARE, group_names(BARE.spec), id="no features"),
        pytest.param(BARE, ("product",), id="one"),
    ],
)
def test_the_program_says_what_the_network_does(encoder: Encoder, names: tuple[str, ...], tmp_path: Path) -> None:
    groups = groups_of(encoder, names)
    ranker = learned(groups, 8, 5)
    export_preranker(ranker, inputs(groups, 3, 3), tmp_path / "prerank.pt2")
    program = load_program(tmp_path / "prerank.pt2")
    assert not isinstance(program, GraphModule), "it is traced"
    for users, pairs in ((1, 1), (1, 50), (4, 9)):
        asked = inputs(groups, users, pairs, seed=pairs).tensors()
        with torch.inference_mode():
            torch.testing.assert_close(program(*asked), ranker(*asked), rtol=0, atol=1e-5)


def test_several_users_in_one_pass_are_as_each_alone() -> None:
    groups = groups_of(ENCODER, group_names(SPEC))
    for gated in (False, True):
        ranker = learned(groups, 8, gated=gated)
        users, items, owner, features = inputs(groups, 3, 12).tensors()
        together = ranker(users, items, owner, features)
        for user in range(3):
            own = torch.nonzero(owner == user)[:, 0]
            its = {name: values[[user]] if "user." in name else values[own] for name, values in features.items()}
            alone = ranker(users[[user]], items[own], torch.zeros_like(own), its)
            torch.testing.assert_close(alone, together[own])


def test_what_has_learned_nothing_says_what_the_cosine_says() -> None:
    groups = groups_of(ENCODER, group_names(SPEC))
    ranker = PreRanker(groups, DIM, 4, [8])
    ranker.begin(3.0, -2.0)
    users, items, owner, features = inputs(groups, 3, 12).tensors()
    cosines = (users[owner] * items).sum(1)
    torch.testing.assert_close(ranker(users, items, owner, features), 3 * cosines - 2)


def test_numbers_count_by_how_they_differ_and_not_by_their_units() -> None:
    groups = groups_of(ENCODER, ("popularity", "share.kind", "cosine"))
    told = inputs(groups, 5, 40)
    other = told._replace(features=told.features | {"popularity": 50 * told.features["popularity"] + 7})
    says = []
    for read in (told, other):
        ranker = learned(groups, 8)
        ranker.scale(*read.tensors())
        says.append(ranker(*read.tensors()))
    torch.testing.assert_close(*says, rtol=0, atol=1e-3)


def test_a_closed_gate_hides_its_group() -> None:
    groups = groups_of(ENCODER, group_names(SPEC))
    ranker = learned(groups, 8, gated=True)
    assert ranker.gate is not None
    with torch.no_grad():
        ranker.gate.weight.zero_()
        ranker.gate.bias[ranker.order.index("item.kind")] = -100
    users, items, owner, features = inputs(groups, 2, 6).tensors()
    other = features | {"item.kind": (features["item.kind"] + 1) % 3}
    torch.testing.assert_close(ranker(users, items, owner, other), ranker(users, items, owner, features))
    other = features | {"item.tags": features["item.tags"].flip(0)}
    assert not torch.allclose(ranker(users, items, owner, other), ranker(users, items, owner, features))


def test_without_vectors_something_tells_items_apart() -> None:
    assert without_vectors(SPEC, ("user_vector", "product", "user.age")) == ("cosine", "user.age")
    assert without_vectors(SPEC, ("share.kind", "item_vector", "popularity")) == ("popularity", "share.kind")


def test_groups_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no group 'share\.age'"):
        groups_of(ENCODER, ["share.age"])
    assert item_features(("share.kind", "item.tags", "user.age", "since.kind")) == ["kind", "tags"]
