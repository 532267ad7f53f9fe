"""Archives on their way into TorchServe's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pagoda.errors import UnavailableError
from serving.tower.archive import archive_name
from serving.tower.torchserve_models import TowerModels


def test_an_archive_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(Path(f"/proc/self/fd/{file}").readlink()))
    given = tmp_path / "elsewhere" / archive_name(7)
    given.parent.mkdir()
    given.write_bytes(b"archive")
    models = TowerModels("unix:/nowhere", tmp_path / "store")
    with pytest.raises(UnavailableError):
        models.ensure(7, given)
    assert models.archive(7).read_bytes() == b"archive"
    assert [path.name[: len(".pagoda-7")] for path in flushed if path.parent == tmp_path / "store"] == [".pagoda-7"]
