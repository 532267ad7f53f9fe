"""What lists of items are by: the hour of the day, or a categorical feature of users or of the context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.channels.base import Known, TableSource
from pagoda.channels.positives import interactions
from pagoda.config.channels import Editorial, Popular
from pagoda.data.dataset import Dataset
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.spec import Categorical, FeatureSpec
from pagoda.errors import ConfigError
from pagoda.model.features.codec import word

HOUR: Final = "hour"
HOURS: Final = tuple(map(str, range(24)))
"""Their words."""
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Situation:
    """Gives a word for each request: an hour, or the value of a feature."""

    by: str
    default: str
    """The word where the value is missing, as the towers read it."""

    def word(self, known: Known) -> str:
        """The word of a request."""
        if self.by == HOUR:
            return str(known.moment_us // _HOUR_US % len(HOURS))
        value = known.values.get(self.by)
        return self.default if value is None else word(value, self.by)


@dataclass(frozen=True)
class SituationColumn:
    """Gives the words of rows of interactions."""

    column: str
    """Of interactions, which they follow from."""
    words: Callable[[pa.Array], pa.Array]
    """That column's values, [n], to words, string [n] without nulls: of each row what `Situation.word` is for it."""


def situation_of(declared: Popular | Editorial, spec: FeatureSpec) -> Situation | None:
    """What a section's `by` means; None where it has none.

    Raises:
        ConfigError: It is nothing that a request and a row have a word for, or two things.
    """
    by, section = declared.by, f"channels: {declared.kind}"
    features = {one.name: one for one in spec.of("user") if isinstance(one, Categorical)}
    if by is None:
        return None
    if by == HOUR and by in features:
        raise ConfigError(f"{section}: by hour is the hour of the day, and a feature has that name; rename it")
    if by != HOUR and by not in features:
        raise ConfigError(
            f"{section}: by {by!r} is neither {HOUR} nor a categorical feature of users or of the context "
            f"(those are: {', '.join(features) or 'none'})"
        )
    return Situation(by, features[by].default if by in features else "")


def column_of(situation: Situation, dataset: Dataset) -> SituationColumn:
    """How rows of `dataset` are read. Of a feature of users, it holds the users' values: 24 bytes a user."""
    if situation.by == HOUR:
        return SituationColumn("timestamp", _hours)
    feature = next(one for one in dataset.spec.of("user") if one.name == situation.by)
    if feature.source == "context":
        return SituationColumn(situation.by, lambda values: pc.fill_null(values, situation.default))
    return SituationColumn("user_id", _of_users(situation, dataset))


def words_of(situation: Situation, source: TableSource) -> frozenset[str]:
    """Words that a request may have, as far as the data shows: all hours; what its users have, or where that comes with
    the request, what all interactions before the window's end had. It reads these whole, in one column."""
    if situation.by == HOUR:
        return frozenset(HOURS)
    feature = next(one for one in source.dataset.spec.of("user") if one.name == situation.by)
    batches = source.dataset.user_batches() if feature.source != "context" else interactions(source, [situation.by])
    found = {word for batch in batches for word in batch.column(situation.by).unique().to_pylist()}
    return frozenset(found - {None} | {situation.default})


def _hours(timestamps: pa.Array) -> pa.Array:
    hours = timestamps.cast(pa.int64()).to_numpy() // _HOUR_US % len(HOURS)
    return pa.array(HOURS).take(pa.array(hours))


def _of_users(situation: Situation, dataset: Dataset) -> Callable[[pa.Array], pa.Array]:
    columns, ids = [], [np.empty(0, np.int64)]
    for batch in dataset.user_batches():
        ids.append(batch.column("user_id").to_numpy())
        columns.append(batch.column(situation.by).dictionary_encode())
    values = pa.chunked_array(columns, pa.dictionary(pa.int32(), pa.string())).unify_dictionaries().combine_chunks()
    users = Slots(np.concatenate(ids))

    def words(user_ids: pa.Array) -> pa.Array:
        slots = users.find(user_ids.to_numpy())
        found = values.take(pa.array(slots, mask=slots == MISSING)).cast(pa.string())
        return pc.fill_null(found, situation.default)

    return words
