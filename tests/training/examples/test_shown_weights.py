"""Positives count by the arm and the channels that showed their items, in full and incremental updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.config.positives import PositivesConfig
from pagoda.config.training import DropoutConfig, TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import schema_of
from pagoda.errors import ConfigError, DataError
from pagoda.storage.checksums import checksum_file
from pagoda.training.examples.shown_weights import counted
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.update import incremental_update
from tests.training.worlds import SPEC, config, hours, make

WITH_RECEIPTS = SPEC.model_copy(update={"receipts": True})
CHANNELS = (None, ["popular"], ["two_tower", "popular"], ["category"])
_names = st.sampled_from(["popular", "two_tower", "category", "fresh"])
_weight = st.sampled_from([0.0, 0.5, 1.0, 3.0])


def shown(user: int) -> dict[str, object]:
    """What showed the items of a user: even users are in the canary, one of four in no arm that is known."""
    arm = None if user % 4 == 3 else ("canary" if user % 2 == 0 else "stable")
    return {"arm": arm, "channels": CHANNELS[user % 4]}


def told(path: Path) -> Dataset:
    """The small world, with what showed each item; made of files that lacked it."""
    make(path, SPEC)
    (path / "features.yaml").write_text((path / "features.yaml").read_text() + "receipts: true\n")
    schema = schema_of(WITH_RECEIPTS, "interactions")
    for file in path.glob("interactions/*/*.parquet"):
        rows = pq.read_table(file).to_pylist()
        pq.write_table(pa.Table.from_pylist([{**row, **shown(row["user_id"])} for row in rows], schema), file)
    return Dataset.open(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return told(tmp_path_factory.mktemp("shown") / "data")


def counting(**by: dict[str, float]) -> TrainConfig:
    return config(bootstrap_epochs=1, positives=by)


def batch_weights(dataset: Dataset, how: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Of what an epoch learns: users' IDs, and what each positive weighs."""
    prepared = prepare(dataset, hours(0, 40), None, how)
    batcher, users, weights = prepared.batcher(DropoutConfig(), 0), [], []
    for block in prepared.stream.blocks(final=True):
        users.append(prepared.learner.users.ids[block.moments.users - 1])
        weights += [batch.weights.numpy() for batch in batcher.batches(block, 64) if batch.weights is not None]
    return np.concatenate(users), np.concatenate([np.zeros(0, np.float32), *weights])


def test_what_an_arm_showed_can_be_left_out_and_what_a_channel_found_weighed(dataset: Dataset) -> None:
    users, weights = batch_weights(dataset, counting(by_arm={"stable": 0}, by_channel={"popular": 0.5, "two_tower": 2}))
    # Users 1, 5, … are of the stable arm; those of no known arm are learned.
    assert set(np.unique(users % 4)) == {0, 2, 3}
    expected = np.select([users % 4 == 2, users % 4 == 3], [2.0, 1.0], 1.0)
    np.testing.assert_array_equal(np.sort(weights), np.sort(expected.astype(np.float32)))


def test_an_incremental_moves_only_whom_the_arms_that_count_have(dataset: Dataset, tmp_path: Path) -> None:
    how = counting(by_arm={"stable": 0})
    base = full_update(dataset, hours(0, 38), None, how, tmp_path / "base", programs=False)
    over = incremental_update(dataset, hours(38, 44), FrozenBase(base, dataset, 1), None, how, out=tmp_path / "over")
    assert over is not None
    assert not (over.delta.ids % 4 == 1).any() and (over.delta.ids % 4 == 0).any()


def test_arms_that_count_alike_are_pooled_to_the_bit(dataset: Dataset, tmp_path: Path) -> None:
    plain = make(tmp_path / "plain", SPEC)
    sums = []
    for name, data, how in (("a", plain, config(bootstrap_epochs=1)), ("b", dataset, counting(by_arm={"canary": 1}))):
        base = full_update(data, hours(0, 38), None, how, tmp_path / name, programs=False)
        sums.append(checksum_file(base.folder / "towers.safetensors"))
    assert sums[0] == sums[1]


def test_receipts_can_be_declared_while_a_dataset_is_learned(dataset: Dataset, tmp_path: Path) -> None:
    plain, how = make(tmp_path / "plain", SPEC), config(bootstrap_epochs=1)
    base = full_update(plain, hours(0, 38), None, how, tmp_path / "base", programs=False)
    assert incremental_update(dataset, hours(38, 40), FrozenBase(base, dataset, 1), None, how, out=tmp_path / "over")
    after = full_update(dataset, hours(38, 50), base, how, tmp_path / "next", programs=False)
    assert after.encoder.spec.receipts and not base.encoder.spec.receipts


def test_what_nothing_says_cannot_be_weighed(tmp_path: Path) -> None:
    plain = make(tmp_path / "plain", SPEC)
    with pytest.raises(ConfigError, match=r"positives\.by_channel is set, but .* does not declare receipts"):
        prepare(plain, hours(0, 40), None, counting(by_channel={"popular": 0}))


def test_a_misspelt_channel_is_named() -> None:
    with pytest.raises(ValueError, match=r"'populer' is no channel; these are: two_tower, .*popular"):
        PositivesConfig(by_channel={"populer": 0})


def test_where_nothing_counts_it_is_said_why(tmp_path: Path) -> None:
    found = Dataset.open(_of_users(tmp_path / "data", 2))
    nothing = counting(by_channel=dict.fromkeys(("popular", "two_tower"), 0))
    with pytest.raises(DataError, match=r"no positive \(click\) that positives\.by_arm and by_channel let count"):
        prepare(found, hours(0, 40), None, nothing)


def _of_users(path: Path, rest: int) -> Path:
    """The small world, its users of one remainder alone."""
    told(path)
    for file in path.glob("interactions/*/*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.filter(pa.array(table["user_id"].to_numpy() % 4 == rest)), file)
    return path


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["click", "impression"]),
            st.none() | st.sampled_from(["stable", "canary"]),
            st.none() | st.lists(_names, unique=True, max_size=3),
        ),
        max_size=20,
    ),
    by_arm=st.dictionaries(st.sampled_from(["stable", "canary"]), _weight),
    by_channel=st.dictionaries(_names, _weight),
)
def test_what_counts_is_what_a_plain_loop_says(
    rows: list[tuple[str, str | None, list[str] | None]], by_arm: dict[str, float], by_channel: dict[str, float]
) -> None:
    schema = pa.schema([("event", pa.string()), ("arm", pa.string()), ("channels", pa.list_(pa.string()))])
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    expected = []
    for place, (event, arm, channels) in enumerate(rows):
        weight = by_arm.get(arm or "", 1.0) * max([by_channel.get(one, 1.0) for one in channels or ()], default=1.0)
        if event == "click" and weight > 0:
            expected.append((place, weight))
    how = PositivesConfig.model_validate({"by_arm": by_arm, "by_channel": by_channel})
    found, weights = counted(table, ("click",), how)
    assert found.tolist() == [place for place, _ in expected]
    assert (weights is None and not by_arm and not by_channel) or list(weights) == [weight for _, weight in expected]
