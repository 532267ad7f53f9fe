"""Items without an ID row are known by their category's mean, the same wherever their vectors are computed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError, IntegrityError
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.full import CATEGORY_MEANS, FullVersionFiles
from pagoda.version_files.open_version import OpenVersion, item_vectors
from tests.training.worlds import config, hours, make

COLD = {"by": "tags", "items": "category_mean"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("cold") / "data")


@pytest.fixture(scope="module")
def files(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    how = config(cold=COLD, bootstrap_epochs=2)
    return full_update(dataset, hours(0, 40), None, how, tmp_path_factory.mktemp("version") / "out")


def test_the_item_tower_is_given_the_mean_where_there_is_no_row(dataset: Dataset, files: FullVersionFiles) -> None:
    items = dataset.items()
    rows, found = files.items.lookup(items["item_id"].to_numpy())
    assert (~found).sum() == 5  # Items from 35 on come after the window.
    encoded = files.encoder.encode_table("item", items)
    assert files.category_means is not None
    rows[~found] = files.category_means.of_items(encoded["tags"][~found])
    program = torch.export.load(files.folder / "item_tower.pt2").module()
    features = {name: torch.from_numpy(values) for name, values in encoded.items()}
    expected = program(torch.from_numpy(rows), features).detach().numpy()
    np.testing.assert_allclose(OpenVersion(files, dataset).item_vectors(), expected, atol=1e-6)
    assert not np.allclose(rows[~found], files.items.oov, atol=1e-3)


def test_an_item_that_comes_later_has_the_vector_of_one_that_was_exported(
    dataset: Dataset, files: FullVersionFiles
) -> None:
    exported, items = OpenVersion(files, dataset).item_vectors(), dataset.items()
    for number in (0, 36, 39):
        alone = item_vectors(files, files.towers(), items.slice(number, 1))
        np.testing.assert_allclose(alone[0], exported[number], atol=1e-6)
    unknown = pa.table({"item_id": [999], "tags": pa.array([["never seen"]])})
    without = pa.table({"item_id": [998], "tags": pa.array([[]], pa.list_(pa.string()))})
    for table in (unknown, without):
        assert np.isfinite(item_vectors(files, files.towers(), table)).all()


def test_incrementals_leave_the_means_as_they_are_and_prove_it(
    dataset: Dataset, files: FullVersionFiles, tmp_path: Path
) -> None:
    before = checksum_file(files.folder / CATEGORY_MEANS)
    learned = incremental_update(dataset, hours(40, 41), files, None, config(), out=tmp_path / "out", base_version=7)
    assert learned
    assert learned.description.frozen[CATEGORY_MEANS] == before == checksum_file(files.folder / CATEGORY_MEANS)


def test_a_version_without_its_means_is_damaged(dataset: Dataset, files: FullVersionFiles, tmp_path: Path) -> None:
    shutil.copytree(files.folder, tmp_path / "version")
    (tmp_path / "version" / CATEGORY_MEANS).unlink()
    with pytest.raises(IntegrityError, match=rf"{CATEGORY_MEANS}: missing"):
        OpenVersion(FullVersionFiles(tmp_path / "version", files.state), dataset)


def test_a_version_that_declares_nothing_says_nothing_of_it(dataset: Dataset, tmp_path: Path) -> None:
    plain = full_update(dataset, hours(0, 40), None, config(bootstrap_epochs=1), tmp_path / "out", programs=False)
    assert not (plain.folder / CATEGORY_MEANS).exists()
    assert "cold" not in (plain.folder / "config.yaml").read_text()


def test_a_feature_that_is_no_category_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cold\.by is 'kind', which is no categorical .* these are: tags"):
        full_update(dataset, hours(0, 40), None, config(cold=COLD | {"by": "kind"}), tmp_path / "out")
