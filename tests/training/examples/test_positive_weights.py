"""What a positive weighs counts in full and incremental updates, and what is no weight is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pagoda.config.training import DropoutConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import Categorical, FeatureSpec
from pagoda.errors import DataError
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.incremental import IncrementalFiles
from tests.training.worlds import WEIGHED, config, hours, make

HOW = config(bootstrap_epochs=1)


def with_dwell(path: Path, change: Callable[[pa.Table], pa.Array]) -> Dataset:
    """The small world with another column `dwell`."""
    make(path, WEIGHED)
    for file in path.glob("interactions/*/*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.set_column(table.schema.get_field_index("dwell"), "dwell", change(table)), file)
    return Dataset.open(path)


def dwell(table: pa.Table) -> pa.Array:
    return table["dwell"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("weighed") / "data", WEIGHED)


def learned(dataset: Dataset, out: Path) -> tuple[str, IncrementalFiles]:
    """The towers of a full version, and an incremental over it."""
    base = full_update(dataset, hours(0, 38), None, HOW, out / "base", programs=False)
    over = incremental_update(dataset, hours(38, 44), FrozenBase(base, dataset, 1), None, HOW, out=out / "over")
    assert over is not None
    return checksum_file(base.folder / "towers.safetensors"), over


def test_batches_have_each_positives_weight_over_the_mean_and_one_for_none(dataset: Dataset) -> None:
    prepared = prepare(dataset, hours(0, 40), None, config(shuffle_rows=300))
    batcher = prepared.batcher(DropoutConfig(), 0)
    found = []
    for block in prepared.stream.blocks(final=True):
        for batch in batcher.batches(block, 64):
            assert batch.weights is not None
            found.append(batch.weights.numpy())
    clicks = pa.Table.from_batches(dataset.batches(hours(0, 40), events=["click"], columns=["dwell"]))["dwell"]
    mean = pc.mean(clicks).as_py()
    expected = np.sort(pc.fill_null(pc.divide(clicks, mean), 1.0).to_numpy())
    np.testing.assert_allclose(np.sort(np.concatenate(found)), expected, rtol=1e-5)
    assert expected.mean() == pytest.approx(1)


def test_only_how_weights_compare_counts(dataset: Dataset, tmp_path: Path) -> None:
    """In other units the same is learned, to the bit; with all weights alike another thing."""
    in_units = with_dwell(tmp_path / "units", lambda table: pc.multiply(table["dwell"], 64.0))
    alike = with_dwell(tmp_path / "alike", lambda table: pc.if_else(pc.is_valid(table["dwell"]), 3.0, None))
    (towers, over), (of_units, over_units), (of_alike, over_alike) = (
        learned(each, tmp_path / name) for name, each in (("a", dataset), ("b", in_units), ("c", alike))
    )
    assert towers == of_units != of_alike
    np.testing.assert_array_equal(over.delta.rows, over_units.delta.rows)
    assert (np.abs(over.delta.rows - over_alike.delta.rows).max(axis=1) > 0).all()


def test_what_weighs_nothing_moves_nobody(tmp_path: Path) -> None:
    def even_users_alone(table: pa.Table) -> pa.Array:
        return pa.array(np.where(table["user_id"].to_numpy() % 2, 0.0, 5.0))

    dataset = with_dwell(tmp_path / "data", even_users_alone)
    base = full_update(dataset, hours(0, 38), None, HOW, tmp_path / "base", programs=False)
    frozen = FrozenBase(base, dataset, 1)
    over = incremental_update(dataset, hours(38, 44), frozen, None, HOW, out=tmp_path / "over")
    assert over is not None
    moved = np.abs(over.delta.rows - frozen.users.lookup(over.delta.ids)[0]).max(axis=1)
    odd = over.delta.ids % 2 == 1
    assert (moved[odd] == 0).all() and (moved[~odd] > 0).all()


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_no_weight_is_refused_by_its_row(weight: float, dataset: Dataset, tmp_path: Path) -> None:
    def one_wrong(table: pa.Table) -> pa.Array:
        wrong = (table["user_id"].to_numpy() == 7) & (table["event"].to_numpy(zero_copy_only=False) == "click")
        return pa.array(np.where(wrong, weight, 5.0))

    wrong, says = with_dwell(tmp_path / "wrong", one_wrong), rf"user 7, item 1\d\d, .*column 'dwell': {weight} is no"
    with pytest.raises(DataError, match=says):
        prepare(wrong, hours(0, 40), None, HOW)
    base = full_update(dataset, hours(0, 38), None, HOW, tmp_path / "base", programs=False)
    with pytest.raises(DataError, match=says):
        incremental_update(wrong, hours(38, 60), FrozenBase(base, wrong, 1), None, HOW, out=tmp_path / "over")
    assert not (tmp_path / "over").exists()


def test_a_feature_is_no_weight() -> None:
    device = Categorical(name="device", tower="user", source="context")
    with pytest.raises(ValueError, match="positive_weight 'device' is a column with another meaning"):
        FeatureSpec(features=(device,), positive_weight="device")
    assert "positive_weight" not in FeatureSpec().model_dump()
