"""Users at moments as a dataset's tables tell of them: where training, export, evaluation and replay build inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories, Padded
from pagoda.data.layout import features_of
from pagoda.model.encoder import Encoded, Encoder
from pagoda.model.past_texts import past_texts
from pagoda.model.user_inputs import Array, UserKeys

Int64Array = NDArray[np.int64]
_US = 1e6


@dataclass(frozen=True)
class UserMoments:
    """n users, each at a moment."""

    users: Int64Array
    """int64 [n]: IDs, or places in a table."""
    times_us: Int64Array
    """int64 [n]: the moments."""
    histories: Histories
    """As of the moments; items as IDs, or places in a table."""
    profiles: Encoded
    """Features of the distinct users."""
    profile_rows: Int64Array
    """int64 [n]: which row of `profiles` is whose."""
    context: Encoded
    """Features of each moment and of what came with it."""

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: Int64Array) -> UserMoments:
        """Some rows."""
        context = {name: array[rows] for name, array in self.context.items()}
        return replace(
            self,
            users=self.users[rows],
            times_us=self.times_us[rows],
            histories=self.histories.take(rows),
            profile_rows=self.profile_rows[rows],
            context=context,
        )

    def keys(self, rows: Int64Array, length: int | None = None) -> UserKeys[Array]:
        """What a user tower reads of some rows, int64 [B]; histories cut to the last `length` events (default: not)."""
        histories = self.histories.take(rows)
        past = (histories if length is None else histories.last(length)).padded()
        age = np.where(past.mask, (self.times_us[rows][:, None] - past.times_us) / _US, 0).astype(np.float32)
        return self._keys(rows, past, age)

    def keys_along(self, rows: Int64Array, starts: Int64Array, lengths: Int64Array) -> UserKeys[Array]:
        """What a user tower reads along sequences that histories are parts of.

        Args:
            rows: int64 [B], whose vectors are wanted somewhere along the sequences.
            starts: int64 [S], the first event of each sequence among those of `histories`.
            lengths: int64 [S], its events.

        Returns:
            Histories [S, L] are left-aligned, ages float64: from each event to its sequence's newest.
        """
        width = max(int(lengths.max()), 1)
        mask = np.arange(width) < lengths[:, None]
        past = self.histories.at(starts[:, None] + np.arange(width), mask)
        newest = past.times_us[np.arange(len(starts)), np.maximum(lengths - 1, 0)]
        return self._keys(rows, past, np.where(mask, (newest[:, None] - past.times_us) / _US, 0.0))

    def _keys(self, rows: Int64Array, past: Padded, age: NDArray[np.floating]) -> UserKeys[Array]:
        features = {name: array[self.profile_rows[rows]] for name, array in self.profiles.items()}
        features |= {name: array[rows] for name, array in self.context.items()}
        return UserKeys(self.users[rows], past.items, past.mask, age, features, past.kinds)


def user_moments(
    dataset: Dataset,
    encoder: Encoder,
    user_ids: Int64Array,
    times_us: Int64Array,
    *,
    histories: Histories,
    context: pa.Table,
) -> UserMoments:
    """Encode what a dataset has of users.

    Args:
        dataset: Has the profiles; a user whom it lacks has no known feature.
        encoder: Encodes them.
        user_ids: int64 [n].
        times_us: int64 [n].
        histories: Of each user as of the moment, items by ID.
        context: n rows, with the raw context features as columns; what is absent is missing.
    """
    if (past_text := dataset.spec.past_text) is not None:
        texts = past_texts(dataset, past_text, histories, user_ids, times_us)
        context = context.append_column(past_text.name, texts)
    nowhere = np.zeros(len(user_ids), np.int64)
    if not features_of(dataset.spec, "users"):
        encoded = encoder.encode_table("user", context, times_us, source="context")
        return UserMoments(user_ids, times_us, histories, {}, nowhere, encoded)
    table = dataset.users(np.unique(user_ids))
    profiles, profile_rows = _profiles(table, encoder), _rows_of(table, user_ids)
    for name in dataset.spec.zone_features:
        if name in table.column_names:
            rows = pa.array(profile_rows - 1, mask=profile_rows == 0)
            context = context.append_column(name, table.column(name).take(rows))
    encoded = encoder.encode_table("user", context, times_us, source="context")
    return UserMoments(user_ids, times_us, histories, profiles, profile_rows, encoded)


def _profiles(table: pa.Table, encoder: Encoder) -> Encoded:
    """Features of users after those of somebody who is not among them."""
    encoded = encoder.encode_table("user", table, source="table")
    nobody = encoder.encode_rows("user", [{}])
    return {name: np.concatenate([nobody[name], array]) for name, array in encoded.items()}


def _rows_of(table: pa.Table, user_ids: Int64Array) -> Int64Array:
    """Which row of `_profiles` is of each user."""
    known = table.column("user_id").to_numpy()
    if not len(known):
        return np.zeros(len(user_ids), np.int64)
    place = np.minimum(np.searchsorted(known, user_ids), len(known) - 1)
    return np.where(known[place] == user_ids, place + 1, 0)
