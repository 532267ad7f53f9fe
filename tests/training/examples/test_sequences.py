"""Learning along sequences: every positive once, after exactly what its user did before, by the tower that serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pagoda.config.training import DropoutConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.errors import ConfigError
from pagoda.evaluation.evaluate import evaluate
from pagoda.model.user_moments import UserMoments
from pagoda.training.examples.sequences import sequences_of
from pagoda.training.examples.stream import Block
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import IDS_ALONE, config, hours, make

TRANSFORMER = {"dim": 8, "history": {"kind": "transformer", "hidden": 16, "layers": 1}, "feature_dim": 4}
SEQUENCES = {"learn": "sequences", "negatives": {"in_batch": False, "uniform": 20, "popularity": 20}}
EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans(), st.booleans()), min_size=1, max_size=40
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("sequences") / "data")


def block_of(events: list[tuple[int, int, bool, bool]], length: int) -> Block:
    """Events (user, time since the one before, enters, positive) as a block; items tell all events apart."""
    users, steps, enters, positive = (np.array(column) for column in zip(*events, strict=True))
    times, chosen = np.cumsum(steps).astype(np.int64), np.flatnonzero(positive)
    histories = HistoryState(length).advance(users, np.arange(len(users)) + 100, times, enters)
    nothing = np.zeros(len(chosen), np.int64)
    return Block(UserMoments(users[chosen], times[chosen], histories.take(chosen), {}, nothing, {}), nothing)


@given(events=EVENTS, length=st.integers(1, 6))
def test_every_positive_comes_once_and_after_the_last_events_before_it(
    events: list[tuple[int, int, bool, bool]], length: int
) -> None:
    block = block_of(events, length)
    if not len(block):
        return
    found = sequences_of(block)
    pieces = np.random.default_rng(0).permutation(len(found.lengths))
    places, piece = found.of(pieces)
    assert sorted(found.rows[places]) == list(range(len(block)))
    assert (found.lengths <= length).all()
    histories = block.moments.histories.padded()
    users, ends = block.moments.users, block.moments.histories.ends
    for place, of in zip(places, pieces[piece], strict=True):
        row, seen = found.rows[place], found.seen[place]
        before = block.moments.histories.items[found.starts[of] : found.starts[of] + seen]
        expected = histories.items[row][histories.mask[row]]
        assert seen <= found.lengths[of]
        np.testing.assert_array_equal(before, expected[len(expected) - seen :])
        if ends[users == users[row]].max() == ends[row]:
            assert seen == len(expected), "the newest positives have all that there is before them"


def test_a_pass_over_sequences_gives_the_vectors_of_the_tower_that_serves(dataset: Dataset) -> None:
    nothing_hidden = DropoutConfig(user=0, item=0, profile=0, history=0)
    found = {}
    for learn, how in (("positives", {}), ("sequences", SEQUENCES)):
        prepared = prepare(dataset, hours(0, 3), None, config(**how, model=TRANSFORMER))
        block = next(prepared.stream.blocks(final=True))
        assert block.moments.histories.padded().mask.sum(1).max() < 5, "no sequence is cut"
        batches = prepared.batcher(nothing_hidden, 0).batches(block, 16)
        found[learn] = torch.cat([prepared.learner.vectors(batch)[0] for batch in batches])
    apart = torch.cdist(found["positives"], found["sequences"])
    assert apart.shape[0] == apart.shape[1] == len(block)
    assert apart.amin(0).max() < 1e-3
    assert apart.amin(1).max() < 1e-3
    assert apart.max() > 0.5


def test_learning_along_sequences_finds_what_users_like(dataset: Dataset, tmp_path: Path) -> None:
    """By a tower of rows alone, and no user's own among them."""
    how = config(**SEQUENCES, model=TRANSFORMER | {"user": {"blocks": [], "id_row": False}})
    files = full_update(dataset, hours(0, 50), None, how, tmp_path / "out")
    report = evaluate(OpenVersion(files, dataset), dataset, hours(50, 60))
    live, popularity = (
        report.methods[name].groups["all"].metrics["recall@10"].value for name in ("live", "popularity")
    )
    assert live > 1.2 * popularity


def test_what_is_dropped_at_random_follows_from_the_seed_alone(dataset: Dataset) -> None:
    losses = []
    for disturbance in (1, 2):
        prepared = prepare(dataset, hours(0, 8), None, config(**SEQUENCES, model=TRANSFORMER))
        torch.rand(disturbance)
        state = torch.random.get_rng_state()
        batches = list(prepared.batcher(DropoutConfig(), 0).batches(next(prepared.stream.blocks(final=True)), 64))
        losses.append([prepared.learner.learn(batch) for batch in (*batches, batches[0])])
        assert torch.equal(torch.random.get_rng_state(), state), "the caller's own draws go on undisturbed"
        (left, _), (right, _) = (prepared.learner.vectors(batches[0]) for _ in range(2))
        assert torch.equal(left, right), "nothing is dropped but in training"
    assert losses[0] == losses[1]


def test_positives_are_thinned_and_repeated_along_sequences_too(dataset: Dataset) -> None:
    for times in ({}, {"thin_above": 0.005}, {"repeat_below": 0.9}):
        prepared = prepare(dataset, hours(0, 40), None, config(**SEQUENCES, model=TRANSFORMER, positives=times))
        block = next(prepared.stream.blocks(final=True))
        batches = prepared.batcher(DropoutConfig(), 0).batches(block, 64)
        wanted = prepared.catalogue.times
        expected = len(block) if wanted is None else float(wanted @ prepared.survey.clicks)
        assert sum(len(batch) for batch in batches) == pytest.approx(expected, rel=0.1)
        assert (expected == len(block)) == (not times)


def test_without_a_history_there_are_no_sequences(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", IDS_ALONE)
    with pytest.raises(ConfigError, match=r"learn is sequences, but .*features\.yaml declares no history"):
        full_update(dataset, hours(0, 40), None, config(**SEQUENCES), tmp_path / "out")


def test_what_a_user_chose_later_is_no_negative() -> None:
    with pytest.raises(
        ConfigError, match=r"learn: sequences puts all that a user chose into one batch.*in_batch: false"
    ):
        parse_config("learn: sequences")
