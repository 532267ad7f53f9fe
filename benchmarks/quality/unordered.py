"""Sets of pairs without order: a user has many items held out, and is asked by all the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept_run import KeptRun, UserValues
from benchmarks.quality.protocol import sizes_of, trained
from benchmarks.quality.settings import HISTORY, Tower, unordered_settings
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.data.imports.sequences import UserSequences, import_sequences, read_sequences
from pagoda.data.partitions import timestamps_us
from pagoda.data.spec import FeatureSpec, History
from pagoda.errors import ConfigError
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import ExcludedPairs
from pagoda.evaluation.relevance import Relevant, find
from pagoda.training.full.loop import Progress
from pagoda.version_files.open_version import OpenVersion

_METRICS = ("hr@10", "ndcg@10", "recall@20", "ndcg@20")
_HELD_OUT = 0.1
Int64Array = NDArray[np.int64]
Pairs = tuple[Int64Array, Int64Array]
"""Users and items, int64 [n] each."""


class Unordered:
    """Learns a file of pairs, and asks for those of another: the test. Without one, for a tenth of the file's own.

    The order of a line says nothing, so each user's items are shuffled, once for all seeds.
    """

    def __init__(self, source: Path, test: Path | None, folder: Path) -> None:
        """Import what is learned into the new `folder`.

        Raises:
            DataError: A file is no file of sequences.
        """
        self._what = "validation" if test is None else "test"
        pairs = _shuffled(_pairs(read_sequences(source)))
        learned, held_out = _cut(pairs) if test is None else (pairs, _pairs(read_sequences(test)))
        self._held_out = _without(held_out, learned)
        lines = folder.with_suffix(".txt")
        _write_lines(learned, lines)
        import_sequences(folder, lines, FeatureSpec(history=History(length=HISTORY)))
        self._dataset = Dataset.open(folder)
        self._sizes = sizes_of(self._dataset, self._dataset.span())

    def config(self, tower: Tower, seed: int) -> TrainConfig:
        """See `QualityProtocol`; where no order is, the mean tower is the only one that reads none."""
        if tower != "mean":
            raise ConfigError(
                f"tower {tower!r} reads the order of a history, but --unordered says there is none; take mean"
            )
        return unordered_settings(self._sizes).model_copy(update={"seed": seed})

    def run(self, config: TrainConfig, folder: Path, progress: Progress) -> KeptRun:
        """See `QualityProtocol`."""
        version, facts = trained(self._dataset, self._dataset.span(), config, folder, progress)
        return KeptRun({self._what: self._ask(version)}, facts)

    def _ask(self, version: OpenVersion) -> UserValues:
        """Every user with something to find, after all that is learned."""
        state, end_us = HistoryState(HISTORY), self._dataset.span().end_us
        parts = []
        for batch in self._dataset.batches():
            columns = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
            state.push(*columns, timestamps_us(batch))
            parts.append(columns)
        had_users, had_items = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        catalogue = self._dataset.items().column("item_id").to_numpy()
        # Whom nothing was learned of cannot be asked.
        known = np.isin(self._held_out[0], had_users)
        users, rows = np.unique(self._held_out[0][known], return_inverse=True)
        relevant = _relevant(rows, self._held_out[1][known], catalogue)
        times = np.full(len(users), end_us)
        vectors = version.user_vectors(users, times, state.read(users, times))
        had = _had(users, had_users, np.searchsorted(catalogue, had_items))
        return UserValues(
            users, find(scorer_of(version, vectors, version.item_vectors(), had), relevant, had, 1).metrics(_METRICS)
        )


def _pairs(found: UserSequences) -> Pairs:
    """Each pair once, by user."""
    users = np.repeat(found.users, found.lengths)
    distinct = np.unique(np.stack([users, found.items], axis=1), axis=0)
    return distinct[:, 0], distinct[:, 1]


def _shuffled(pairs: Pairs) -> Pairs:
    order = np.random.default_rng(0).permutation(len(pairs[0]))
    by_user = order[np.argsort(pairs[0][order], kind="stable")]
    return pairs[0][by_user], pairs[1][by_user]


def _cut(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """What is learned, and what is held out: of each user, a tenth, as near as whole items come to it."""
    users, items = pairs
    _, first, row, counts = np.unique(users, return_index=True, return_inverse=True, return_counts=True)
    # Shuffled already: the last of each user are any.
    held = np.arange(len(users)) - first[row] >= counts[row] - np.rint(_HELD_OUT * counts[row])
    return (users[~held], items[~held]), (users[held], items[held])


def _without(pairs: Pairs, learned: Pairs) -> Pairs:
    """The pairs that are not among those that are learned: what a user had is not to be found again."""
    both = np.stack([np.concatenate(columns) for columns in zip(learned, pairs, strict=True)], axis=1)
    _, place = np.unique(both, axis=0, return_inverse=True)
    new = ~np.isin(place[len(learned[0]) :], place[: len(learned[0])])
    return pairs[0][new], pairs[1][new]


def _write_lines(pairs: Pairs, path: Path) -> None:
    distinct, first = np.unique(pairs[0], return_index=True)
    with path.open("w") as file:
        for user, items in zip(distinct.tolist(), np.split(pairs[1], first[1:]), strict=True):
            file.write(" ".join(map(str, [user, *items.tolist()])) + "\n")


def _relevant(rows: Int64Array, items: Int64Array, catalogue: Int64Array) -> Relevant:
    order = np.argsort(rows, kind="stable")
    place = np.minimum(np.searchsorted(catalogue, items[order]), len(catalogue) - 1)
    there = catalogue[place] == items[order]
    return Relevant(rows[order][there], place[there], np.bincount(rows))


def _had(users: Int64Array, had_users: Int64Array, items: Int64Array) -> ExcludedPairs:
    asked = np.isin(had_users, users)
    rows, places = np.searchsorted(users, had_users[asked]), items[asked]
    order = np.argsort(rows, kind="stable")
    return ExcludedPairs(rows[order], places[order])
