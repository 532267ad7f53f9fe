"""The full update: warm-start from the parent full version, learn the window in random order, check, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pagoda.code_version import code_version
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.fingerprint import Fingerprint
from pagoda.data.layout import features_of
from pagoda.data.window import Window
from pagoda.erasure.pending import NOBODY, Forgotten
from pagoda.errors import ConfigError, ConflictError
from pagoda.model.table_inputs import Int64Array
from pagoda.model.towers.ensemble import AnyTowers
from pagoda.storage.atomic import build_folder
from pagoda.training.batches.batcher import Batch
from pagoda.training.device import choose_device
from pagoda.training.drift import check_interests, check_lengths, check_table, check_vectors
from pagoda.training.full.learning import LearnedWindow, learn_window
from pagoda.training.full.loop import Outcome, Progress
from pagoda.training.full.preparation import Prepared, prepare
from pagoda.training.full.preranking import trained_preranker
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.validation import Validator, held_back
from pagoda.training.full.version_writer import lineage_of, write_state, write_version
from pagoda.training.learner.checkpoints import checkpoints_in
from pagoda.training.tables import OOV
from pagoda.version_files.full import FullVersionFiles, Lineage

VERSION, STATE = "version", "state"
_ONE_EPOCH = (
    "validation chooses among the epochs of a first version, but one with a parent learns each interaction once: take "
    "validation out, or train without a parent"
)


def full_update(
    dataset: Dataset,
    window: Window,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    out: Path,
    *,
    beside: SideInputs = NOTHING_BESIDE,
    forgotten: Forgotten = NOBODY,
    progress: Progress | None = None,
    checkpoints: Path | None = None,
    validator: Validator | None = None,
    programs: bool = True,
) -> FullVersionFiles:
    """Train a full version and write its files to `out`, all or nothing.

    Args:
        dataset: Where the interactions, users and items are.
        window: What to learn. Earlier interactions enter histories only.
        parent: The full version to start from; None for a first one, which learns its window
            `config.bootstrap_epochs` times, where any other learns each interaction once.
        config: How. With the arguments above it determines the result to the bit, on one kind of machine; but for the
            pre-ranker of `prerank.features: auto`, whose groups are chosen by the time that they take, too.
        out: A folder that does not exist yet. `out/version` is the version, `out/state` the second artifact.
        beside: Files that the configuration asks for.
        forgotten: Users whose rows and histories are not taken over from the parent.
        progress: Watches.
        checkpoints: A folder in which a killed training finds where it was, when it is run again with the same
            arguments; it need not exist, and is removed when training is over. None: training starts anew.
        validator: Asked after each epoch of a first version; the best epoch's weights are kept. Default: what
            `config.validation` declares, which a pre-ranker's rehearsal asks in any case.
        programs: Export the towers, and train the pre-ranker, by which a version is served; what is only judged needs
            none.

    Raises:
        ConfigError: The configuration, the features or the window do not fit the parent, or this machine; or there is
            validation beside a parent.
        DataError: The window has no positive, or the dataset breaks its contract.
        GateError: The loss is not finite, or a drift check failed. Nothing is written.
        ConflictError: `out` exists already.
    """
    choose_device(config.device)
    if parent is not None and (config.validation or validator):
        raise ConfigError(_ONE_EPOCH)
    if out.exists():
        raise ConflictError(f"{out} exists already; another writer was first")
    learned = window
    if validator is None:
        learned, validator = held_back(dataset, window, config)
    prepared = prepare(dataset, learned, parent, config, beside, forgotten=forgotten.ids)
    lineage = lineage_of(dataset, learned, parent, config, forgotten.known)
    identity = identity_of(prepared, config, lineage, parent, beside)
    with checkpoints_in(checkpoints, identity) as kept:
        done = learn_window(prepared, parent, config, validator=validator, checkpoints=kept, progress=progress)
        write_update(out, prepared, parent, config, done, lineage=lineage, forgotten=forgotten.ids, programs=programs)
    return FullVersionFiles(out / VERSION, out / STATE)


def write_update(
    out: Path,
    prepared: Prepared,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    learned: LearnedWindow,
    *,
    lineage: Lineage,
    forgotten: Int64Array,
    programs: bool = True,
) -> None:
    """Check what a window was learned into, train the pre-ranker over it, and write all or nothing.

    Arguments and errors as for `full_update`; `forgotten` are user IDs, int64 [n].
    """
    metrics = _summary(prepared, learned.outcome) | learned.weights | _retired(prepared, parent)
    metrics |= _check(prepared, config, learned.batch)
    # What is only judged answers by its towers.
    preranker = trained_preranker(prepared, parent, config, forgotten) if programs else None
    with build_folder(out) as aside:
        write_version(aside / VERSION, prepared, config, lineage, metrics, programs=programs)
        write_state(aside / STATE, prepared)
        if preranker is not None:
            preranker.write(aside / VERSION)


def open_version(out: Path) -> FullVersionFiles:
    """The version that `full_update` wrote to `out`.

    Raises:
        IntegrityError: There is none.
    """
    files = FullVersionFiles(out / VERSION, out / STATE)
    _ = files.lineage
    return files


def identity_of(
    prepared: Prepared, config: TrainConfig, lineage: Lineage, parent: FullVersionFiles | None, beside: SideInputs
) -> str:
    """What a training that goes on must have in common with the one that was killed."""
    about = [config.to_yaml(), prepared.stream.window.key, code_version(), lineage.data_checksum]
    about += [prepared.encoder.to_json(), _profiles(prepared), *beside.checksums()]
    about += [parent.lineage.to_json()] if parent else []
    digest = xxhash.xxh3_128("\n".join(about).encode())
    for array in (prepared.learner.users.ids, prepared.survey.users, prepared.survey.catalogue, prepared.survey.clicks):
        digest.update(array.data)
    return digest.hexdigest()


def _profiles(prepared: Prepared) -> str:
    """Checksum of what is known of the window's users, which is no part of the data's own."""
    fingerprint, dataset = Fingerprint(), prepared.stream.dataset
    if features_of(dataset.spec, "users"):
        for batch in dataset.users(prepared.survey.users).to_batches():
            fingerprint.update("users", batch)
    return fingerprint.hexdigest()


def _summary(prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
    branches, pace = prepared.learner.towers.branches, prepared.learner.full_pace
    return {
        "positives": prepared.survey.positives,
        "users": len(prepared.learner.users.ids),
        "items": len(prepared.learner.items.ids),
        "losses": outcome.losses,
        "seconds": outcome.seconds,
        "samples_per_second": outcome.samples_per_second,
        **({"validations": outcome.validations, "best_epoch": outcome.best_epoch} if outcome.validations else {}),
        **({"branch_weights": branches.weights_by_kind()} if branches else {}),
        **({"pace": pace} if pace < 1 else {}),
    }


def _retired(prepared: Prepared, parent: FullVersionFiles | None) -> dict[str, int]:
    """How many of the parent's rows went, because their IDs were not seen for long."""
    if parent is None:
        return {}
    tables = {"users": (parent.users, prepared.learner.users), "items": (parent.items, prepared.learner.items)}
    return {
        f"retired_{name}": int((now.places(np.asarray(before.ids)) == OOV).sum())
        for name, (before, now) in tables.items()
    }


