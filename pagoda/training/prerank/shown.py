"""Examples for the pre-ranker: what was shown to users, whether they took it, and what a ranker kept from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.config.negatives import REJECTIONS
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window, from_us
from pagoda.errors import ConfigError, DataError
from pagoda.evaluation.metrics import user_auc
from pagoda.model.encoder import Encoded
from pagoda.prerank.groups import POPULARITY
from pagoda.prerank.inputs import PairInputs, pair_inputs
from pagoda.prerank.items import EncodedItems
from pagoda.training.examples.stream import Block, ExampleStream
from pagoda.version_files.open_version import OpenTowers

SHOWN, REJECTED = "impression", REJECTIONS["rejected"]
OTHERS = (SHOWN, REJECTED)
"""What the stream of examples has beside positives."""
MOST = 300_000
"""Examples in memory, with user vectors of 64 numbers some 150 MB; of more, an even sample is."""
LEAST_SHOWN = 10
"""Of fewer nothing would be held back."""
_REHEARSED = 0.8
_WITHIN_US = 30 * 60 * 1_000_000
"""After which a positive is no answer to having been shown any more."""
_ROWS = 4096
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ShownExamples:
    """n items, each as a user was or might have been shown it."""

    users: Int64Array
    """int64 [n], IDs."""
    times_us: Int64Array
    """int64 [n], ascending."""
    chosen: BoolArray
    """bool [n]"""
    shown: BoolArray
    """bool [n]; False: a ranker rejected it, so it was not chosen."""
    places: Int64Array
    """int64 [n], among `items`."""
    vectors: NDArray[np.float32]
    """float32 [n, D], of the users."""
    features: Encoded
    """By group, but those that `items` has."""
    items: EncodedItems

    def __len__(self) -> int:
        return len(self.users)

    def inputs(self, rows: Int64Array, names: Sequence[str]) -> PairInputs:
        """What these groups read of some rows, int64 [m]; each has its user to itself."""
        places = self.places[rows]
        features = {name: self.features[name][rows] for name in names if name in self.features}
        for name in names:
            if name == POPULARITY:
                features[name] = self.items.popularity(places)
            elif _of_items(name):
                features[name] = self.items.feature(name.partition(".")[2], places)
        return PairInputs(self.vectors[rows], self.items.vectors(places), np.arange(len(rows)), features)

    def gauc(self, scores: NDArray[np.floating], rows: Int64Array) -> float:
        """Mean AUC of the users of some rows, int64 [m], by scores [m], see `user_auc`; one half where nobody took some
        and left others."""
        aucs = user_auc(scores, self.chosen[rows], self.users[rows])
        return float(np.nanmean(aucs)) if np.isfinite(aucs).any() else 0.5

    def cosines(self) -> NDArray[np.float32]:
        """The towers' own score of each, float32 [n]."""
        parts = np.array_split(np.arange(len(self)), -(-len(self) // _ROWS))
        products = [(self.vectors[rows] * self.items.vectors(self.places[rows])).sum(1) for rows in parts]
        return np.concatenate(products)


def shown_examples(
    stream: ExampleStream, towers: OpenTowers, items: EncodedItems, names: Sequence[str], seed: int
) -> ShownExamples:
    """Read what was shown in a stream's window; memory follows a block, and `MOST` examples.

    An impression is chosen, where its user has a positive on its item within half an hour, in the same block. Of what
    was rejected as many are drawn as was shown, so that it is known what is usually not shown at all.

    Args:
        stream: With `OTHERS`, and users and items called by ID.
        towers: Trained.
        items: All of the dataset.
        names: Groups that are wanted.
        seed: The same one draws the same.

    Raises:
        DataError: Nothing that was shown was chosen, or all of it was; or it was shown to one user alone.
    """
    share = min(1.0, MOST / 2 / max(_count(stream.dataset, stream.window), 1))
    stored = [name for name in names if name != POPULARITY and not _of_items(name)]
    parts = []
    for block in stream.blocks(final=True):
        rows, chosen, shown = _taken(block, share, np.random.default_rng((seed, block.number)))
        parts += [
            _examples(block, rows[part], chosen[part], shown[part], towers=towers, items=items, names=stored)
            for part in _slices(len(rows))
        ]
    if not any(part.chosen.any() for part in parts) or all(part.chosen.all() for part in parts):
        raise DataError(
            f"{stream.dataset.path}: of what was shown in {stream.window.key}, all or nothing was followed by a "
            "positive on the same item within half an hour, so prerank has nothing to learn; leave it out"
        )
    joined = _joined(parts)
    if len(np.unique(joined.users[joined.shown])) == 1:
        raise DataError(
            f"{stream.dataset.path}: all that was shown in {stream.window.key} was shown to one user, and prerank "
            "learns by some users what it is worth for others; take a longer window, or leave prerank out"
        )
    return joined


def refuse_few_shown(dataset: Dataset, window: Window) -> None:
    """Refuse a window in which too little was shown for some of it to be held back; it is read no further than that.

    Raises:
        ConfigError: Nothing was shown.
        DataError: Less than `LEAST_SHOWN` was.
    """
    first = next(dataset.batches(window, events=[SHOWN], columns=["timestamp"], batch_rows=LEAST_SHOWN), None)
    if first is None:
        raise ConfigError(
            f"prerank learns from what was shown, but {dataset.path} has no event {SHOWN} in {window.key}; leave it out"
        )
    if len(first) < LEAST_SHOWN:
        raise DataError(
            f"{dataset.path}: {len(first)} impressions in {window.key}, and prerank needs {LEAST_SHOWN} at least to "
            "learn from some and be judged by others; take a longer window, or leave prerank out"
        )


def parts_of(dataset: Dataset, window: Window) -> tuple[Window, Window]:
    """Cut a first version's window where `_REHEARSED` of what was shown in it has been: what its rehearsal learns, and
    what the pre-ranker learns then.

    Raises:
        DataError: All of that was shown at its start.
    """
    before, cut_us = int(_REHEARSED * _count(dataset, window)), window.start_us
    for batch in dataset.batches(window, events=[SHOWN], columns=["timestamp"]):
        if before < len(batch):
            cut_us = batch.column("timestamp").cast(pa.int64())[before].as_py()
            break
        before -= len(batch)
    if cut_us == window.start_us:
        raise DataError(
            f"{dataset.path}: nearly all that was shown in {window.key} was shown at its start, so prerank of a first "
            "version has nothing to learn before; take a longer window, or leave prerank out"
        )
    cut = from_us(cut_us)
    return Window(start=window.start, end=cut), Window(start=cut, end=window.end)


def _count(dataset: Dataset, window: Window) -> int:
    return sum(len(batch) for batch in dataset.batches(window, events=[SHOWN], columns=["timestamp"]))


def _taken(block: Block, share: float, rng: np.random.Generator) -> tuple[Int64Array, BoolArray, BoolArray]:
    """Rows that are examples, int64 [m], which of these were chosen, and which shown, bool [m]."""
    if block.events is None:
        raise ValueError("a stream of positives alone has nothing that was shown")
    answered = answered_within(block.moments.users, block.items, block.moments.times_us, block.events == 0)
    shown = np.flatnonzero(block.events == 1 + OTHERS.index(SHOWN))
    shown = shown[rng.random(len(shown)) < share]
    rejected = np.flatnonzero(block.events == 1 + OTHERS.index(REJECTED))
    rejected = rng.choice(rejected, min(len(rejected), len(shown)), replace=False)
    rows = np.sort(np.concatenate([shown, rejected]))
    is_shown = np.isin(rows, shown)
    return rows, answered[rows] & is_shown, is_shown


def answered_within(users: Int64Array, items: Int64Array, times_us: Int64Array, positive: BoolArray) -> BoolArray:
    """Which of n events its user followed by a positive on the same item within half an hour, bool [n]."""
    order = np.lexsort((positive, times_us, items, users))
    count = len(order)
    # The place in this order of each event's next positive, itself included.
    following = np.where(positive[order], np.arange(count), count)
    following = np.minimum.accumulate(following[::-1])[::-1]
    there = following < count
    then = order[np.minimum(following, count - 1)]
    same = (users[then] == users[order]) & (items[then] == items[order])
    answered = np.zeros(count, np.bool_)
    answered[order] = there & same & (times_us[then] - times_us[order] <= _WITHIN_US)
    return answered


def _examples(
    block: Block,
    rows: Int64Array,
    chosen: BoolArray,
    shown: BoolArray,
    *,
    towers: OpenTowers,
    items: EncodedItems,
    names: Sequence[str],
) -> ShownExamples:
    moments, places, owner = block.moments.take(rows), block.items[rows], np.arange(len(rows))
    vectors = towers.vectors_at(moments)
    read = pair_inputs(names, items, vectors, moments.keys(owner), places=places, owner=owner)
    return ShownExamples(moments.users, moments.times_us, chosen, shown, places, vectors, read.features, items)


def _joined(parts: Sequence[ShownExamples]) -> ShownExamples:
    first = parts[0]

    def end_to_end(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    columns = ("users", "times_us", "chosen", "shown", "places", "vectors")
    features = {name: np.concatenate([part.features[name] for part in parts]) for name in first.features}
    return ShownExamples(**{name: end_to_end(name) for name in columns}, features=features, items=first.items)  # type: ignore[arg-type]


def _slices(rows: int) -> Iterator[slice]:
    return (slice(*ends) for ends in pairwise([*range(0, rows, _ROWS), rows]))


def _of_items(name: str) -> bool:
    return name.startswith("item.")
