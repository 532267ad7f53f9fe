"""What the item log says, brought into the collections of generations by the item towers of their full versions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.mirror import open_local_or_mirrored
from pagoda.data.spec import FeatureSpec
from pagoda.generations.manifest import Manifest, OriginalVectors, StoredVectors
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.generations.versions import DATASET
from pagoda.index.factory import open_collections
from pagoda.item_changes.changes import ItemChanges, ItemId, int64_ids, items_table
from pagoda.item_changes.log import open_item_log
from pagoda.item_changes.records import ItemChange
from pagoda.item_changes.undo import by_id
from pagoda.item_vectors.changed_columns import VECTORS, ChangedColumns
from pagoda.item_vectors.fields import ITEM_ID
from pagoda.item_vectors.reduction import Reduction
from pagoda.item_vectors.scoring import stored_batch, with_vectors
from pagoda.item_vectors.texts import texts_of, with_texts
from pagoda.item_vectors.vector_files import vectors_batch, vectors_of
from pagoda.item_vectors.vectors_by_id import number_type
from pagoda.settings import Settings
from pagoda.storage.copies import fetch, local_path, verified
from pagoda.storage.inventory import select
from pagoda.version_files.full import (
    CATEGORY_MEANS,
    CONFIG,
    ENCODER,
    ITEMS,
    POPULARITY,
    TOWERS,
    FullVersionFiles,
)

# Where there is no change to replay, nobody waits for PyTorch.
if TYPE_CHECKING:
    from pagoda.model.towers.ensemble import AnyTowers


class ItemReplay:
    """Item towers of full versions, and the collections that their vectors are in."""

    def __init__(self, settings: Settings, log: ReleaseLog) -> None:
        self._log, self._scratch = log, settings.home / "work" / "items"
        self._collections = open_collections(settings)
        self._towers: dict[int, tuple[FullVersionFiles, AnyTowers]] = {}
        self._reductions: dict[int, Reduction] = {}

    def close(self) -> None:
        """Close the connection."""
        self._collections.close()

    def apply(self, manifest: Manifest, changes: Sequence[ItemChange], head: int) -> None:
        """Bring changes into a generation's collection; doing it again does no harm.

        Args:
            manifest: The generation.
            changes: All after those that were brought in before, by this process or never.
            head: Number of the item log's last record among them.

        Raises:
            UnavailableError: The index or the artifacts' store does not answer.
            IntegrityError: The collection is gone, or the version's files are damaged.
        """
        gone = [change.item_id for change in changes if change.features is None]
        if gone:
            # First: an item is removed for a reason, and a vector can wait.
            self._collections.delete(manifest.collection, int64_ids(manifest.spec, gone))
        if stay := [change for change in changes if change.features is not None]:
            self._bring(manifest, items_table(manifest.spec, stay), head)

    def _bring(self, manifest: Manifest, table: pa.Table, head: int) -> None:
        """Put items as they are now into the collection, what lies beside it first: who finds them reads that, too."""
        from pagoda.version_files.open_version import item_vectors
        from pagoda.version_files.preranked_items import preranked

        files, towers = self._open(manifest.full_version)
        vectors = item_vectors(files, towers, table)
        shares = files.shares(table.column("item_id").to_numpy()) if manifest.spec.rules else None
        if prerank := manifest.prerank:
            ids, columns = preranked(files, prerank.groups, table, vectors)
            ChangedColumns(prerank.items[0].uri).add(head, ids, columns)
        if cascade := manifest.cascade:
            vectors, second = np.split(vectors, [-cascade.dim], axis=1)
            # What is found and not among them is left out of answers.
            _put_beside(cascade, head, manifest.spec, _stored(manifest.spec, table, second, shares))
        stored = _stored(manifest.spec, table, vectors, shares)
        if manifest.originals:
            # What is found by codes and not among them would have the scores of codes.
            _put_beside(manifest.originals, head, manifest.spec, stored)
            stored = self._reduced(manifest.full_version, manifest.originals, stored)
        if manifest.texts:
            stored = with_texts(stored, texts_of(table, manifest.texts))
        self._collections.upsert(manifest.collection, stored)

    def _reduced(self, version: int, originals: OriginalVectors, rows: pa.RecordBatch) -> pa.RecordBatch:
        """What the collection holds of them."""
        if (file := originals.reduction) is None:
            return rows
        if (reduction := self._reductions.get(version)) is None:
            copy = self._scratch / f"{file.checksum.replace(':', '-')}.npz"
            reduction = self._reductions[version] = Reduction.read(verified(file.uri, file.checksum, copy))
        return with_vectors(rows, reduction.of_items(vectors_of(rows)))

    def keep(self, full_versions: set[int]) -> None:
        """Forget the towers of all others."""
        self._towers = {version: opened for version, opened in self._towers.items() if version in full_versions}
        self._reductions = {version: maps for version, maps in self._reductions.items() if version in full_versions}

    def _open(self, version: int) -> tuple[FullVersionFiles, AnyTowers]:
        if version not in self._towers:
            files = FullVersionFiles(self._folder(version), Path())
            self._towers[version] = (files, files.towers())
        return self._towers[version]

    def _folder(self, version: int) -> Path:
        """The version's files on this machine: where they are, or a copy of what the item tower needs."""
        record = self._log.state().version(version)
        place = local_path(record.uri)
        if place is not None:
            return place
        wanted = (ENCODER, CONFIG, TOWERS, ITEMS, POPULARITY)
        cold = (CATEGORY_MEANS,) if CATEGORY_MEANS in record.files else ()
        return fetch(record.uri, select(record.files, (*wanted, *cold)), self._scratch / str(version))


