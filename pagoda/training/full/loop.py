"""The loop over epochs, blocks and batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch

from pagoda.config.training import TrainConfig
from pagoda.errors import GateError
from pagoda.training.batches.batcher import Batch
from pagoda.training.batches.prefetch import ahead
from pagoda.training.device import choose_device, few_threads
from pagoda.training.full.preparation import Prepared
from pagoda.training.learner.checkpoints import Checkpoints, Position
from pagoda.training.learner.state import on_device
from pagoda.training.tables import OOV

_AHEAD = 8
"""Batches that are prepared while others are learned."""


class Progress(Protocol):
    """Watches training."""

    def begin(self, positives: int, epochs: int, done: int = 0) -> None:
        """Training starts; an epoch learns about so many positives, and `done` were learned before it resumed."""

    def advance(self, positives: int, loss: float) -> None:
        """A batch of so many positives was learned with this loss."""

    def validated(self, epoch: int, value: float, *, best: bool) -> None:
        """What validation found after an epoch, the first being 1, and whether no epoch before was better."""


class Silent:
    """Watches nothing."""

    def begin(self, positives: int, epochs: int, done: int = 0) -> None:
        """See `Progress`."""

    def advance(self, positives: int, loss: float) -> None:
        """See `Progress`."""

    def validated(self, epoch: int, value: float, *, best: bool) -> None:
        """See `Progress`."""


@dataclass(frozen=True)
class Outcome:
    """How training went."""

    losses: list[float]
    """Mean loss a positive of each epoch."""
    seconds: float
    samples_per_second: float
    validations: list[float]
    """What validation found after each epoch; empty without one."""

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, the first being 1: the last one without validation."""
        return best_of(self.validations) + 1 if self.validations else len(self.losses)


def best_of(validations: list[float] | tuple[float, ...]) -> int:
    """Place of the highest value, the first of equal ones."""
    return max(range(len(validations)), key=validations.__getitem__)


class _Hooks(NamedTuple):
    progress: Progress
    checkpoints: Checkpoints | None
    validate: Callable[[], float] | None


def train(
    prepared: Prepared,
    config: TrainConfig,
    epochs: int,
    progress: Progress,
    *,
    checkpoints: Checkpoints | None = None,
    validate: Callable[[], float] | None = None,
) -> Outcome:
    """Learn every positive of the window `epochs` times, each time in another random order.

    Args:
        prepared: What learns.
        config: How.
        epochs: Passes; with validation at most so many.
        progress: Watches.
        checkpoints: Where to go on after a kill, and where to keep the best epoch.
        validate: Asked after each epoch; the weights of the best one are kept. Needs `checkpoints`.

    Raises:
        GateError: A loss is not finite; the message names the batch, of which nothing was learned.
    """
    run = _Run(prepared, config, epochs, _Hooks(progress, checkpoints, validate))
    with few_threads(), on_device(prepared.learner, choose_device(config.device)):
        return run.train()


@dataclass
class _Run:
    prepared: Prepared
    config: TrainConfig
    epochs: int
    hooks: _Hooks
    position: Position = field(default_factory=Position)
    _began: float = field(default_factory=time.perf_counter)
    _saved: float = field(default_factory=time.perf_counter)

    def train(self) -> Outcome:
        learner, checkpoints = self.prepared.learner, self.hooks.checkpoints
        if checkpoints:
            self.position = checkpoints.resume(learner)
        before = self.position
        self.hooks.progress.begin(self.prepared.positives_an_epoch, self.epochs, before.samples)
        while self.position.epoch < self.epochs and not self._has_stopped():
            self._epoch()
        if self.hooks.validate and checkpoints and best_of(self.position.validations) + 1 < self.position.epoch:
            checkpoints.restore_best(learner)
        seconds, samples = time.perf_counter() - self._began, self.position.samples - before.samples
        return Outcome(
            losses=list(self.position.losses),
            seconds=before.seconds + seconds,
            samples_per_second=samples / seconds,
            validations=list(self.position.validations),
        )

    def _epoch(self) -> None:
        with closing(ahead(self._batches(), _AHEAD)) as batches:
            for batch in batches:
                self._learn(batch)
        position = self.position
        losses = (*position.losses, position.total / position.learned)
        self._move(epoch=position.epoch + 1, block=0, batch=0, learned=0, total=0.0, losses=losses)
        if self.hooks.validate:
            self._validate(self.hooks.validate())

    def _batches(self) -> Iterator[Batch]:
        """What is left of the epoch."""
        start, size = self.position, self.config.batch_size
        batcher = self.prepared.batcher(self.config.dropout, self.config.seed)
        for block in self.prepared.stream.blocks(final=start.epoch == self.epochs - 1, skip=start.block):
            yield from batcher.batches(block, size, start.epoch, start.batch if block.number == start.block else 0)

    def _learn(self, batch: Batch) -> None:
        self.prepared.learner.slow_down(self.position.samples / (self.epochs * self.prepared.positives_an_epoch))
        loss, size = self.prepared.learner.learn(batch), batch.of_all
        if not math.isfinite(loss):
            raise GateError(
                f"the loss is {loss} in batch {batch.place.batch + 1} of block {batch.place.block + 1} of epoch "
                f"{batch.place.epoch + 1} ({size} positives from {batch.moments}{_culprits(self.prepared, batch)}); "
                "lower optimiser.table_learning_rate or optimiser.dense_learning_rate, or raise objective.temperature"
            )
        position = self.position
        self._move(
            block=batch.place.block,
            batch=batch.place.batch + 1,
            steps=position.steps + 1,
            samples=position.samples + size,
            learned=position.learned + size,
            total=position.total + loss * size,
        )
        self.hooks.progress.advance(size, loss)
        self._checkpoint()

    def _checkpoint(self) -> None:
        checkpoints, interval = self.hooks.checkpoints, self.config.checkpoint_seconds
        now = time.perf_counter()
        if not checkpoints or not checkpoints.lasting or interval is None:
            return
        if checkpoints.is_due(now - self._saved, interval):
            spent = self.position.seconds + now - self._began
            checkpoints.save(self.prepared.learner, self.position.model_copy(update={"seconds": spent}))
            self._saved = time.perf_counter()

    def _validate(self, value: float) -> None:
        validations = (*self.position.validations, value)
        self._move(validations=validations)
        best = best_of(validations) == len(validations) - 1
        if best and self.hooks.checkpoints:
            self.hooks.checkpoints.save_best(self.prepared.learner, self.position)
        self.hooks.progress.validated(len(validations), value, best=best)

    def _has_stopped(self) -> bool:
        validations = self.position.validations
        return bool(validations) and len(validations) - 1 - best_of(validations) >= self.config.patience

    def _move(self, **changes: Any) -> None:
        self.position = self.position.model_copy(update=changes)


def _culprits(prepared: Prepared, batch: Batch) -> str:
    """Say which rows of a batch give vectors that are not finite, if any do."""
    learner = prepared.learner
    users, items = learner.vectors(batch)
    wrong = ~(torch.isfinite(users.flatten(1)).all(1) & torch.isfinite(items[batch.targets]).all(1))
    if not wrong.any():
        return ""
    first = int(wrong.nonzero()[0])
    place = int(batch.user_rows[batch.keys.users[first]])
    user = "a user without an ID row" if place == OOV else f"user {learner.users.id_at(place)}"
    item = prepared.survey.catalogue[int(batch.places[batch.targets[first]])]
    return f"; {int(wrong.sum())} of them have vectors that are not finite, the first being of {user} and item {item}"
