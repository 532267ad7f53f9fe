"""Towers that are compared by inner product: learned, checked, followed by incrementals, worth having."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.errors import GateError
from pagoda.evaluation.evaluate import evaluate
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.invariance_check import check_incremental
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import CONFIG, config, hours, make

DOT = config(model=CONFIG.model.model_dump() | {"similarity": "dot"}, objective={"temperature": 1.0})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("similarity") / "data")


@pytest.fixture(scope="module")
def base(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    out = tmp_path_factory.mktemp("base") / "out"
    return full_update(dataset, hours(0, 50), None, DOT, out, programs=False)


def test_a_version_finds_what_users_like_by_vectors_of_any_length(dataset: Dataset, base: FullVersionFiles) -> None:
    report = evaluate(OpenVersion(base, dataset), dataset, hours(50, 60))
    live, popularity = (
        report.methods[name].groups["all"].metrics["recall@10"].value for name in ("live", "popularity")
    )
    assert live > 1.3 * popularity
    lengths = np.linalg.norm(OpenVersion(base, dataset).item_vectors(), axis=1)
    assert lengths.max() > 1.5 * lengths.min()
    assert base.metrics()["item_vector_norm_max"] >= base.metrics()["item_vector_norm_mean"] > 0


def test_an_incremental_over_it_passes_the_proof(dataset: Dataset, base: FullVersionFiles, tmp_path: Path) -> None:
    with ItemVectorsWriter(tmp_path / "vectors", dataset.spec, DOT.model.dim, "dot") as writer:
        writer.write(dataset.items(), OpenVersion(base, dataset).item_vectors())
    frozen = FrozenBase(base, dataset, 1, vectors=tmp_path / "vectors")
    files = incremental_update(dataset, hours(50, 52), frozen, None, DOT, out=tmp_path / "out")
    assert files is not None
    assert (np.abs(files.delta.rows - frozen.users.lookup(files.delta.ids)[0]).max(axis=1) > 0).all()
    registered = {
        path.relative_to(base.folder).as_posix(): checksum_file(path)
        for path in base.folder.rglob("*")
        if path.is_file()
    }
    check_incremental(files, 1, registered, tmp_path / "vectors")


def test_vectors_that_grow_too_long_are_stopped(dataset: Dataset, base: FullVersionFiles, tmp_path: Path) -> None:
    metrics = base.metrics()
    limit = max(metrics["user_row_norm_max"], metrics["item_row_norm_max"]) * 1.01
    assert metrics["user_vector_norm_max"] > limit, "vectors are sums of rows and more"
    how = DOT.model_copy(update={"drift": DOT.drift.model_copy(update={"max_row_norm": limit})})
    with pytest.raises(GateError, match=r"the longest user vector has norm .*, more than drift\.max_row_norm"):
        full_update(dataset, hours(0, 50), None, how, tmp_path / "out", programs=False)
    assert not (tmp_path / "out").exists()
