"""Lists of items, best first, one a word: files that are written once and mapped."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from pagoda.channels.base import NOTHING, Allowed, Int64Array, Ranked, anything
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.errors import IntegrityError

_NAMES, _IDS, _SCORES = "lists.json", "ids.npy", "scores.npy"


class ItemLists:
    """A list for each of some words, and one for all, where it was written."""

    def __init__(self, lists: Mapping[str | None, Ranked], items: Int64Array) -> None:
        """Hold `lists`, whose `items` follow one another; that of None is the one for all."""
        self._lists = lists
        self.items = items
        """Of all lists, int64 [m], an item as often as lists have it; where mapped, pages that processes share."""

    @classmethod
    def write(cls, folder: Path, lists: Mapping[str | None, Ranked]) -> None:
        """Write `lists` into `folder`, which has none."""
        lengths = [len(ranked.ids) for ranked in lists.values()]
        ids = np.concatenate([NOTHING.ids, *(one.ids for one in lists.values())])
        save_array(folder / _IDS, ids, np.int64)
        scores = np.concatenate([NOTHING.scores, *(one.scores for one in lists.values())])
        save_array(folder / _SCORES, scores, np.float32)
        (folder / _NAMES).write_bytes(orjson.dumps({"names": list(lists), "lengths": lengths}))

    @classmethod
    def open(cls, folder: Path) -> ItemLists:
        """Map what `write` wrote.

        Raises:
            IntegrityError: A file is missing or damaged.
        """
        names, lengths = _read_names(folder / _NAMES)
        ids = open_array(folder / _IDS, np.int64, (sum(lengths),))
        scores = open_array(folder / _SCORES, np.float32, (sum(lengths),))
        spans = pairwise(accumulate(lengths, initial=0))
        lists = {name: Ranked(ids[slice(*span)], scores[slice(*span)]) for name, span in zip(names, spans, strict=True)}
        return cls(lists, ids)

    def of(self, word: str | None) -> Ranked:
        """The list of a word; the one for all where it has none."""
        return self._lists.get(word) or self._lists.get(None, NOTHING)

    def in_order(self) -> list[Ranked]:
        """All lists, in the order in which they were written."""
        return list(self._lists.values())


def best(items: Int64Array, scores: NDArray[np.floating], kept: int) -> Ranked:
    """The `kept` items with the highest scores, of equal ones the lower ID first.

    Args:
        items: int64 [n], ascending.
        scores: Of each, [n].
        kept: How many.
    """
    if kept < len(items):  # Sorts no more than it must: a catalogue is sorted once a list.
        least = np.partition(scores, len(scores) - kept)[len(scores) - kept]
        there = np.flatnonzero(scores >= least)
        items, scores = items[there], scores[there]
    order = np.argsort(-scores, kind="stable")[:kept]
    return Ranked(items[order], scores[order].astype(np.float32))


def first_allowed(ranked: Ranked, allowed: Allowed, k: int) -> Ranked:
    """The first k that may stand in the answer. Few are asked about, as long as most of them may."""
    if allowed is anything:
        return Ranked(ranked.ids[:k], ranked.scores[:k])
    found: list[Int64Array] = []
    start, size, missing = 0, 2 * k, k
    while missing > 0 and start < len(ranked.ids):
        there = allowed(ranked.ids[start : start + size])
        places = start + np.flatnonzero(there)[:missing]
        found.append(places)
        start, size, missing = start + size, 2 * size, missing - len(places)
    if not found:
        return NOTHING
    chosen = np.concatenate(found)
    return Ranked(ranked.ids[chosen], ranked.scores[chosen])


def _read_names(path: Path) -> tuple[list[str | None], list[int]]:
    try:
        content = orjson.loads(path.read_bytes())
        names, lengths = content["names"], content["lengths"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
    if len(names) != len(lengths):
        raise IntegrityError(f"{path}: names {len(names)} lists and {len(lengths)} lengths")
    return names, lengths
