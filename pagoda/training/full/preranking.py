"""The pre-ranker's part in a full update: it learns when the towers are done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig
from pagoda.config.training import TrainConfig
from pagoda.embeddings.table import IdTable
from pagoda.model.encoder import Encoder
from pagoda.model.table_inputs import Int64Array
from pagoda.prerank.items import EncodedItems, columns_of
from pagoda.training.examples.stream import ExampleStream
from pagoda.training.examples.survey import Survey
from pagoda.training.full.preparation import Prepared
from pagoda.training.full.warm_start import histories_before
from pagoda.training.prerank.shown import OTHERS
from pagoda.training.prerank.training import TrainedPreRanker, train_preranker
from pagoda.version_files.full import FullVersionFiles, smoothed_shares
from pagoda.version_files.open_version import OpenTowers, OpenVersion


def trained_preranker(
    prepared: Prepared, parent: FullVersionFiles | None, config: TrainConfig, forgotten: Int64Array
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
    towers, encoder = _unlearned(prepared, parent, forgotten)
    # A pass of its own, from the same histories: of those that positives were learned with, the end alone is left.
    stream = ExampleStream(
        dataset=told.dataset,
        window=told.window,
        encoder=encoder,
        users=None,
        items=None,
        catalogue=told.catalogue,
        block_rows=told.block_rows,
        mean_weight=told.mean_weight,
        before=histories_before(told.dataset, told.window, parent, forgotten),
        # What was shown is learned from, whoever showed it.
        counting=PositivesConfig(),
        others=OTHERS,
    )
    columns = columns_of(towers.item_vectors(), _popularity(survey, parent), prepared.catalogue.features)
    return train_preranker(stream, EncodedItems([(survey.catalogue, columns)]), towers, prepared.encoder, config)


def _unlearned(
    prepared: Prepared, parent: FullVersionFiles | None, forgotten: Int64Array
) -> tuple[OpenTowers, Encoder]:
    """Towers for the examples, and what they encode users with: such as have not learned what was clicked.

    The parent's, whose vectors lie where those of the version lie that went on from them, and whose words have the same
    numbers. A first version has its own alone, and users without the rows that have learned their clicks by heart.
    """
    dataset, learner = prepared.stream.dataset, prepared.learner
    if parent is not None:
        return OpenVersion(parent, dataset).under(_Without(parent.users, forgotten)), parent.encoder
    nobody = learner.users.kept(np.zeros(len(learner.users.ids), np.bool_))
    # Items without a row have the vectors that they will be served with.
    means = prepared.cold.means(learner.items) if prepared.cold else None
    towers = OpenTowers(prepared.encoder, learner.towers.eval(), nobody, learner.items, dataset, category_means=means)
    return towers, prepared.encoder


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


def _popularity(survey: Survey, parent: FullVersionFiles | None) -> NDArray[np.float64]:
    """How popular items were before the window, as they are before a request; of a first version in it. [items]"""
    if parent is not None:
        return np.asarray(parent.popularity().num_rows * parent.shares(survey.catalogue), np.float64)
    count = len(survey.catalogue)
    return np.asarray(count * smoothed_shares(survey.clicks, survey.positives, count), np.float64)
