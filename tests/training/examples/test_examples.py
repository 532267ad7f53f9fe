"""Every positive is learned once an epoch, with the history, profile and context of its own moment."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pagoda.config.training import DropoutConfig
from pagoda.data.dataset import Dataset
from pagoda.training.batches.batcher import Batch
from pagoda.training.full.preparation import Prepared, prepare
from tests.training.worlds import HOUR, config, hours, make

NOTHING = DropoutConfig(user=0, item=0, profile=0, history=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("examples") / "data")


def batches(prepared: Prepared, dropout: DropoutConfig = NOTHING, seed: int = 0) -> list[Batch]:
    batcher = prepared.batcher(dropout, seed)
    return [batch for block in prepared.stream.blocks(final=False) for batch in batcher.batches(block, 64)]


def seen(prepared: Prepared, batch: Batch) -> list[tuple[object, ...]]:
    """What a batch says of each positive, in the dataset's own terms."""
    users, items = np.append(-1, prepared.learner.users.ids), np.append(-1, prepared.learner.items.ids)
    features = {name: values.tolist() for name, values in batch.keys.features.items()}
    words = prepared.encoder.vocabularies
    rows = []
    for row in range(len(batch)):
        own = batch.item_rows[batch.candidate_of[batch.targets[row]]]
        past = batch.item_rows[batch.keys.history_items[row]][batch.keys.history_mask[row]]
        ages = batch.keys.history_age[row][batch.keys.history_mask[row]].round().int().tolist()
        kind, device = features["kind"][row], features["device"][row]
        rows.append((
            int(users[batch.user_rows[batch.keys.users[row]]]),
            int(items[own]),
            tuple(items[past.numpy()].tolist()),
            tuple(ages),
            words["kind"][kind - 1] if kind else None,
            words["device"][device - 1],
            features["hour"][row] - 1,
        ))  # fmt: skip
    return rows


def written_out(dataset: Dataset, start: int, end: int) -> list[tuple[object, ...]]:
    clicks = [row for batch in dataset.batches(events=["click"], columns=[
        "user_id", "item_id", "timestamp", "device"
    ]) for row in batch.to_pylist()]  # fmt: skip
    for row in clicks:
        row["us"] = round(row["timestamp"].timestamp() * 1e6)
    kinds = {row["user_id"]: row["kind"] for row in dataset.users().to_pylist()}
    rows = []
    for row in clicks:
        if not start * HOUR <= row["us"] < end * HOUR:
            continue
        past = [p for p in clicks if p["user_id"] == row["user_id"] and p["us"] < row["us"]][-5:]
        rows.append((
            row["user_id"], row["item_id"], tuple(p["item_id"] for p in past),
            tuple(round((row["us"] - p["us"]) / 1e6) for p in past),
            kinds.get(row["user_id"]), row["device"], row["timestamp"].hour,
        ))  # fmt: skip
    return rows


@pytest.mark.parametrize("block_rows", [100, 1_000_000])
def test_each_positive_once_with_what_was_known_then(dataset: Dataset, block_rows: int) -> None:
    prepared = prepare(dataset, hours(20, 50), None, config(shuffle_rows=block_rows))
    expected = sorted(map(repr, written_out(dataset, 20, 50)))
    known = set(prepared.learner.items.ids.tolist())
    assert {item for row in written_out(dataset, 20, 50) for item in row[2]} <= known
    for _ in range(2):
        found = sorted(repr(row) for batch in batches(prepared) for row in seen(prepared, batch))
        assert found == expected


def test_an_epoch_is_shuffled_and_seeded(dataset: Dataset) -> None:
    prepared = prepare(dataset, hours(0, 30), None, config())
    first, again, other = (
        [row[0] for batch in batches(prepared, seed=seed) for row in seen(prepared, batch)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sorted(first) == sorted(other)


def test_dropout_hides_the_declared_shares(dataset: Dataset) -> None:
    prepared = prepare(dataset, hours(0, 60), None, config())
    hidden = batches(prepared, DropoutConfig(user=0.5, item=0.3, profile=0.2, history=0.4))
    rows = sum(map(len, hidden))
    users = sum(int((b.user_rows[b.keys.users] == 0).sum()) for b in hidden) / rows
    profiles = sum(int((b.keys.features["device"] == 0).sum()) for b in hidden) / rows
    items = sum(int((b.item_rows[b.candidate_of] == 0).sum()) for b in hidden) / sum(
        len(b.candidate_of) for b in hidden
    )
    plain = batches(prepared)
    empty, before = (sum(int((~b.keys.history_mask.any(1)).sum()) for b in some) / rows for some in (hidden, plain))
    assert users == pytest.approx(0.5, abs=0.05)
    assert profiles == pytest.approx(0.2, abs=0.05)
    assert items == pytest.approx(0.3, abs=0.06)
    assert empty == pytest.approx(before + 0.4 * (1 - before), abs=0.05)


def test_log_q_is_the_chance_to_be_in_a_batch(dataset: Dataset) -> None:
    prepared = prepare(dataset, hours(0, 60), None, config())
    share = torch.zeros(len(prepared.sources[0].log_q))
    many = [batch for seed in range(20) for batch in batches(prepared, seed=seed)]
    for batch in many:
        share[batch.item_rows[batch.candidate_of] - 1] += 1 / len(many)
    difference = share - torch.from_numpy(prepared.sources[0].log_q).exp()
    assert difference.abs().mean() < 0.03
