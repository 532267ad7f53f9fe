"""Interests that nobody has said: made of what users chose first, so that a tower learns what said ones mean.

A user's are the commonest categories of their first positives in the window. They are shown for positives after these
alone, or they would tell what is asked; and in half of them, so that the tower does without as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import INTERESTS
from pagoda.data.window import Window
from pagoda.model.encoder import Encoder
from pagoda.model.features.codec import PADDING, UNKNOWN
from pagoda.model.table_inputs import catalogue_places
from pagoda.model.user_moments import UserMoments
from pagoda.training.examples.survey import Survey

Int64Array = NDArray[np.int64]
_FIRST, _MOST = 10, 3
"""Positives that interests are made of, and interests of a user."""
_HIDDEN = 0.5
_BATCH_ROWS = 1 << 18
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class MadeInterests:
    """What the feature of interests shows in training; memory follows the window's users."""

    users: Int64Array
    """int64 [u], ascending: IDs."""
    values: Int64Array
    """int64 [u, width]: as the encoder gives them."""
    after_us: Int64Array
    """int64 [u]: the moment of the last positive that they are made of; far away where there are fewer."""
    nobody: Int64Array
    """int64 [1, width]: as the encoder gives them of a user who says none."""
    seed: int

    def shown(self, moments: UserMoments, number: int) -> UserMoments:
        """What block `number` of a pass shows: what users say, what is made for others, or nothing.

        Args:
            moments: Of users by ID.
            number: The draw follows from the seed and this.
        """
        said = moments.profiles[INTERESTS][moments.profile_rows]
        place = np.minimum(np.searchsorted(self.users, moments.users), len(self.users) - 1)
        makes = (self.users[place] == moments.users) & (moments.times_us > self.after_us[place])
        makes &= (said == self.nobody).all(1)
        values = np.where(makes[:, None], self.values[place], said)
        hidden = np.random.default_rng((self.seed, number)).random(len(values), np.float32) < _HIDDEN
        return replace(moments, context=moments.context | {INTERESTS: np.where(hidden[:, None], self.nobody, values)})


def made_interests(
    config: TrainConfig, dataset: Dataset, window: Window, *, found: Survey, encoder: Encoder, items: pa.Table
) -> MadeInterests | None:
    """Make the interests of a window's users; None where nothing is declared.

    Args:
        config: How.
        dataset: Has the window.
        window: What is learned.
        found: Who and what is in the window.
        encoder: Grown to the window; the feature of interests takes all categories for words here.
        items: All items, in the order of the survey's catalogue.
    """
    if config.cold is None or config.cold.users is None:
        return None
    by = config.cold.by
    words = encoder.share_words(by, INTERESTS)
    nobody = encoder.encode_rows("user", [{}])[INTERESTS]
    first, after_us = _first_positives(dataset, window, found)
    categories = encoder.encode_table("item", items)[by].reshape(len(found.catalogue), -1)
    chosen = _commonest(np.where(first[..., None] >= 0, categories[first], PADDING).reshape(len(first), -1))
    values = np.full((len(first), nobody.shape[1]), PADDING)
    width = min(_MOST, values.shape[1])
    values[:, :width] = np.where(chosen > UNKNOWN, words[chosen], PADDING)[:, :width]
    return MadeInterests(found.users, values, after_us, nobody, config.seed)


def _first_positives(dataset: Dataset, window: Window, found: Survey) -> tuple[Int64Array, Int64Array]:
    """The first items of each user as places in the catalogue, int64 [u, first], -1 pads, and when the last of so many
    was chosen, int64 [u]."""
    first = np.full((len(found.users), _FIRST), -1)
    counts, after_us = np.zeros(len(found.users), np.int64), np.full(len(found.users), _NEVER)
    columns = ("user_id", "item_id", "timestamp")
    for batch in dataset.batches(window, events=dataset.spec.positives, columns=columns, batch_rows=_BATCH_ROWS):
        ids = batch.column("user_id").to_numpy()
        user = np.minimum(np.searchsorted(found.users, ids), len(found.users) - 1)
        # A user all of whose positives weigh 0 is not among those found.
        there = np.flatnonzero(found.users[user] == ids)
        order = there[np.argsort(user[there], kind="stable")]
        user = user[order]
        before = np.arange(len(user)) - np.searchsorted(user, user)
        ordinal = counts[user] + before
        taken = ordinal < _FIRST
        rows = order[taken]
        item = catalogue_places(found.catalogue, batch.column("item_id").to_numpy()[rows], dataset)
        first[user[taken], ordinal[taken]] = item
        last = ordinal == _FIRST - 1
        after_us[user[last]] = batch.column("timestamp").cast(pa.int64()).to_numpy()[order[last]]
        counts += np.bincount(user, minlength=len(counts))
    return first, after_us


def _commonest(lists: Int64Array) -> Int64Array:
    """The commonest numbers above `UNKNOWN` of each row [n, width], int64 [n, most]; of equal ones the lower first.

    Where there are fewer, `UNKNOWN` fills up.
    """
    row, place = np.nonzero(lists > UNKNOWN)
    pairs, count = np.unique(np.stack([row, lists[row, place]], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -count, pairs[:, 0]))
    row, number = pairs[order].T
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < _MOST
    found = np.full((len(lists), _MOST), UNKNOWN)
    found[row[kept], rank[kept]] = number[kept]
    return found