def _check(prepared: Prepared, config: TrainConfig, batch: Batch) -> dict[str, float]:
    """Drift checks of both tables, and of both towers on one batch of what was learned."""
    learner, limits = prepared.learner, config.drift
    users, items = learner.vectors(batch)
    # One vector a user: those of one user are alike, and a quiet day has few users.
    _, one_each = np.unique(batch.keys.users.numpy(), return_index=True)
    lengths = {}
    if config.model.similarity == "dot":
        lengths = check_lengths("user", users.flatten(0, -2), limits) | check_lengths("item", items, limits)
    directions = learner.towers.directions
    users = directions(users.view(len(users), -1, users.shape[-1])[one_each])
    return {
        **check_table("user", learner.users, limits),
        **check_table("item", learner.items, limits),
        **lengths,
        **_check_apart(config, users[:, 0], directions(items)),
        **check_interests(users[_whole(learner.towers, batch)[one_each]], limits),
    }


def _check_apart(config: TrainConfig, users: Tensor, items: Tensor) -> dict[str, float]:
    """Check that vectors float32 [n, dim] of both towers are apart; of an ensemble, those of each member."""
    if config.ensemble is None:
        return check_vectors("user", users, config.drift) | check_vectors("item", items, config.drift)
    found, dims = dict[str, float](), [member.model.dim for member in config.members]
    of_members = zip(config.ensemble.members, torch.split(users, dims, 1), torch.split(items, dims, 1), strict=True)
    for member, *parts in of_members:
        for side, vectors in zip(("user", "item"), parts, strict=True):
            found |= check_vectors(f"{member.name}_{side}", functional.normalize(vectors), config.drift)
    return found


def _whole(towers: AnyTowers, batch: Batch) -> NDArray[np.bool_]:
    """Who of a batch has several interests, and did enough to have all of them, bool [B]."""
    history = towers.user.history
    if history is None or history.interests == 1:
        return np.zeros(len(batch), np.bool_)
    events: NDArray[np.int64] = batch.keys.history_mask.sum(1).numpy()
    return events >= history.whole_from
