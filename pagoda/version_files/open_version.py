"""A version opened for a dataset: vectors of users and items in process, for evaluation, export and checks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.config.ensemble import CascadeShape
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.embeddings.category_means import CategoryMeans
from pagoda.model.encoder import Encoder
from pagoda.model.tensors import tensors
from pagoda.model.towers.ensemble import AnyTowers
from pagoda.model.user_inputs import RowLookup
from pagoda.model.user_moments import UserMoments, user_moments
from pagoda.version_files.full import FullVersionFiles

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
_ROWS = 4096


class OpenTowers:
    """Towers and ID rows over a dataset's profiles and items."""

    def __init__(
        self,
        encoder: Encoder,
        towers: AnyTowers,
        users: RowLookup,
        items: RowLookup,
        dataset: Dataset,
        *,
        category_means: CategoryMeans | None = None,
    ) -> None:
        """Open towers that are ready for inference; `dataset` has the users' profiles and the items.

        What `items` lacks has a row of `category_means` in the item tower.
        """
        self._encoder, self._towers, self._dataset = encoder, towers, dataset
        self._users, self._items, self._category_means = users, items, category_means

    def knows(self, user_ids: Int64Array) -> NDArray[np.bool_]:
        """Which users have an ID row of their own, bool [n]."""
        return self._users.lookup(user_ids)[1]

    @property
    def cascade(self) -> CascadeShape | None:
        """How vectors are read where the version is a cascade; those of both its members lie end to end."""
        return self._towers.cascade

    def item_vectors(self) -> Float32Array:
        """Vectors float32 [items, dim] of `Dataset.items()`, in its order."""
        items = self._dataset.items()
        return _item_vectors(self._encoder, self._towers, self._items, items, self._category_means)

    def user_vectors(
        self,
        user_ids: Int64Array,
        timestamps_us: Int64Array,
        histories: Histories,
        context: pa.Table | None = None,
    ) -> Float32Array:
        """Vectors of users as of given moments.

        Args:
            user_ids: int64 [n]; one without an ID row or profile is answered by what is known of them.
            timestamps_us: int64 [n].
            histories: Of each row as of its moment, at least as long as the version's own; items by ID.
            context: n rows with the raw context features as columns; what is absent is missing.

        Returns:
            float32 [n, dim]; of a version with several interests [n, interests, dim].
        """
        given = pa.table({"user_id": user_ids, **({} if context is None else dict(_columns(context)))})
        moments = user_moments(
            self._dataset, self._encoder, user_ids, timestamps_us, histories=histories, context=given
        )

        return self.vectors_at(moments)

    def vectors_at(self, moments: UserMoments) -> Float32Array:
        """The same of moments that are encoded already, with users and items of histories by ID."""
        # Histories of one length lie side by side, since a rectangle is as wide as its longest.
        lengths = moments.histories.ends - moments.histories.starts
        order = np.argsort(lengths, kind="stable")

        def compute(part: slice) -> Tensor:
            longest = int(lengths[order[part]].max(initial=1))
            keys = moments.keys(order[part], min(longest, self._towers.history_length))
            vectors: Tensor = self._towers.user(
                *keys.tensors().with_rows(keys.id_rows(self._users), keys.history_rows(self._items))
            )
            return vectors

        interests, dim = self._towers.user.interests, self._towers.dim
        shape = (len(moments), dim) if interests == 1 else (len(moments), interests, dim)
        vectors = np.empty(shape, np.float32)
        vectors[order] = _by_parts(shape, compute)
        return vectors


class OpenVersion(OpenTowers):
    """A full version over a dataset's profiles and items."""

    def __init__(self, files: FullVersionFiles, dataset: Dataset) -> None:
        """Open `files`; `dataset` has the users' profiles and the items.

        Raises:
            IntegrityError: A file is missing or damaged.
        """
        tables = files.users, files.items
        super().__init__(files.encoder, files.towers(), *tables, dataset, category_means=files.category_means)

    def under(self, users: RowLookup) -> OpenVersion:
        """The same version with other user-ID rows, such as a generation sees: its base's under delta segments."""
        opened = copy.copy(self)
        opened._users = users
        return opened


def item_vectors(files: FullVersionFiles, towers: AnyTowers, items: pa.Table) -> Float32Array:
    """Vectors of items; one without an ID row is known by its features.

    Args:
        files: The full version.
        towers: Its towers.
        items: n rows like those of `Dataset.items()`.

    Returns:
        float32 [n, dim].
    """
    return _item_vectors(files.encoder, towers, files.items, items, files.category_means)


def _item_vectors(
    encoder: Encoder, towers: AnyTowers, table: RowLookup, items: pa.Table, means: CategoryMeans | None
) -> Float32Array:
    ids = items.column("item_id").to_numpy()
    encoded = encoder.encode_table("item", items)

    def compute(part: slice) -> Tensor:
        rows, found = table.lookup(ids[part])
        if means is not None and not found.all():
            rows[~found] = means.of_items(encoded[means.by][part][~found])
        vectors: Tensor = towers.item(torch.from_numpy(rows), tensors(encoded, part))
        return vectors

    return _by_parts((len(ids), towers.dim), compute)


def _by_parts(shape: tuple[int, ...], compute: Callable[[slice], Tensor]) -> Float32Array:
    """Bound memory to a part's inputs."""
    vectors = np.empty(shape, np.float32)
    with torch.inference_mode():
        for start in range(0, len(vectors), _ROWS):
            part = slice(start, min(start + _ROWS, len(vectors)))
            vectors[part] = compute(part).numpy()
    return vectors


def _columns(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    return zip(table.column_names, table.columns, strict=True)
