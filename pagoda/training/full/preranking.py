"""The pre-ranker's part in a full update: it learns when the towers are done."""

from __future__ import annotations

from pagoda.config.positives import PositivesConfig
from pagoda.config.training import TrainConfig
from pagoda.model.table_inputs import Int64Array
from pagoda.training.examples.stream import ExampleStream
from pagoda.training.full.preparation import Prepared
from pagoda.training.full.version_writer import opened
from pagoda.training.full.warm_start import histories_before
from pagoda.training.prerank.shown import OTHERS
from pagoda.training.prerank.training import TrainedPreRanker, encoded_items, train_preranker
from pagoda.version_files.full import FullVersionFiles


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
    told, towers, survey = prepared.stream, opened(prepared), prepared.survey
    # A pass of its own, from the same histories: of those that positives were learned with, the end alone is left.
    stream = ExampleStream(
        dataset=told.dataset,
        window=told.window,
        encoder=told.encoder,
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
    features = prepared.catalogue.features
    items = encoded_items(survey.catalogue, survey.clicks, features, towers.item_vectors())
    return train_preranker(stream, items, towers, prepared.encoder, config)
