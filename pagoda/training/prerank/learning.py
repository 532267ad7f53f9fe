"""How a pre-ranker learns from what was shown, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pagoda.config.training import OptimiserConfig
from pagoda.errors import GateError
from pagoda.prerank.network import PreRanker
from pagoda.training.learner.optimisers import dense_optimiser
from pagoda.training.prerank.shown import ShownExamples

_BATCH, _LEAST_STEPS = 512, 300
"""A small window's examples are learned more often, until there were so many steps."""
_ROWS = 4096
Int64Array = NDArray[np.int64]


def learn(
    ranker: PreRanker, examples: ShownExamples, rows: Int64Array, how: OptimiserConfig, *, epochs: int, seed: int
) -> None:
    """Learn some examples, int64 [m], so many times at least, by the binary cross-entropy.

    Raises:
        GateError: A loss is not finite.
    """
    optimiser, rng = dense_optimiser(ranker.train(), how), np.random.default_rng(seed)
    for _ in range(epochs_of(len(rows), epochs)):
        for part in np.array_split(rng.permutation(rows), -(-len(rows) // _BATCH)):
            wanted = torch.from_numpy(examples.chosen[part].astype(np.float32))
            logits = ranker(*examples.inputs(part, ranker.order).tensors())
            loss = functional.binary_cross_entropy_with_logits(logits, wanted)
            if not torch.isfinite(loss):
                raise GateError(f"the pre-ranker's loss is {float(loss)}; lower optimiser.dense_learning_rate")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    ranker.eval()


def epochs_of(rows: int, least: int) -> int:
    """How often to learn so many rows: `least` times, or more for as many steps as a small window needs."""
    return max(least, -(-_LEAST_STEPS // -(-rows // _BATCH)))


def logits_of(ranker: PreRanker, examples: ShownExamples, rows: Int64Array) -> NDArray[np.float32]:
    """What it says of some examples, float32 [m]."""
    with torch.inference_mode():
        parts = [ranker(*inputs).numpy() for inputs in _batches(ranker, examples, rows)]
    return np.concatenate(parts)


def mean_gates(ranker: PreRanker, examples: ShownExamples, rows: Int64Array) -> dict[str, float]:
    """How much each group counts on average over some examples, by name."""
    with torch.inference_mode():
        total = sum(ranker.gates(*inputs).sum(0) for inputs in _batches(ranker, examples, rows))
    return dict(zip(ranker.order, (torch.as_tensor(total) / len(rows)).tolist(), strict=True))


def _batches(
    ranker: PreRanker, examples: ShownExamples, rows: Int64Array
) -> Iterator[tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]]:
    for part in np.array_split(rows, -(-len(rows) // _ROWS)):
        yield examples.inputs(part, ranker.order).tensors()
