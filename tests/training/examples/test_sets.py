"""Learning sets: each positive with all others of its user, none of which is a negative of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pagoda.config.training import DropoutConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.spec import FeatureSpec, History
from pagoda.errors import ConfigError
from pagoda.evaluation.evaluate import evaluate
from pagoda.model.user_moments import UserMoments
from pagoda.training.examples.sets import others_of, sets_of
from pagoda.training.examples.stream import Block
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import config, hours, make

SETS = {"learn": "sets", "negatives": {"in_batch": False, "uniform": 20, "popularity": 20}}
ROWS = {"dim": 8, "history": {"kind": "mean"}, "user": {"blocks": [], "id_row": False}, "feature_dim": 4}
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), min_size=1, max_size=40)
NOTHING_HIDDEN = DropoutConfig(user=0, item=0, profile=0, history=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("sets") / "data", FeatureSpec(history=History(length=40)))


@given(pairs=PAIRS, length=st.integers(1, 9))
def test_every_positive_comes_once_and_is_one_of_its_set(pairs: list[tuple[int, int]], length: int) -> None:
    users, items = (np.array(column) for column in zip(*pairs, strict=True))
    nothing, none = np.zeros(len(pairs), np.int64), np.empty(0, np.int64)
    before = Histories(length, none, none, nothing, nothing)
    block = Block(UserMoments(users, nothing, before, {}, nothing, {}), items)
    rows = np.arange(9) + 100
    laid_out, found = sets_of(block, rows, np.random.default_rng(0))
    assert sorted(found.rows) == list(range(len(pairs)))
    assert (found.lengths <= length).all()
    chosen = laid_out.moments.histories.items
    parts = [chosen[start : start + size].tolist() for start, size in zip(found.starts, found.lengths, strict=True)]
    places, piece = found.of(np.arange(len(parts)))
    whole: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        (user,) = set(users[found.rows[places[piece == number]]].tolist())
        whole.setdefault(user, []).extend(part)
    for user, of_user in whole.items():
        assert sorted(of_user) == sorted({item + 100 for each, item in pairs if each == user})
    for place, of in zip(places, piece, strict=True):
        assert parts[of][found.seen[place]] == rows[items[found.rows[place]]]


@pytest.mark.parametrize("positives", [{}, {"thin_above": 0.005}], ids=["all", "thinned"])
def test_other_items_of_a_set_are_no_negatives(dataset: Dataset, positives: dict[str, float]) -> None:
    prepared = prepare(dataset, hours(0, 20), None, config(**SETS, model=ROWS, positives=positives))
    block, others = next(prepared.stream.blocks(final=True)), 0
    for batch in prepared.batcher(NOTHING_HIDDEN, 0).batches(block, 64):
        assert batch.masked is not None
        users, places = batch.user_rows[batch.keys.users].tolist(), batch.places.tolist()
        expected = {
            (row, column)
            for row, user in enumerate(users)
            for column in np.flatnonzero(np.isin(places, block.items[block.moments.users == user])).tolist()
            if column != batch.targets[row]
        }
        found = list(zip(*batch.masked.tolist(), strict=True))
        assert [row for row, _ in found] == sorted(row for row, _ in found)
        assert len(found) == len(expected)
        assert set(found) == expected
        others += len(found)
    assert others > 0


def test_who_chooses_the_same_again_and_again_takes_no_more_memory_than_their_set() -> None:
    of, targets = np.zeros(30_000, np.int64), np.arange(30_000) % 2
    assert others_of(np.array([[7, 5, -1]]), of, np.array([5, 7, 9]), targets).shape == (2, 30_000)


def test_a_pass_over_a_set_gives_the_vectors_of_the_tower_that_serves(dataset: Dataset) -> None:
    prepared = prepare(dataset, hours(0, 20), None, config(**SETS, model=ROWS))
    tower, items = prepared.learner.towers.user, prepared.learner.items.rows
    block = next(prepared.stream.blocks(final=True))
    asked = 0
    for batch in prepared.batcher(NOTHING_HIDDEN, 0).batches(block, 64):
        found, _ = prepared.learner.vectors(batch)
        users = batch.user_rows[batch.keys.users]
        for user, target, vector in zip(users, batch.places[batch.targets], found, strict=True):
            mine = np.unique(block.items[block.moments.users == int(user)])
            others = items[prepared.catalogue.rows[mine[mine != int(target)]]]
            mask = torch.ones(1, len(others), dtype=torch.bool)
            expected = tower(torch.zeros(1, 8), others[None], mask, torch.zeros(mask.shape), {})
            torch.testing.assert_close(vector[None], expected, atol=1e-5, rtol=1e-4)
            asked += 1
    assert asked == len(block)


def test_learning_sets_finds_what_users_like(dataset: Dataset, tmp_path: Path) -> None:
    files = full_update(dataset, hours(0, 50), None, config(**SETS, model=ROWS), tmp_path / "out")
    report = evaluate(OpenVersion(files, dataset), dataset, hours(50, 60))
    live, popularity = (
        report.methods[name].groups["all"].metrics["recall@10"].value for name in ("live", "popularity")
    )
    assert live > 1.2 * popularity


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("negatives: {}", "learn: sets puts all that a user chose into one batch"),
        ("model: {history: {kind: decay}}", "learn: sets has no order, and model.history.kind decay reads one"),
        (
            "model: {history: {kind: mean}, seed_item: true}",
            "learn: sets has no last item, which model.seed_item",
        ),
        ("model: {history: {kind: mean}}\nobjective: {kind: pointwise}", "objective.kind pointwise takes single ones"),
    ],
)
def test_what_reads_an_order_is_refused(changes: str, message: str) -> None:
    sampled = "" if "negatives" in changes else "\nnegatives: {in_batch: false}"
    with pytest.raises(ConfigError, match=message):
        parse_config(f"learn: sets\n{changes}{sampled}")


def test_histories_of_other_events_are_refused(tmp_path: Path) -> None:
    spec = FeatureSpec(history=History(length=40, events=("click", "like")))
    dataset = make(tmp_path / "data", spec, clicks_an_hour=1)
    with pytest.raises(ConfigError, match=r"learn is sets.*declares histories of click and like"):
        full_update(dataset, hours(0, 40), None, config(**SETS, model=ROWS), tmp_path / "out")
