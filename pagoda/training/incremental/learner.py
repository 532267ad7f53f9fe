"""One pass over a window in time order: only user rows learn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pagoda.config.incremental import IncrementalConfig
from pagoda.embeddings.overlay import Overlay
from pagoda.errors import GateError
from pagoda.model.losses.dual_augmentation import mimic_losses
from pagoda.model.losses.nearest import by_nearest
from pagoda.training.incremental.examples import Examples
from pagoda.training.incremental.frozen_base import FrozenBase, FrozenMember
from pagoda.training.incremental.item_chances import Chances, CountedChances, StreamedChances
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.tables import OOV, TrainableTable
from pagoda.version_files.incremental import IncrementalFiles, chain_of

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Learned:
    """What a pass left."""

    table: TrainableTable
    """Rows and sums of the window's users alone."""
    loss: float
    """Mean loss a positive, each asked before its batch was learned."""
    new_users: int
    chances: Chances
    """What became known of how often items come."""


def learn(base: FrozenBase, parent: IncrementalFiles | None, examples: Examples, config: IncrementalConfig) -> Learned:
    """Learn `examples` once, in mini-batches of consecutive positives.

    Raises:
        GateError: The loss is not finite.
    """
    touched = _Pass(base, parent, examples, config)
    total = 0.0
    for start in range(0, len(examples), config.batch_size):
        loss = touched.step(np.arange(start, min(start + config.batch_size, len(examples))))
        if not math.isfinite(loss):
            raise GateError(
                f"incremental update: the loss is {loss} after {start} of {len(examples)} positives; "
                "lower incremental.learning_rate"
            )
        total += loss
    return Learned(touched.table, total / len(examples), touched.new_users, touched.chances)


def forget(learned: Learned, base: FrozenBase, parent: IncrementalFiles | None, users: Int64Array) -> Learned:
    """Have nothing left of users (int64 [n], ascending) who have a row: a segment cannot take one away, but hide it.

    Where users share rows, each has one.
    """
    table, chain = learned.table, chain_of(parent)
    others = np.setdiff1d(users, table.ids)
    _, known = Overlay(base.users, [link.delta for link in chain]).lookup(others)
    if not len(gone := others if len(base.users.shared) else others[known]):
        return learned
    ids = np.concatenate([table.ids, gone])
    order = np.argsort(ids)
    rows = torch.cat([table.rows[1:], table.rows[OOV].expand(len(gone), -1)])[torch.from_numpy(order)]
    squares = torch.cat([table.squares[1:], torch.full((len(gone),), base.typical_square)])[torch.from_numpy(order)]
    hidden = TrainableTable(ids[order], torch.cat([table.rows[:1], rows]), torch.cat([table.squares[:1], squares]))
    return replace(learned, table=hidden)


class _Pass:
    def __init__(
        self, base: FrozenBase, parent: IncrementalFiles | None, examples: Examples, config: IncrementalConfig
    ) -> None:
        self._base, self._examples, self._config = base, examples, config
        self._rng = np.random.default_rng(config.seed)
        self.chances: Chances = CountedChances(base.shares)
        if config.correction == "streaming":
            self.chances = StreamedChances(base, parent, examples.items, config.batch_size)
        users, chain = np.unique(examples.moments.users), chain_of(parent)
        rows, known = Overlay(base.users, [link.delta for link in chain]).lookup(users)
        rows, squares = np.concatenate([base.users.oov[None], rows]), _squares(base, chain, users)
        self.table = TrainableTable(users, torch.from_numpy(rows), torch.from_numpy(squares))
        self.new_users = len(known) - int(known.sum())

    def step(self, part: Int64Array) -> float:
        """Learn some positives and return the sum of their losses before that."""
        base, examples = self._base, self._examples
        places, user_of = np.unique(self.table.places(examples.moments.users[part]), return_inverse=True)
        rows = self.table.rows[torch.from_numpy(places)].requires_grad_()
        keys = examples.moments.keys(part)
        id_rows = functional.embedding(torch.from_numpy(user_of), rows)
        vectors: Tensor = base.towers.user(*keys.tensors().with_rows(id_rows, keys.history_rows(base.items)))
        self.chances.observe(examples.items[part])
        total, wanted = len(base.item_ids), self._config.candidates
        candidates, log_q = draw(self.chances, total, examples.items[part], wanted, self._rng)
        targets = torch.from_numpy(np.searchsorted(candidates, examples.items[part]))
        items = base.item_vectors[torch.from_numpy(candidates)]
        losses = [
            _cross_entropy(logits - torch.from_numpy(log_q), targets, examples.weights, part)
            for logits in _logits(base.members, vectors, items)
        ]
        loss = torch.stack(losses).sum()
        if (augment := base.config.model.augment) is not None:
            _, augmented = id_rows.chunk(2, 1)
            chosen = base.item_vectors[torch.from_numpy(examples.items[part])]
            loss = loss + augment.user * mimic_losses(augmented, chosen).sum()
        # Divided as in the full update's mean over its batch: so a gradient has the size that the sums carried over
        # are made of, however few positives came.
        (gradient,) = torch.autograd.grad(loss / base.config.batch_size, [rows])
        adagrad_step(self.table, torch.from_numpy(places), [gradient], self._config.learning_rate)
        return float(loss.detach())


