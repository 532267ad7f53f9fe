"""The pre-ranker's part in a full update: it learns when the towers are done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig
from pagoda.config.training import TrainConfig
from pagoda.data.history.history_state import HistoryState
from pagoda.data.window import Window
from pagoda.embeddings.table import IdTable
from pagoda.model.encoder import Encoder
from pagoda.model.table_inputs import Int64Array, histories_at
from pagoda.prerank.items import EncodedItems, columns_of
from pagoda.training.examples.stream import ExampleStream
from pagoda.training.examples.survey import Survey
from pagoda.training.full.learning import learn_window
from pagoda.training.full.preparation import Prepared, prepare
from pagoda.training.full.validation import held_back
from pagoda.training.full.version_writer import opened
from pagoda.training.full.warm_start import histories_before
from pagoda.training.learner.checkpoints import checkpoints_in
from pagoda.training.prerank.shown import OTHERS, parts_of
from pagoda.training.prerank.training import TrainedPreRanker, train_preranker
from pagoda.version_files.full import FullVersionFiles, smoothed_shares
from pagoda.version_files.open_version import OpenTowers, OpenVersion


@dataclass(frozen=True)
class _Before:
    """What was known before what the pre-ranker learns from: by towers that have not learned what was clicked there."""

    towers: OpenTowers
    encoder: Encoder
    """By which they read users."""
    popularity: NDArray[np.float64]
    """As in `columns_of`, float64 [items]."""
    window: Window
    """What it learns from."""
    histories: HistoryState | None
    """As of its start."""
    alike: bool
    """Whether the version's vectors lie where the towers' own lie."""


def trained_preranker(
    prepared: Prepared,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    forgotten: Int64Array,
) -> TrainedPreRanker | None:
    """Train the pre-ranker that the configuration declares, on the same window; None: it declares none.

    Raises:
        ConfigError: It names a group of features that there is not.
        DataError: Nothing that was shown was chosen, or all of it was.
        GateError: The loss is not finite.
    """
    if config.prerank is None:
        return None
    told, survey = prepared.stream, prepared.survey
    if parent is not None:
        before = _parents(prepared, parent, forgotten)
    else:
        with torch.random.fork_rng(devices=[]):
            before = _rehearsed(prepared, config, forgotten)
    # A pass of its own, from the same histories: of those that positives were learned with, the end alone is left.
    stream = ExampleStream(
        dataset=told.dataset,
        window=before.window,
        encoder=before.encoder,
        users=None,
        items=None,
        catalogue=told.catalogue,
        block_rows=told.block_rows,
        mean_weight=told.mean_weight,
        before=before.histories,
        # What was shown is learned from, whoever showed it.
        counting=PositivesConfig(),
        others=OTHERS,
    )
    columns = columns_of(before.towers.item_vectors(), before.popularity, prepared.catalogue.features)
    items = EncodedItems([(survey.catalogue, columns)])
    return train_preranker(stream, items, before.towers, prepared.encoder, config, alike=before.alike)


def _parents(prepared: Prepared, parent: FullVersionFiles, forgotten: Int64Array) -> _Before:
    """What the parent knew: the version's vectors go on from its, and its words have the same numbers."""
    dataset, window = prepared.stream.dataset, prepared.stream.window
    return _Before(
        towers=OpenVersion(parent, dataset).under(_Without(parent.users, forgotten)),
        encoder=parent.encoder,
        # As it was before the window, since it is known before a request.
        popularity=parent.popularity().num_rows * parent.shares(prepared.survey.catalogue),
        window=window,
        histories=histories_before(dataset, window, parent, forgotten),
        alike=True,
    )


def _rehearsed(prepared: Prepared, config: TrainConfig, forgotten: Int64Array) -> _Before:
    """What the same training knows after the first part of the window: a first version has no parent.

    Its own towers know by heart what was clicked, and of the click to come such a cosine says nothing.
    """
    dataset, how = prepared.stream.dataset, config.rehearsed()
    first, later = parts_of(dataset, prepared.stream.window)
    learned, validator = held_back(dataset, first, how)
    rehearsal = prepare(dataset, learned, None, how, forgotten=forgotten, words=prepared.encoder)
    with checkpoints_in(None, "rehearsal") as kept:
        learn_window(rehearsal, None, how, validator=validator, checkpoints=kept)
    return _Before(
        towers=opened(rehearsal),
        encoder=rehearsal.encoder,
        popularity=_popularity(rehearsal.survey),
        window=later,
        # What was held back is nothing to learn, but it was done.
        histories=histories_at(dataset, later.start, rehearsal.stream.after, learned.end),
        alike=False,
    )


@dataclass(frozen=True)
class _Without:
    """A parent's user rows, those of some users as if there had never been any: their clicks are in them."""

    table: IdTable
    gone: Int64Array

    def lookup(self, ids: Int64Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """See `RowLookup`."""
        rows, found = self.table.lookup(ids)
        gone = np.isin(ids, self.gone)
        rows[gone], found[gone] = self.table.oov, False
        return rows, found


def _popularity(survey: Survey) -> NDArray[np.float64]:
    count = len(survey.catalogue)
    return np.asarray(count * smoothed_shares(survey.clicks, survey.positives, count), np.float64)
