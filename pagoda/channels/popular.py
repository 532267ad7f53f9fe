"""The channel `popular`: what was chosen most often, by everyone or by those in a like situation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.channels.base import Allowed, Int64Array, Known, Ranked, TableSource
from pagoda.channels.item_lists import ItemLists, best, first_allowed
from pagoda.channels.positives import count_by_item, positives
from pagoda.channels.situation import Situation, SituationColumn, column_of, situation_of
from pagoda.config.channels import Popular
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError

Float64Array = NDArray[np.float64]
_PRIOR = 1000.0
"""Positives of everyone's that count in each situation beside its own: μ of Dirichlet smoothing."""
_LISTS = 1000
"""Words that have a list, the commonest; the others have the one for all."""
_CELLS = 1 << 25
"""Counts of several words at once, 256 MiB; what is more takes further passes over the positives."""
_SITUATION = "situation.json"


class PopularKind:
    """Writes and opens the tables of `popular`."""

    def refuse(self, declared: Popular, spec: FeatureSpec) -> None:
        """See `ChannelKind.refuse`."""
        if declared.by is not None:
            situation_of(declared.by, spec)

    def write(self, folder: Path, declared: Popular, source: TableSource) -> None:
        """See `ChannelKind.write`."""
        counts = count_by_item(source, declared.days)
        there = np.flatnonzero(counts)
        items, clicks = source.items[there], counts[there]
        shares = clicks / max(int(clicks.sum()), 1)
        lists: dict[str | None, Ranked] = {None: best(items, shares, declared.kept)}
        if declared.by is not None:
            situation = situation_of(declared.by, source.dataset.spec)
            (folder / _SITUATION).write_bytes(orjson.dumps({"default": situation.default}))
            for word, own in _counts_by_word(items, declared.days, column_of(situation, source.dataset), source):
                lists[word] = best(items, smoothed(own, shares), declared.kept)
        ItemLists.write(folder, lists)

    def open(self, folder: Path, declared: Popular) -> PopularTable:
        """See `ChannelKind.open`."""
        situation = None if declared.by is None else Situation(declared.by, _read_default(folder / _SITUATION))
        return PopularTable(ItemLists.open(folder), situation)


class PopularTable:
    """The lists of one version."""

    def __init__(self, lists: ItemLists, situation: Situation | None) -> None:
        """Answer from `lists`; by nothing, if `situation` is None."""
        self._lists, self._situation = lists, situation
        self.items = lists.items

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """See `ChannelTable.candidates`; a score is a share of positives, in the request's situation if it has one."""
        word = None if self._situation is None else self._situation.word(known)
        return first_allowed(self._lists.of(word), allowed, k)


def smoothed(counts: Int64Array, shares: Float64Array) -> Float64Array:
    """Each item's share of the positives of one situation, float64 [n], where few of them say little.

    Dirichlet smoothing: (c_i + μ p_i) / (Σ c + μ) (Zhai & Lafferty, TOIS 2004, section 2, with items for words). So the
    list of a situation that hardly occurs is the list for all, and what nobody chose in it comes in that one's order.

    Args:
        counts: c: positives of each item in the situation, int64 [n].
        shares: p: of each item among everyone's positives, float64 [n].
    """
    mixed: Float64Array = (counts + _PRIOR * shares) / (counts.sum() + _PRIOR)
    return mixed


def _counts_by_word(
    items: Int64Array, days: float, column: SituationColumn, source: TableSource
) -> Iterator[tuple[str, Int64Array]]:
    """Positives of each of `items` in each situation that has a list."""
    slots = Slots(items)
    at_once = max(1, _CELLS // max(len(items), 1))
    commonest = _commonest(days, column, source)
    for start in range(0, len(commonest), at_once):
        words = commonest[start : start + at_once]
        counts = np.zeros((len(words), len(items)), np.int64)
        named = pa.array(words, pa.string())
        for batch in positives(source, days, ["item_id", column.column]):
            places = slots.find(batch.column("item_id").to_numpy())
            rows = pc.fill_null(pc.index_in(column.words(batch.column(column.column)), named), MISSING).to_numpy()
            there = (places != MISSING) & (rows != MISSING)
            np.add.at(counts, (rows[there], places[there]), 1)
        yield from zip(words, counts, strict=True)


def _commonest(days: float, column: SituationColumn, source: TableSource) -> list[str]:
    counts: Counter[str] = Counter()
    for batch in positives(source, days, [column.column]):
        counts.update(
            {one["values"]: one["counts"] for one in column.words(batch.column(0)).value_counts().to_pylist()}
        )
    return sorted(counts, key=lambda word: (-counts[word], word))[:_LISTS]


def _read_default(path: Path) -> str:
    try:
        default: str = orjson.loads(path.read_bytes())["default"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
    return default