def _logits(members: Sequence[FrozenMember], users: Tensor, items: Tensor) -> Iterator[Tensor]:
    """Cosines / temperature by each member that counts, float32 [B, m], from vectors of all members end to end."""
    dims = [member.dim for member in members]
    parts = zip(members, torch.split(users, dims, -1), torch.split(items, dims, -1), strict=True)
    for member, of_users, of_items in parts:
        if member.weight:
            yield _products(of_users, of_items) / (member.weight * member.temperature)


def _products(users: Tensor, items: Tensor) -> Tensor:
    return by_nearest(lambda user: user @ items.T, users)


def _cross_entropy(logits: Tensor, targets: Tensor, weights: NDArray[np.float32] | None, part: Int64Array) -> Tensor:
    """Sum over positives (those of `part`), by what each weighs."""
    if weights is None:
        return functional.cross_entropy(logits, targets, reduction="sum")
    return functional.cross_entropy(logits, targets, reduction="none") @ torch.from_numpy(weights[part])


def _squares(base: FrozenBase, chain: Sequence[IncrementalFiles], users: Int64Array) -> NDArray[np.float32]:
    """Row-wise Adagrad's sums of `users` (int64 [n], ascending) where the chain left them, float32 [n + 1].

    The first, of the out-of-vocabulary row, is never used. Who is new begins with what is typical in the base: from
    zero, the first step would throw the row as far as all steps of others went.
    """
    squares = np.full(len(users) + 1, base.typical_square, np.float32)
    waiting = np.arange(len(users))
    for link in chain:
        position, found = link.delta.find(users[waiting])
        squares[waiting[found] + 1] = link.rows.squares[position[found]]
        waiting = waiting[~found]
    position, found = base.users.find(users[waiting])
    squares[waiting[found] + 1] = base.squares[position[found] + 1]
    return squares


def draw(
    chances: Chances, total: int, positives: Int64Array, count: int, rng: np.random.Generator
) -> tuple[Int64Array, NDArray[np.float32]]:
    """Draw the candidates of a batch: its own items and `count` others, uniformly without replacement.

    Args:
        chances: How probable items are to be in the batch.
        total: Number of items.
        positives: int64 [B], places of the batch's items.
        count: How many to draw; all items where there are no more.
        rng: Draws.

    Returns:
        Places of the distinct candidates, int64 [m] ascending, and the log of each one's probability to be among them,
        by which the sampled softmax is corrected, see `pagoda.model.losses.objective`.
    """
    drawn = np.arange(total) if count >= total else rng.choice(total, count, replace=False)
    candidates = np.union1d(drawn, positives)
    missed = (1 - min(count / total, 1.0)) * (1 - chances.held(candidates, len(positives)))
    return candidates, np.log1p(-missed).astype(np.float32)
