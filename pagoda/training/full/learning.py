"""What towers learn of a window: epochs while validation finds them better, then how much each member counts."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch

from pagoda.config.training import DropoutConfig, TrainConfig
from pagoda.model.towers.ensemble import Ensemble
from pagoda.training.batches.batcher import Batch
from pagoda.training.full.loop import Outcome, Progress, Silent, train
from pagoda.training.full.preparation import Prepared
from pagoda.training.full.validation import Validator
from pagoda.training.full.version_writer import opened
from pagoda.training.full.weight_search import choose_weights
from pagoda.training.learner.checkpoints import Checkpoints
from pagoda.training.learner.state import on_device
from pagoda.version_files.full import FullVersionFiles

_NOTHING_HIDDEN = DropoutConfig(user=0, item=0, profile=0, history=0)


class LearnedWindow(NamedTuple):
    """How the towers became what they are."""

    outcome: Outcome
    weights: dict[str, Any]
    """How much each member of a weighted ensemble counts and how that was found, as metrics say it."""
    batch: Batch
    """As `some_of` gives it."""


def learn_window(
    prepared: Prepared,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    *,
    validator: Validator | None,
    checkpoints: Checkpoints,
    progress: Progress | None = None,
) -> LearnedWindow:
    """Train the towers: a version's, and those of a first version's rehearsal.

    Args:
        prepared: What learns; its stream has read the whole window afterwards.
        parent: What it started from.
        config: How.
        validator: Asked after each epoch of a first version; the best epoch's weights are kept.
        checkpoints: Where to go on after a kill, and where the best epoch is kept.
        progress: Watches.

    Raises:
        GateError: A loss is not finite.
    """
    ask = partial(_validate, prepared, validator) if validator else None
    epochs = 1 if parent else config.bootstrap_epochs
    outcome = train(prepared, config, epochs, progress or Silent(), checkpoints=checkpoints, validate=ask)
    prepared.stream.complete()
    batch = some_of(prepared, config)
    return LearnedWindow(outcome, _weigh(prepared, config, parent, validator, batch), batch)


def some_of(prepared: Prepared, config: TrainConfig) -> Batch:
    """Some of what was learned last, nothing hidden."""
    batcher = prepared.batcher(_NOTHING_HIDDEN, config.seed)
    return next(batcher.batches(prepared.stream.last, config.batch_size))


def _validate(prepared: Prepared, validator: Validator) -> float:
    with on_device(prepared.learner, torch.device("cpu")):
        return validator(opened(prepared))


def _weigh(
    prepared: Prepared,
    config: TrainConfig,
    parent: FullVersionFiles | None,
    validator: Validator | None,
    batch: Batch,
) -> dict[str, Any]:
    """Choose how much each member of a weighted ensemble counts, where nobody has said it: a first version does."""
    towers, ensemble = prepared.learner.towers, config.ensemble
    if ensemble is None or not isinstance(towers, Ensemble) or towers.cascade:
        return {}
    chosen = {}
    if ensemble.weights is None and parent is None:
        chosen = {"weight_search": choose_weights(prepared, towers, validator, batch)}
    names = [member.name for member in ensemble.members]
    return {"member_weights": dict(zip(names, towers.weights, strict=True)), **chosen}
