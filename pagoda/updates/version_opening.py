"""Any version, opened for a dataset: of a folder or registered, full or incremental."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pagoda.channels.factory import TABLES, with_table
from pagoda.channels.mixture import OpenMixture, open_mixture
from pagoda.data.dataset import Dataset
from pagoda.embeddings.overlay import Overlay
from pagoda.errors import RequestError
from pagoda.registry.factory import open_registry
from pagoda.settings import Settings, load_settings
from pagoda.training.full.update import STATE, VERSION, open_version
from pagoda.updates.incremental import scratch_of
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
    mixture: OpenMixture | None
    """Its channels; None where it declares none."""


def open_any(version: str, home: Path | None, dataset: Dataset) -> Opened:
    """Open the version of this number, its files fetched once, or of the folder that `pagoda train full` left.

    An incremental version is its base with the user rows that it and those before it on that base have changed.

    Raises:
        RequestError: There is no such version.
        IntegrityError: A file is missing or damaged.
    """
    if (folder := Path(version)).is_dir():
        files = open_version(folder) if (folder / VERSION).is_dir() else FullVersionFiles(folder, folder / STATE)
        return _full(files, dataset, files.mixture())
    if not version.isdecimal():
        raise RequestError(f"--version {version!r} is neither a folder nor the number of a version")
    settings = load_settings(home)
    record = open_registry(settings).get(int(version))
    files = base_files(settings, record.base or record.version)
    base = _full(files, dataset, _mixture(settings, record.base or record.version, files))
    if record.base is None:
        return base
    segments = [link.delta for link in chain_of(chain_files(settings, record.version))]
    return replace(base, towers=base.towers.under(Overlay(base.full.users, segments)), learned_until=record.window.end)


def _full(files: FullVersionFiles, dataset: Dataset, mixture: OpenMixture | None) -> Opened:
    return Opened(files, OpenVersion(files, dataset), files.lineage.window.end, mixture)


def _mixture(settings: Settings, base: int, files: FullVersionFiles) -> OpenMixture | None:
    """A registered version's channels; their tables are fetched once, and here alone: no update reads them."""
    if not files.config.channels:
        return None
    folder = scratch_of(settings, base) / TABLES
    if with_table(files.config.channels) and not folder.exists():
        open_registry(settings).fetch(base, folder, (TABLES,))
    return open_mixture(folder / TABLES, files.config.channels, files.config.merging)
