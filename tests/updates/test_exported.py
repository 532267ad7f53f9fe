"""The item vectors that serve, as incremental updates fetch them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pagoda.data.window import Window, from_us
from pagoda.errors import IntegrityError
from pagoda.generations.manifest import Artifact
from pagoda.item_vectors.parts import PARTS_FILE, VectorPart, VectorParts
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.settings import Settings
from pagoda.storage.checksums import checksum_file
from pagoda.training.incremental.frozen_base import exported_checksum
from pagoda.updates import incremental_steps
from pagoda.updates.incremental import IncrementalUpdate
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors


def _write(path: Path, rows: np.ndarray) -> VectorPart:
    with ItemVectorsWriter(path, SPEC, 16) as writer:
        writer.write(items_table(len(rows), int(rows[0])), unit_vectors(100)[rows])
    return VectorPart(uri=path.as_uri(), checksum=checksum_file(path))


@pytest.fixture
def update(tmp_path: Path) -> IncrementalUpdate:
    """An update of version 1."""
    window = Window(start=from_us(0), end=from_us(1))
    return IncrementalUpdate(Settings(home=tmp_path / "home"), "", window, 1, None)


def _serving(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    exported = Artifact(uri=path.as_uri(), checksum=checksum_file(path))
    monkeypatch.setattr(incremental_steps, "_base_manifest", lambda *_: SimpleNamespace(item_vectors=exported))


def test_parts_prove_the_same_as_one_file(
    update: IncrementalUpdate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _write(tmp_path / "whole.parquet", np.arange(100))
    parts = [_write(tmp_path / f"{n}.parquet", rows) for n, rows in enumerate(np.array_split(np.arange(100), 12))]
    VectorParts(parts=tuple(parts)).write(tmp_path / PARTS_FILE)
    _serving(monkeypatch, tmp_path / PARTS_FILE)
    fetched = exported_checksum(incremental_steps.exported_vectors(update))
    _serving(monkeypatch, tmp_path / "whole.parquet")
    assert whole.checksum == checksum_file(tmp_path / "whole.parquet")
    assert fetched == exported_checksum(tmp_path / "whole.parquet")


def test_a_part_that_is_not_what_the_list_says_is_refused(
    update: IncrementalUpdate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [_write(tmp_path / f"{n}.parquet", rows) for n, rows in enumerate(np.array_split(np.arange(100), 2))]
    VectorParts(parts=tuple(parts)).write(tmp_path / PARTS_FILE)
    _serving(monkeypatch, tmp_path / PARTS_FILE)
    _write(tmp_path / "1.parquet", np.arange(50, 99))
    with pytest.raises(IntegrityError, match="is damaged"):
        incremental_steps.exported_vectors(update)
