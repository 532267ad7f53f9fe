"""Any version, opened for a dataset: of a folder or registered, full or incremental."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pagoda.data.dataset import Dataset
from pagoda.embeddings.overlay import Overlay
from pagoda.errors import RequestError
from pagoda.registry.factory import open_registry
from pagoda.settings import load_settings
from pagoda.training.full.update import STATE, VERSION, open_version
from pagoda.updates.incremental_steps import base_files, chain_files
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.incremental import chain_of
from pagoda.version_files.open_version import OpenVersion


@dataclass(frozen=True)
class Opened:
    """A version that gives vectors."""

    full: FullVersionFiles
    """Itself, or its base."""
    towers: OpenVersion
    learned_until: datetime


def open_any(version: str, home: Path | None, dataset: Dataset) -> Opened:
    """Open the version of this number, its files fetched once, or of the folder that `pagoda train full` left.

    An incremental version is its base with the user rows that it and those before it on that base have changed.

    Raises:
        RequestError: There is no such version.
        IntegrityError: A file is missing or damaged.
    """
    if (folder := Path(version)).is_dir():
        return _full(
            open_version(folder) if (folder / VERSION).is_dir() else FullVersionFiles(folder, folder / STATE), dataset
        )
    if not version.isdecimal():
        raise RequestError(f"--version {version!r} is neither a folder nor the number of a version")
    settings = load_settings(home)
    record = open_registry(settings).get(int(version))
    base = _full(base_files(settings, record.base or record.version), dataset)
    if record.base is None:
        return base
    segments = [link.delta for link in chain_of(chain_files(settings, record.version))]
    return Opened(base.full, base.towers.under(Overlay(base.full.users, segments)), record.window.end)


def _full(files: FullVersionFiles, dataset: Dataset) -> Opened:
    return Opened(files, OpenVersion(files, dataset), files.lineage.window.end)
