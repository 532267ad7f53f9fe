"""Hard negatives are each user's own, never what they chose, drawn with the probability that the correction takes."""

from __future__ import annotations

from pathlib import Path

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
from pagoda.errors import ConfigError, DataError
from pagoda.model.losses.objective import Candidates, ListwiseSoftmax
from pagoda.training.full.refusals import refuse_what_is_not_there
from pagoda.training.full.side_inputs import SideInputs
from pagoda.training.negatives.hard import HardNegatives, OwnLists, Sources, hard_negatives
from pagoda.training.negatives.item_choice import Chooser
from pagoda.training.negatives.mined_file import read_mined, write_mined
from pagoda.training.negatives.sampling import NegativeSampler
from pagoda.training.pairs import Pairs
from pagoda.training.tables import TrainableTable
from tests.training.worlds import config, hours, make

PAIRS = Pairs(np.array([1, 1, 1, 1, 3, 3]), np.array([10, 11, 12, 13, 10, 14]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The small world, a fifth of whose events are rejections by ranking, and a tenth by what comes before it."""
    path = tmp_path_factory.mktemp("hard") / "data"
    make(path)
    for file in path.glob("interactions/*/*.parquet"):
        table = pq.read_table(file)
        drawn = np.random.default_rng(2).random(table.num_rows)
        events = np.where(drawn < 0.2, "ranking_rejected", table["event"].to_numpy(zero_copy_only=False))
        events = np.where(drawn > 0.9, "preranking_rejected", events)
        pq.write_table(table.set_column(table.schema.get_field_index("event"), "event", pa.array(events)), file)
    return Dataset.open(path)


def users() -> TrainableTable:
    return TrainableTable.first(np.arange(60), 2, torch.Generator())


def pairs_of(dataset: Dataset, event: str) -> set[tuple[int, int]]:
    """User's place in the table and item's place in the catalogue."""
    batches = dataset.batches(hours(0, 40), events=[event])
    found = [np.stack([batch["user_id"].to_numpy() + 1, batch["item_id"].to_numpy() - 100]) for batch in batches]
    return {(int(user), int(item)) for user, item in np.concatenate(found, 1).T}


def test_a_draw_is_without_replacement_and_as_probable_as_it_says() -> None:
    lists, rng = OwnLists(PAIRS, 4, 2, seed=0), np.random.default_rng(0)
    items, missed = lists.draw(np.array([0, 1, 2, 3]), rng)
    assert items[[0, 2]].tolist() == [[-1, -1], [-1, -1]]
    assert sorted(items[3]) == [10, 14]
    np.testing.assert_allclose(np.exp(missed[[1, 3]]), [[0.5, 0.5], [0, 0]])
    many, _ = lists.draw(np.ones(4000, np.int64), rng)
    assert (many[:, 0] != many[:, 1]).all()
    np.testing.assert_allclose(np.bincount(many.ravel(), minlength=14)[10:] / 4000, 0.5, atol=0.04)


def test_rejections_are_hard_negatives_unless_they_were_chosen(dataset: Dataset) -> None:
    catalogue = np.arange(100, 140)
    found = hard_negatives(
        NegativesConfig(rejected=40), Sources(dataset, hours(0, 40), None), users(), catalogue, seed=0
    )
    assert found is not None
    items, _ = found.draw(np.arange(61), np.random.default_rng(0))
    drawn = {(user, int(item)) for user in range(61) for item in items[user] if item >= 0}
    assert drawn == pairs_of(dataset, "ranking_rejected") - pairs_of(dataset, "click")


def test_both_sources_stand_beside_each_other_and_share_nothing(dataset: Dataset, tmp_path: Path) -> None:
    rejected, clicked = pairs_of(dataset, "ranking_rejected"), pairs_of(dataset, "click")
    every = np.array([(user, item) for user in range(1, 31) for item in range(40)])
    write_mined(tmp_path / "mined", [(every[:, 0] - 1, every[:, 1] + 100, np.arange(len(every)))])
    sources, negatives = Sources(dataset, hours(0, 40), tmp_path / "mined"), NegativesConfig(rejected=5, mined=40)
    found = hard_negatives(negatives, sources, users(), np.arange(100, 140), seed=0)
    assert found is not None
    items, missed = found.draw(np.arange(61), np.random.default_rng(0))
    assert items.shape == missed.shape == (61, 45)
    mined = {(user, int(item)) for user in range(61) for item in items[user, 5:] if item >= 0}
    assert mined == {(int(user), int(item)) for user, item in every} - rejected - clicked


def test_each_stage_that_rejects_gives_its_own_number(dataset: Dataset) -> None:
    ranked, thrown_out = (pairs_of(dataset, event) for event in ("ranking_rejected", "preranking_rejected"))
    clicked, negatives = pairs_of(dataset, "click"), NegativesConfig(rejected=1, preranking_rejected=40)
    sources = Sources(dataset, hours(0, 40), None)
    found = hard_negatives(negatives, sources, users(), np.arange(100, 140), seed=0)
    assert found is not None
    items, _ = found.draw(np.arange(61), np.random.default_rng(0))
    assert items.shape == (61, 41)
    assert {(user, int(items[user, 0])) for user in range(61) if items[user, 0] >= 0} <= ranked - clicked
    others = {(user, int(item)) for user in range(61) for item in items[user, 1:] if item >= 0}
    assert others == thrown_out - ranked - clicked


def test_what_is_not_there_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    catalogue, plain = np.arange(100, 140), make(tmp_path / "plain")
    write_mined(tmp_path / "mined", [(np.zeros(7, np.int64), np.arange(100, 107), np.arange(101, 108))])
    nobody = TrainableTable.first(np.array([77]), 2, torch.Generator())
    with pytest.raises(ConfigError, match="no event ranking_rejected of a user with a positive in window"):
        hard_negatives(NegativesConfig(rejected=1), Sources(dataset, hours(0, 40), None), nobody, catalogue, seed=0)

    def refused(says: str, file: str | None, **negatives: int) -> None:
        with pytest.raises((ConfigError, DataError), match=says):
            path = tmp_path / file if file else None
            refuse_what_is_not_there(config(negatives=negatives), plain, hours(0, 40), SideInputs(path))

    pq.write_table(pa.table({"user": [1]}), tmp_path / "other")
    refused("has no event ranking_rejected in", None, rejected=1)
    refused(r"negatives\.preranking_rejected is set, but .* has no event", None, preranking_rejected=1)
    refused("nothing was mined: `pagoda mine` writes a file for --mined", None, mined=1)
    refused(r"negatives\.mined is 8, but .*mined has at most 7 of a user", "mined", mined=8)
    refused(r"negatives\.mined is 0, so .* would not be used", "mined")
    refused("cannot be read as mined negatives", "absent", mined=1)
    refused(r"columns are \['user'\], expected those of `pagoda mine`", "other", mined=1)
    beside = SideInputs(tmp_path / "mined")
    refuse_what_is_not_there(config(negatives={"mined": 7}), plain, hours(0, 40), beside)


def test_of_a_long_list_a_part_is_kept_at_random(tmp_path: Path) -> None:
    ids = np.repeat(np.arange(3), 30)
    write_mined(tmp_path / "mined", [(ids, np.tile(np.arange(100, 130), 3), np.tile(np.arange(101, 131), 3))])
    kept = read_mined(tmp_path / "mined", users(), np.arange(100, 140), 10, seed=0)
    assert np.bincount(kept.users).tolist() == [0, 10, 10, 10]
    assert len(np.unique(kept.keys)) == 30
    assert len(np.unique(kept.items)) > 15


@pytest.mark.parametrize("in_batch", [True, False])
def test_hard_ones_are_candidates_of_their_own_user_alone(in_batch: bool) -> None:
    negatives = NegativesConfig(in_batch=in_batch, uniform=3, rejected=2)
    sampler, hard = NegativeSampler(negatives, np.ones(20, np.int64)), HardNegatives([OwnLists(PAIRS, 4, 2, seed=0)])
    own, of = np.array([5, 10, 5, 6]), np.array([3, 1, 0, 2])
    chosen = Chooser(sampler, hard, 20).choose(own, of, np.random.default_rng(1))
    assert chosen.places[chosen.targets].tolist() == own.tolist()
    assert chosen.hard is not None
    found = chosen.places[chosen.hard.numpy()]
    assert sorted(found[0]) == [10, 14]
    assert set(found[1]) <= {10, 11, 12, 13}  # its own item stands for none
    assert found[2:].tolist() == [[5, 5], [6, 6]]
    shared = chosen.places[chosen.first_shared :]
    assert len(np.unique(chosen.places)) == len(chosen.places)
    assert set(own) <= set(shared) if in_batch else len(shared) <= 3


def test_single_negatives_give_way_to_hard_ones_where_there_are_any() -> None:
    negatives = NegativesConfig(uniform=0, rejected=2)
    sampler, hard = NegativeSampler(negatives, np.ones(20, np.int64), 3), HardNegatives([OwnLists(PAIRS, 4, 2, seed=0)])
    chosen = Chooser(sampler, hard, 20).choose(np.array([5, 7, 6]), np.array([3, 0, 2]), np.random.default_rng(1))
    assert chosen.negatives is not None
    places = chosen.places[chosen.negatives.numpy()]
    assert sorted(places[0, :2]) == [10, 14]
    assert set(places[0, 2:]) | set(places[1:].ravel()) <= {5, 6, 7}
    assert chosen.hard is None


def written_out(users: Tensor, candidates: Candidates, targets: Tensor) -> Tensor:
    """Row by row: own item, shared ones, and hard ones, each item once, and where it is hard with that chance."""
    losses = []
    items, hard, hard_log_q = candidates.vectors, candidates.hard, candidates.hard_log_q
    assert hard is not None
    assert hard_log_q is not None
    for row, own in enumerate(targets.tolist()):
        chances = {item: candidates.log_q[item] for item in (own, *range(candidates.first_shared, len(items)))}
        chances |= {item: hard_log_q[row, at] for at, item in enumerate(hard[row].tolist()) if item != own}
        scores = {item: users[row] @ items[item] / 0.2 - chance for item, chance in chances.items()}
        losses.append(torch.stack(list(scores.values())).logsumexp(0) - scores[own])
    return torch.stack(losses).mean()


@given(st.integers(0, 10_000))
def test_listwise_with_hard_ones_equals_the_formula_and_its_gradient(seed: int) -> None:
    torch.manual_seed(seed)
    users = functional.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1).requires_grad_()
    items = functional.normalize(torch.randn(8, 3, dtype=torch.float64), dim=1).requires_grad_()
    log_q, hard_log_q = torch.rand(8, dtype=torch.float64).log(), torch.rand(4, 2, dtype=torch.float64).log()
    targets, hard = torch.randint(0, 8, (4,)), torch.stack([torch.randperm(8)[:2] for _ in range(4)])
    candidates = Candidates(items, log_q, 3, hard=hard, hard_log_q=hard_log_q)
    loss = ListwiseSoftmax(0.2)(users, candidates, targets)
    expected = written_out(users, candidates, targets)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (users, items)), torch.autograd.grad(expected, (users, items)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_optimum_stays_that_over_all_items() -> None:
    """Each user's gradient vanishes, on average, at the true preferences, although some items are always drawn."""
    torch.manual_seed(0)
    shares = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)
    lists = HardNegatives([OwnLists(Pairs(np.ones(2, np.int64), np.array([3, 4])), 2, 2, seed=0)])
    negatives, rng = NegativesConfig(in_batch=False, uniform=2, rejected=2), np.random.default_rng(0)
    sampler = NegativeSampler(negatives, np.array([40, 30, 15, 10, 5]))
    chooser, missed = Chooser(sampler, lists, 5), torch.from_numpy(sampler.log_missed(8).astype(np.float64))
    gradients = {}
    for corrected in (True, False):
        scores = shares.log()[None].requires_grad_()
        for _ in range(400):
            own = torch.multinomial(shares, 8, replacement=True).numpy()
            chosen = chooser.choose(own, np.ones(8, np.int64), rng)
            assert chosen.hard is not None
            assert chosen.hard_missed is not None
            of = missed[chosen.places]
            log_q = (-torch.expm1(of)).log() * corrected
            hard_log_q = (-torch.expm1(of[chosen.hard] + chosen.hard_missed)).log() * corrected
            candidates = Candidates(
                torch.eye(5, dtype=torch.float64)[chosen.places], log_q, chosen.first_shared,
                hard=chosen.hard, hard_log_q=hard_log_q,
            )  # fmt: skip
            loss = ListwiseSoftmax(1.0)(scores.expand(8, 5), candidates, torch.from_numpy(chosen.targets))
            (loss / 400).backward()
        assert scores.grad is not None
        gradients[corrected] = float(scores.grad.abs().max())
    assert 2 * gradients[True] < gradients[False], gradients