def _stored(
    spec: FeatureSpec, items: pa.Table, vectors: NDArray[np.float32], shares: NDArray[np.float64] | None
) -> pa.RecordBatch:
    """Items [n] with their vectors [n, dim] as a collection stores them."""
    return stored_batch(spec, vectors_batch(spec, items, vectors, shares))


def _put_beside(files: StoredVectors, head: int, spec: FeatureSpec, rows: pa.RecordBatch) -> None:
    changed = {VECTORS: vectors_of(rows).astype(number_type(spec))}
    ChangedColumns(files.vectors.uri).add(head, rows[ITEM_ID].to_numpy(), changed)


def imported_items(settings: Settings, dataset: str, ids: Collection[ItemId]) -> dict[ItemId, dict[str, Any]]:
    """Items as a dataset was imported with them, by ID, without what the item log made of them.

    Args:
        settings: Of this installation.
        dataset: Folder or URL; empty: the one that the stable version was trained on.
        ids: As callers know them; unknown ones are left out of the answer.
    """
    data = open_local_or_mirrored(
        dataset or dataset_of_the_stable(settings, open_log(settings)), settings.home / "datasets"
    )
    return by_id(data.imported_items(int64_ids(data.spec, list(ids))).to_pylist())


def dataset_of_the_stable(settings: Settings, log: ReleaseLog) -> str:
    """The dataset that the stable version was trained on; where none is, the one that the settings name.

    Raises:
        ConfigError: They name none either.
    """
    state = log.state()
    version = state.version(state.generations[state.stable].full_version) if state.stable else None
    return settings.dataset(version.tags.get(DATASET, "") if version else "")


def replay(settings: Settings, log: ReleaseLog, manifest: Manifest) -> int:
    """Bring all that the item log says into a collection that was built without it; returns the last record's number.

    Raises:
        UnavailableError: A server or store does not answer.
    """
    log_of_items, changes, items = open_item_log(settings), ItemChanges(), ItemReplay(settings, log)
    try:
        done = -1
        # Again for what came meanwhile: the worker may have brought it in before the older changes from here.
        while done < changes.head:
            done = changes.head
            changes.take(log_of_items.records(done))
            items.apply(manifest, changes.after(done), changes.head)
    finally:
        items.close()
    return changes.head
