"""How a pre-ranker learns from what was shown, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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

ROUNDS, _PATIENCE = 10, 3
"""Rounds at most, and how many worse than the best one end it."""
_BATCH, _LEAST_STEPS = 512, 64
"""A round is a pass, or of a small window as many as have so many steps."""
_NEWTON_STEPS, _LEAST_SLOPE = 10, 1.0
_ROWS = 4096
Int64Array = NDArray[np.int64]


def learn(
    ranker: PreRanker, examples: ShownExamples, rows: Int64Array, how: OptimiserConfig, *, rounds: int, seed: int
) -> Iterator[None]:
    """Learn some examples, int64 [m], by the binary cross-entropy; yields before the first round, and after each.

    Raises:
        GateError: A loss is not finite.
    """
    optimiser, rng = dense_optimiser(ranker, how), np.random.default_rng(seed)
    ranker.begin(*calibration(examples.cosines()[rows], examples.chosen[rows]))
    ranker.scale(*examples.inputs(rng.permutation(rows)[:_ROWS], ranker.order).tensors())
    yield
    for _ in range(rounds):
        ranker.train()
        for part in _batches(rows, rng):
            wanted = torch.from_numpy(examples.chosen[part].astype(np.float32))
            logits = ranker(*examples.inputs(part, ranker.order).tensors())
            loss = functional.binary_cross_entropy_with_logits(logits, wanted)
            if not torch.isfinite(loss):
                raise GateError(f"the pre-ranker's loss is {float(loss)}; lower optimiser.dense_learning_rate")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        ranker.eval()
        yield


def best_round(rounds: Iterable[object], judge: Callable[[], float]) -> tuple[int, float]:
    """After which round what learns was best, 0 is before the first, and how good (early stopping: Prechelt 1998).

    Args:
        rounds: Each a round of learning, after one in which nothing was learned yet.
        judge: A number that is higher the better.
    """
    best, highest, worse = 0, -np.inf, 0
    for number, _ in enumerate(rounds):
        if (value := judge()) > highest:
            best, highest, worse = number, value, 0
        # As many as before are in the right order: it has not moved far enough yet to say.
        elif value < highest and (worse := worse + 1) == _PATIENCE:
            break
    return best, highest


def calibration(cosines: NDArray[np.floating], chosen: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the logit of being chosen by the cosine, both [n] (Platt 1999), by Newton's method.

    The slope is 1 at least, whatever is found: a ranker begins in the order of the cosines.
    """
    inputs = np.column_stack([cosines, np.ones(len(cosines))]).astype(np.float64)
    share = (chosen.sum() + 1) / (len(chosen) + 2)
    found = np.array([0.0, np.log(share / (1 - share))])
    for _ in range(_NEWTON_STEPS):
        chances = 1 / (1 + np.exp(-inputs @ found))
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        found += np.linalg.solve(curvature, inputs.T @ (chosen - chances))
    return max(float(found[0]), _LEAST_SLOPE), float(found[1])


def logits_of(ranker: PreRanker, examples: ShownExamples, rows: Int64Array) -> NDArray[np.float32]:
    """What it says of some examples, float32 [m]."""
    with torch.inference_mode():
        parts = [ranker(*inputs).numpy() for inputs in _inputs(ranker, examples, rows)]
    return np.concatenate(parts)


def mean_gates(ranker: PreRanker, examples: ShownExamples, rows: Int64Array) -> dict[str, float]:
    """How much each group counts on average over some examples, by name."""
    with torch.inference_mode():
        total = sum(ranker.gates(*inputs).sum(0) for inputs in _inputs(ranker, examples, rows))
    return dict(zip(ranker.order, (torch.as_tensor(total) / len(rows)).tolist(), strict=True))


def _batches(rows: Int64Array, rng: np.random.Generator) -> Iterator[Int64Array]:
    """A round of batches."""
    steps = -(-len(rows) // _BATCH)
    for _ in range(-(-_LEAST_STEPS // steps)):
        yield from np.array_split(rng.permutation(rows), steps)


def _inputs(
    ranker: PreRanker, examples: ShownExamples, rows: Int64Array
) -> Iterator[tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]]:
    for part in np.array_split(rows, -(-len(rows) // _ROWS)):
        yield examples.inputs(part, ranker.order).tensors()
