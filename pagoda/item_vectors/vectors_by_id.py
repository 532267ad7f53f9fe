"""Item vectors by ID beside a collection, by which what it finds is scored again.

They are the original ones, which a collection of codes stands for, or those of a cascade's second member. `ids.npy`
(int64 [n], ascending) and `vectors.npy` (float16 [n, dim]) are a part of the generation, and mapped. Vectors of items
that were changed since stand before them; see `changed_columns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.array_files import ArrayWriter, save_array
from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.errors import IntegrityError
from pagoda.item_vectors.reduction import Reduction
from pagoda.item_vectors.scoring import stored_dim
from pagoda.item_vectors.vector_files import ItemVectors

IDS_FILE, VECTORS_FILE = "ids.npy", "vectors.npy"
Ids = NDArray[np.int64]
Vectors = NDArray[np.float16] | NDArray[np.float32]
Scores = NDArray[np.float32]


def number_type(spec: FeatureSpec) -> type[np.float16] | type[np.float32]:
    """What numbers are kept as. Two bytes change a product by less than 0.0005 of the vectors' lengths, by which item
    vectors stay in their range; weights may be beyond it."""
    return np.float32 if spec.rules is not None and spec.rules.weight is not None else np.float16


def write_vectors_by_id(folder: Path, source: ItemVectors, spec: FeatureSpec) -> None:
    """Write the two files into a folder, from what a collection is built from; memory follows a batch, and the IDs."""
    ids: list[Ids] = []
    shape = (source.rows, stored_dim(spec, source.dim))
    with ArrayWriter(folder / VECTORS_FILE, number_type(spec), shape) as writer:
        for block_ids, vectors in source.stored():
            ids.append(block_ids)
            writer.write(vectors)
    save_array(folder / IDS_FILE, np.concatenate([np.empty(0, np.int64), *ids]), np.int64)


class VectorsById:
    """Vectors by item ID. Files may be unlinked meanwhile; what has changed is replaced whole, by any thread."""

    def __init__(self, ids: Path, vectors: Path, reduction: Reduction | None = None) -> None:
        """Map the files.

        Args:
            ids: Of `write_vectors_by_id`.
            vectors: The same.
            reduction: What the collection holds fewer numbers by; None: it holds all.

        Raises:
            IntegrityError: The files are others.
        """
        self.reduction = reduction
        self._vectors: Vectors = _mapped(vectors)
        mapped: Ids = _mapped(ids)
        if self._vectors.ndim != 2 or mapped.shape != self._vectors.shape[:1]:  # noqa: PLR2004
            raise IntegrityError(f"{vectors}: {self._vectors.shape} does not fit the IDs, {mapped.shape}")
        self._places = SortedIds(mapped)
        self._changed: tuple[Ids, Vectors] = np.empty(0, np.int64), self._vectors[:0]

    def change(self, ids: Ids, vectors: Vectors) -> None:
        """Let vectors [m, dim] of changed items, by ascending ID, stand before the others."""
        self._changed = ids, vectors

    def asked(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the collection is asked for queries [q, dim]."""
        return queries if self.reduction is None else self.reduction.of_users(queries)

    def best(self, query: NDArray[np.float32], ids: Ids, scores: Scores, k: int) -> tuple[NDArray[np.int64], Scores]:
        """The best k of what was found.

        Args:
            query: [dim]
            ids: [m]
            scores: [m], as the collection said. Of an item that is not here, added a moment ago, it counts.
            k: Wanted.

        Returns:
            Places in `ids`, best first, and inner products, each [min(k, m)].
        """
        exact = np.array(scores, np.float32)
        if self.reduction is not None:
            exact += query @ self.reduction.mean
        products, there = self.products(query, ids)
        exact[there] = products[there]
        order = np.lexsort((ids, -exact))[:k]
        return order, exact[order]

    def of(self, ids: Sequence[int]) -> dict[int, list[float]]:
        """Vectors by ID; an item that is not here is absent."""
        wanted = np.asarray(ids, np.int64)
        places, there = self._places.find(wanted)
        found = self._vectors[places[there]].astype(np.float32)
        changed, vectors = self._changed
        new = np.isin(changed, wanted)
        kept = [*zip(wanted[there].tolist(), found.tolist(), strict=True)]
        return dict([*kept, *zip(changed[new].tolist(), vectors[new].astype(np.float32).tolist(), strict=True)])

    def products(self, query: NDArray[np.float32], ids: Ids) -> tuple[Scores, NDArray[np.bool_]]:
        """Inner products of a query [dim] with items [m], float32 [m], and which of them are here, bool [m].

        Of one that is not, added a moment ago, the product says nothing.
        """
        products = np.zeros(len(ids), np.float32)
        places, there = self._places.find(ids)
        products[there] = self._vectors[places[there]].astype(np.float32) @ query
        changed, vectors = self._changed
        if len(changed):
            rows = np.minimum(np.searchsorted(changed, ids), len(changed) - 1)
            new = changed[rows] == ids
            products[new] = vectors[rows[new]].astype(np.float32) @ query
            there |= new
        return products, there


def _mapped(path: Path) -> NDArray[Any]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{path}: not readable as vectors ({error})") from error
    # A plain array over the same mapping: numpy's memmap subclass costs microseconds a call.
    plain: NDArray[Any] = mapped.view(np.ndarray)
    return plain


def no_vectors(_collection: str) -> VectorsById | None:
    """None, whatever the collection."""
    return None
