"""The full update: warm-start from the parent full version, learn the window in random order, check, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.storage import build_folder
from pagoda.training.artifact import FullVersionFiles
from pagoda.training.checks import check_table, check_vectors
from pagoda.training.config import DropoutConfig, TrainConfig
from pagoda.training.loop import Outcome, Progress, Silent, train
from pagoda.training.preparing import Prepared, prepare
from pagoda.training.writing import lineage_of, write_state, write_version

VERSION, STATE = "version", "state"
_NOTHING_HIDDEN = DropoutConfig(user=0, item=0, profile=0, history=0)


def full_update(
    dataset: Dataset,
    window: Window,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    out: Path,
    *,
    mined: Path | None = None,
    progress: Progress | None = None,
) -> FullVersionFiles:
    """Train a full version and write its files to `out`, all or nothing.

    Args:
        dataset: Where the interactions, users and items are.
        window: What to learn. Earlier interactions enter histories only.
        parent: The full version to start from; None for a first one, which learns its window
            `config.bootstrap_epochs` times, where any other learns each interaction once.
        config: How. With the arguments above it determines the result to the bit, on one kind of machine.
        out: A folder that does not exist yet. `out/version` is the version, `out/state` the second artifact.
        mined: Hard negatives that `pagoda mine` wrote; needed where `config.negatives.mined` is not 0.
        progress: Watches.

    Raises:
        ConfigError: The configuration, the features or the window do not fit the parent.
        DataError: The window has no positive, or the dataset breaks its contract.
        GateError: The loss is not finite, or a drift check failed. Nothing is written.
        ConflictError: `out` exists already.
    """
    prepared = prepare(dataset, window, parent, config, mined)
    epochs = 1 if parent else config.bootstrap_epochs
    outcome = train(prepared, config, epochs, progress or Silent())
    metrics = _summary(prepared, outcome) | _check(prepared, config)
    with build_folder(out) as aside:
        write_version(aside / VERSION, prepared, config, lineage_of(dataset, window, parent, config), metrics)
        write_state(aside / STATE, prepared)
    return FullVersionFiles(out / VERSION, out / STATE)


def open_version(out: Path) -> FullVersionFiles:
    """The version that `full_update` wrote to `out`.

    Raises:
        IntegrityError: There is none.
    """
    files = FullVersionFiles(out / VERSION, out / STATE)
    _ = files.lineage
    return files


def _summary(prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
    return {
        "positives": prepared.survey.positives,
        "users": len(prepared.learner.users.ids),
        "items": len(prepared.learner.items.ids),
        "losses": outcome.losses,
        "seconds": outcome.seconds,
        "samples_per_second": outcome.samples_per_second,
    }


def _check(prepared: Prepared, config: TrainConfig) -> dict[str, float]:
    """Drift checks of both tables, and of both towers on one batch of what was learned."""
    learner, limits = prepared.learner, config.drift
    batcher = prepared.batcher(_NOTHING_HIDDEN, config.seed)
    batch = next(batcher.batches(prepared.stream.last, config.batch_size))
    users, items = learner.vectors(batch)
    # One vector a user: those of one user are alike, and a quiet day has few users.
    _, one_each = np.unique(batch.user_of.numpy(), return_index=True)
    return {
        **check_table("user", learner.users, limits),
        **check_table("item", learner.items, limits),
        **check_vectors("user", users[one_each], limits),
        **check_vectors("item", items, limits),
    }
