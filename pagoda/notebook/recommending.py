"""Exact search in process, for as many users as somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.seen_items import SeenState
from pagoda.data.ids import hash_ids
from pagoda.data.window import Window, to_us
from pagoda.errors import RequestError
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import NOTHING_EXCLUDED, ExcludedPairs, best
from pagoda.item_vectors.scoring import CENTRE, SCALE, rule_columns, stored_vectors
from pagoda.model.table_inputs import histories_at, no_histories
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]


class ExactRecommender:
    """A version's item vectors beside the dataset's items."""

    def __init__(self, files: FullVersionFiles, towers: OpenVersion, dataset: Dataset) -> None:
        self._files, self._towers, self._dataset = files, towers, dataset

    @cached_property
    def _items(self) -> pa.Table:
        return self._dataset.items()

    @cached_property
    def _item_ids(self) -> Int64Array:
        ids: Int64Array = self._items["item_id"].to_numpy()
        return ids

    @cached_property
    def _vectors(self) -> Float32Array:
        """What users' vectors are multiplied with, float32 [items, dim], with rules dim + 1, as a collection has it."""
        vectors, spec = self._towers.item_vectors(), self._dataset.spec
        if spec.rules is None:
            return vectors
        columns = rule_columns(spec, self._items, self._files.shares(self._item_ids))
        return stored_vectors(vectors, pa.RecordBatch.from_pydict(columns))

    def recommend(
        self, user_ids: Sequence[int | str] | pa.Array, k: int, moment: datetime, *, exclude_seen: bool
    ) -> pa.Table:
        """See `Version.recommend`."""
        if k < 1:
            raise RequestError(f"k: must be at least 1 (got {k})")
        if self._towers.cascade and self._dataset.spec.rules:
            raise RequestError("a cascade with rules is not searched here; ask the platform that serves it")
        given, ids = self._ids(user_ids)
        times = np.full(len(ids), to_us(moment), np.int64)
        seen = self._seen(ids, times, moment) if exclude_seen else NOTHING_EXCLUDED
        queries, shift = self._queries(ids, times, moment)
        found = list(best(scorer_of(self._towers, queries, self._vectors, seen), len(ids), seen, k))
        rows, places = (np.concatenate([part[column] for part in found]) for column in (0, 1))
        scores = np.concatenate([part[2] for part in found]) + np.float32(shift)
        return self._table(given, rows, places, scores)

    def _ids(self, user_ids: Sequence[int | str] | pa.Array) -> tuple[pa.Array, Int64Array]:
        """The IDs as they were given, and int64 [n]."""
        wanted = pa.int64() if self._dataset.spec.id_type == "int64" else pa.string()
        try:
            given = pa.array(user_ids).cast(wanted)
        except (pa.ArrowException, TypeError) as error:
            raise RequestError(f"user_ids: IDs of {self._dataset.path} are {wanted} ({error})") from error
        if given.null_count:
            raise RequestError(f"user_ids: {given.null_count} are missing")
        return given, hash_ids(given) if wanted == pa.string() else given.to_numpy()

    def _queries(self, ids: Int64Array, times: Int64Array, moment: datetime) -> tuple[Float32Array, float]:
        """Users' vectors as the items are asked, and what is added to each score."""
        state = histories_at(self._dataset, moment, None, None)
        histories = state.read(ids, times) if state else no_histories(len(ids))
        vectors, rules = self._towers.user_vectors(ids, times, histories), self._dataset.spec.rules
        if rules is None:
            return vectors, 0.0
        last = np.full((*vectors.shape[:-1], 1), rules.penalty / SCALE, np.float32)
        return np.concatenate([vectors, last], axis=-1), rules.penalty * CENTRE

    def _seen(self, ids: Int64Array, times: Int64Array, moment: datetime) -> ExcludedPairs:
        state, start = SeenState(np.unique(ids)), self._dataset.span().start
        if start < moment:
            window, columns = Window(start=start, end=moment), ["user_id", "item_id", "timestamp"]
            for batch in self._dataset.batches(window, events=self._dataset.spec.positives, columns=columns):
                state.push(*(batch[name].cast(pa.int64()).to_numpy() for name in columns))
        rows, items = state.seen(ids, times)
        return ExcludedPairs(rows, np.searchsorted(self._item_ids, items))

    def _table(self, users: pa.Array, rows: Int64Array, places: Int64Array, scores: Float32Array) -> pa.Table:
        spec, items = self._dataset.spec, self._items
        key = "item_key" if spec.id_type == "string" else "item_id"
        # Rows come in order, so a row's rank is its distance from the first of its user.
        ranks = np.arange(1, len(rows) + 1) - np.searchsorted(rows, rows)
        title = {} if spec.title is None else {"title": items[spec.title].take(places)}
        return pa.table(
            {"user_id": users.take(rows), "rank": ranks, "item_id": items[key].take(places), **title, "score": scores}
        )
