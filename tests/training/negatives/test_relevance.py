"""Bad negatives are what a version would recommend and another finds irrelevant; they count for more, and it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pagoda.config.negatives import NegativesConfig
from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError
from pagoda.model.losses.objective import Candidates, ListwiseSoftmax
from pagoda.model.table_inputs import no_histories
from pagoda.training.full.preparation import prepare
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.update import full_update
from pagoda.training.negatives.relevance import Relevance, with_bad
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import HOUR, KINDS, config, hours, make

CLICKBAIT = 103
PLAIN: dict[str, Any] = {"uniform": 16}
BAD = PLAIN | {"bad": 8, "bad_below": 0.6, "bad_weight": 10.0}


def units(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def written_out(users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
    """Row by row: own item and shared ones, bad ones so many times."""
    losses = []
    for row, own in enumerate(targets.tolist()):
        assert candidates.bad is not None
        bad = set(candidates.bad[row].tolist()) - {own}
        items = [own, *(item for item in range(candidates.first_shared, len(candidates.vectors)) if item != own)]
        scores = users[row] @ candidates.vectors[items].T / 0.2 - candidates.log_q[items]
        times = torch.tensor([1 + candidates.bad_weight * (item in bad) for item in items], dtype=torch.float64)
        losses.append((times * scores.exp()).sum().log() - scores[0])
    return torch.stack(losses).mean()


@given(st.integers(0, 10_000), st.sampled_from([0, 3]))
def test_listwise_with_bad_ones_equals_the_formula_and_its_gradient(seed: int, first: int) -> None:
    torch.manual_seed(seed)
    users, items = units(4, 3).requires_grad_(), units(8, 3).requires_grad_()
    targets, bad = torch.randint(0, 8, (4,)), torch.stack([first + torch.randperm(8 - first)[:2] for _ in range(4)])
    bad[0] = targets[0]  # stands for none
    candidates = Candidates(items, torch.rand(8, dtype=torch.float64).log(), first, bad=bad, bad_weight=1.5)
    loss, expected = ListwiseSoftmax(0.2)(users, candidates, targets), written_out(users, candidates, targets)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (users, items)), torch.autograd.grad(expected, (users, items)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_bad_ones_are_drawn_among_the_irrelevant_by_what_would_be_recommended() -> None:
    torch.manual_seed(0)
    users, items = torch.tensor([[1.0, 0.0]]).expand(4000, 2), torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    irrelevant = torch.tensor([[False, True, True]]).expand(4000, 3)
    candidates, targets = Candidates(items, torch.zeros(3)), torch.zeros(4000, dtype=torch.int64)
    found = with_bad(NegativesConfig(bad=1), candidates, users, targets, irrelevant=irrelevant, temperature=0.2)
    assert found.bad is not None
    share = torch.tensor([0.6, 0.8]).div(0.2).softmax(0)
    np.testing.assert_allclose(np.bincount(found.bad[:, 0], minlength=3)[1:] / 4000, share, atol=0.03)
    more = with_bad(NegativesConfig(bad=3), candidates, users, targets, irrelevant=irrelevant, temperature=0.2)
    assert more.bad is not None
    assert more.bad.sort(1).values.unique(dim=0).tolist() == [[0, 1, 2]], "0, the user's own, stands for none"
    single = Candidates(items, torch.zeros(3), negatives=torch.full((4000, 2), 1))
    beside = with_bad(NegativesConfig(bad=1), single, users, targets, irrelevant=irrelevant, temperature=0.2)
    assert beside.bad is None and beside.negatives is not None
    assert beside.negatives.shape == (4000, 3)


def test_the_lowest_share_is_irrelevant_and_to_nobody_known_nothing() -> None:
    items = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    said = Relevance(np.array([1, 0]), np.array([[1.0], [0.0]], np.float32), items, 0.25)
    drawn = np.arange(0, 20, 2)
    assert np.flatnonzero(said.irrelevant(np.array([1]), drawn)).tolist() == [0, 1]
    assert not said.irrelevant(np.array([0]), drawn).any()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"negatives": {"bad_below": 0.2}}, "bad_below has no effect while bad is 0"),
        ({"negatives": {"bad_weight": 2.0}}, "bad_weight has no effect while bad is 0"),
        ({"negatives": {"catalogue": True, "bad": 1}}, "so bad adds none"),
        (
            {"objective": {"kind": "pointwise"}, "negatives": {"bad": 1, "bad_weight": 2.0}},
            "bad_weight is for the listw",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        config(**changes)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """From hour 40 on, everybody clicks one item of one kind a third of the time."""
    path = tmp_path_factory.mktemp("bad") / "data"
    make(path)
    for file in path.glob("interactions/*/*.parquet"):
        table = pq.read_table(file)
        late = table["timestamp"].cast(pa.int64()).to_numpy() >= 40 * HOUR
        baited = late & (np.random.default_rng(2).random(table.num_rows) < 0.33)
        items = pa.array(np.where(baited, CLICKBAIT, table["item_id"].to_numpy()))
        pq.write_table(table.set_column(table.schema.get_field_index("item_id"), "item_id", items), file)
    return Dataset.open(path)


@pytest.fixture(scope="module")
def parent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    out = tmp_path_factory.mktemp("parent") / "out"
    return full_update(dataset, hours(0, 40), None, config(bootstrap_epochs=3), out, programs=False)


def baited(dataset: Dataset, files: FullVersionFiles) -> float:
    """Share of the answers to users of other kinds that hold the item among their first eight."""
    users = np.array([user for user in range(50) if user % KINDS != CLICKBAIT % KINDS])
    towers = OpenVersion(files, dataset)
    vectors = towers.user_vectors(users, np.full(len(users), hours(40, 60).end_us), no_histories(len(users)))
    best = np.argsort(-vectors @ towers.item_vectors().T, axis=1)[:, :8]
    return float((dataset.items()["item_id"].to_numpy()[best] == CLICKBAIT).any(1).mean())


def test_what_all_click_and_few_want_is_recommended_less(
    dataset: Dataset, parent: FullVersionFiles, tmp_path: Path
) -> None:
    shares = []
    for name, negatives in (("plain", PLAIN), ("careful", BAD)):
        how = config(negatives=negatives, batch_size=16)
        child = full_update(dataset, hours(40, 60), parent, how, tmp_path / name, programs=False)
        shares.append(baited(dataset, child))
    assert shares[1] < shares[0] - 0.2, shares


def test_who_says_what_is_irrelevant_is_there_and_asked(dataset: Dataset, parent: FullVersionFiles) -> None:
    with pytest.raises(ConfigError, match=r"negatives\.bad is 8, but no version says what is irrelevant"):
        prepare(dataset, hours(0, 40), None, config(negatives=BAD), NOTHING_BESIDE)
    with pytest.raises(ConfigError, match=r"negatives\.bad is 0, so --relevance .* would not be asked"):
        prepare(dataset, hours(40, 60), parent, config(), SideInputs(relevance=parent))
    prepared = prepare(dataset, hours(0, 40), None, config(negatives=BAD), SideInputs(relevance=parent))
    assert prepared.survey.positives > 0
