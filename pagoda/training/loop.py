"""The loop over epochs, blocks and batches."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from pagoda.errors import GateError
from pagoda.training.batches import Batch
from pagoda.training.config import TrainConfig
from pagoda.training.preparing import Prepared


class Progress(Protocol):
    """Watches training."""

    def begin(self, positives: int, epochs: int) -> None:
        """Training starts; it will learn so many positives, so many times."""

    def advance(self, positives: int, loss: float) -> None:
        """A batch of so many positives was learned with this loss."""


class Silent:
    """Watches nothing."""

    def begin(self, positives: int, epochs: int) -> None:
        """See `Progress`."""

    def advance(self, positives: int, loss: float) -> None:
        """See `Progress`."""


@dataclass(frozen=True)
class Outcome:
    """How training went."""

    losses: list[float]
    """Mean loss a positive of each epoch."""
    seconds: float
    samples_per_second: float


def train(prepared: Prepared, config: TrainConfig, epochs: int, progress: Progress) -> Outcome:
    """Learn every positive of the window `epochs` times, each time in another random order.

    Raises:
        GateError: A loss is not finite; the message names the batch, of which nothing was learned.
    """
    batcher = prepared.batcher(config.dropout, config.seed)
    start = time.perf_counter()
    progress.begin(prepared.survey.positives, epochs)
    with few_threads():
        losses = []
        for epoch in range(1, epochs + 1):
            blocks = prepared.stream.blocks(final=epoch == epochs)
            batches = (batch for block in blocks for batch in batcher.batches(block, config.batch_size))
            losses.append(_epoch(prepared, batches, epoch, progress))
    seconds = time.perf_counter() - start
    return Outcome(losses, seconds, epochs * prepared.survey.positives / seconds)


def _epoch(prepared: Prepared, batches: Iterator[Batch], epoch: int, progress: Progress) -> float:
    """Learn all batches and return the mean loss of a positive."""
    total = 0.0
    for number, batch in enumerate(batches, 1):
        loss = prepared.learner.learn(batch)
        if not math.isfinite(loss):
            raise GateError(
                f"the loss is {loss} in batch {number} of epoch {epoch} ({len(batch)} positives from {batch.moments}); "
                "lower optimiser.table_learning_rate or optimiser.dense_learning_rate, or raise objective.temperature"
            )
        total += loss * len(batch)
        progress.advance(len(batch), loss)
    return total / prepared.survey.positives


@contextmanager
def few_threads() -> Iterator[None]:
    """Let a tensor operation use half the cores.

    A step's operations are short, and each waits for its slowest thread. With a thread on every core, any other process
    stalls them all: on 2 busy cores, training was seen to take 12 times as long with 2 threads as with 1.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
