"""Every row answered by all channels together, by each alone, and by all but each: what they find and show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.merging import FILLER, Item
from pagoda.channels.mixture import OpenMixture
from pagoda.evaluation.channels.known_users import AllowedItems, KnownUsers
from pagoda.evaluation.ranking import ExcludedPairs, Scorer, best
from pagoda.evaluation.relevance import Relevant

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
MERGED = "merged"
"""The list that all channels make together, beside the list of each."""


@dataclass(frozen=True)
class MixtureFound:
    """What lists of one length found and showed, row after row."""

    k: int
    kinds: tuple[str, ...]
    """Of the channels, in the order declared."""
    found: dict[str, BoolArray]
    """By list, `MERGED` and each channel's own best k: bool [pairs] of `Relevant`, whether the item is in it."""
    without: dict[str, BoolArray]
    """By channel: the same of the answer that is merged when this channel gives nothing."""
    shown: dict[str, Int64Array]
    """By list: int64 [items], how many rows have each item in it."""
    had: dict[str, int]
    """By channel: items of all answers that it had among its candidates."""
    shared: dict[frozenset[str], int]
    """By two channels: candidates of all rows that both had."""

    @classmethod
    def nothing(cls, k: int, kinds: tuple[str, ...], pairs: int, items: int) -> MixtureFound:
        """Before any row."""
        lists = (MERGED, *kinds)
        return cls(
            k=k,
            kinds=kinds,
            found={name: np.zeros(pairs, np.bool_) for name in lists},
            without={kind: np.zeros(pairs, np.bool_) for kind in kinds},
            shown={name: np.zeros(items, np.int64) for name in lists},
            had=dict.fromkeys(kinds, 0),
            shared={frozenset(pair): 0 for pair in combinations(kinds, 2)},
        )

    def note(
        self, mixture: OpenMixture, candidates: Mapping[str, list[int]], past: int, pairs: slice, wanted: list[int]
    ) -> None:
        """Add a row.

        Args:
            mixture: Merges.
            candidates: By channel, positions in the catalogue, the best first.
            past: Items that the row's user had.
            pairs: Where what the row is to find stands among all pairs.
            wanted: Positions of these items.
        """
        given = {kind: items[: self.k] for kind, items in candidates.items()}
        answer = mixture.answer(given, past, self.k)
        lists: dict[str, Sequence[Item]] = {MERGED: [one.item for one in answer], **given}
        for name, items in lists.items():
            self.found[name][pairs] = _among(wanted, items)
            self.shown[name][np.asarray(items, np.int64)] += 1
        for kind in self.kinds:
            others = {other: items for other, items in given.items() if other != kind}
            rest = mixture.answer(others, past, self.k)
            self.without[kind][pairs] = _among(wanted, [one.item for one in rest])
            self.had[kind] += sum(kind in one.channels for one in answer)
        for pair in self.shared:
            one, other = pair
            self.shared[pair] += len({*given[one]} & {*given[other]})


def ask_mixture(
    mixture: OpenMixture,
    users: KnownUsers,
    towers: Scorer,
    catalogue: Int64Array,
    *,
    relevant: Relevant,
    excluded: ExcludedPairs,
    at: Sequence[int],
) -> list[MixtureFound]:
    """Ask all channels for each row, and merge what they give as an answer is merged.

    Args:
        mixture: The version's channels.
        users: What they are told of the user of each row.
        towers: Scores of the towers, which are a channel too.
        catalogue: IDs of the items, int64 [items], ascending.
        relevant: What each row is to find.
        excluded: What each row leaves out, in every channel.
        at: Lengths of the answers. Each channel is asked once, for the longest; of it, shorter ones take what is first.

    Memory follows a block of rows times the items, as in `rank`, and the pairs of `relevant`. Time follows the rows: of
    each, one merging for each of `at` and, to leave each channel out, as many more as there are channels.
    """
    found = [MixtureFound.nothing(k, mixture.kinds, len(relevant.items), len(catalogue)) for k in at]
    allowed = AllowedItems(catalogue, excluded)
    firsts = np.searchsorted(relevant.rows, np.arange(len(users) + 1))
    for row, nearest in _by_row(towers, len(users), excluded, max(at)):
        allowed.turn_to(row)
        known = users.of(row)
        given = mixture.candidates(known, allowed, max(at))
        candidates = {FILLER: nearest.tolist()}
        candidates |= {kind: np.searchsorted(catalogue, items).tolist() for kind, items in given.items()}
        pairs = slice(firsts[row], firsts[row + 1])
        for one in found:
            one.note(mixture, candidates, len(known.items), pairs, relevant.items[pairs].tolist())
    return found


def _by_row(scorer: Scorer, rows: int, excluded: ExcludedPairs, k: int) -> Iterator[tuple[int, Int64Array]]:
    """Each row with the best k items by the scorer; one for which no item is left is not among them."""
    for of_items, items, _ in best(scorer, rows, excluded, k):
        firsts = np.flatnonzero(np.diff(of_items, prepend=-1))
        yield from zip(of_items[firsts].tolist(), np.split(items, firsts[1:]), strict=False)


def _among(wanted: Sequence[int], items: Collection[Item]) -> list[bool]:
    there = set(items)
    return [item in there for item in wanted]
