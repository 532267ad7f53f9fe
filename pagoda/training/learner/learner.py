"""One step of training: a batch through both towers, the loss, its gradient, and the change of every touched row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pagoda.config.training import TrainConfig
from pagoda.model.towers.ensemble import AnyTowers
from pagoda.training.batches.batcher import Batch
from pagoda.training.device import moved
from pagoda.training.learner.member import Member, vectors_of
from pagoda.training.learner.objectives import learned_by
from pagoda.training.learner.optimisers import adagrad_step, dense_optimiser
from pagoda.training.negatives.candidates import CandidateMaker
from pagoda.training.tables import TrainableTable


class Learner:
    """Everything that training changes."""

    def __init__(
        self,
        config: TrainConfig,
        towers: AnyTowers,
        users: TrainableTable,
        items: TrainableTable,
        candidates: Sequence[CandidateMaker],
        *,
        pace: float = 1.0,
    ) -> None:
        """Make one; each member of an ensemble has `candidates` of its own. All learning rates are times `pace`."""
        self.towers, self.users, self.items = towers, users, items
        self.members = self._members(config, candidates)
        self._parameters = list(towers.parameters())
        self.optimiser = dense_optimiser(towers, config.optimiser)
        self.objective = learned_by([member.objective for member in self.members])
        if own := list(self.objective.parameters()):
            self._parameters += own
            self.optimiser.add_param_group({"params": own, "weight_decay": 0.0})
        self.steps, self.device = 0, torch.device("cpu")
        self._config, self._settings, self.full_pace = config, config.optimiser, pace
        self.slow_down(0.0)

    def learn(self, batch: Batch) -> float:
        """Take one step and return the batch's loss before it; when that is not finite, nothing is changed.

        What is dropped at random inside the towers follows from the seed and the number of the step alone.
        """
        self.towers.train()
        with torch.random.fork_rng(devices=[]):
            seed = self._seed()
            # `torch.manual_seed` would note this call and its stack for each accelerator that is not there, for ever.
            (torch.cuda.manual_seed if self.device.type == "cuda" else torch.default_generator.manual_seed)(seed)
            loss = self._step(moved(batch, self.device))
        self.steps += 1
        return loss

    def slow_down(self, done: float) -> None:
        """Set the pace of the steps that follow by the share of training that is `done`."""
        cooldown = self._settings.cooldown
        self._pace = self.full_pace * (min(max(1 - done, 0) / cooldown, 1.0) if cooldown else 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self._settings.dense_learning_rate * self._pace

    def _members(self, config: TrainConfig, candidates: Sequence[CandidateMaker]) -> tuple[Member, ...]:
        parts = zip(config.members, self.towers.members, candidates, strict=True)
        return tuple(Member(*part) for part in parts)

    def _seed(self) -> int:
        """Of what is dropped at random in the next step."""
        return int(np.random.SeedSequence((self._config.seed, self.steps)).generate_state(1)[0])

    def _step(self, batch: Batch) -> float:
        touched = batch.touched_users
        users, items = self._own_rows(self.users, touched), self._own_rows(self.items, batch.item_rows)
        parts = enumerate(zip(self.members, batch.of_users(users), self._with_lent(batch, items), strict=True))
        losses = [member.loss(batch.of_member(number), *rows) for number, (member, *rows) in parts]
        loss = torch.stack(losses).sum()
        if torch.isfinite(loss):
            # A user tower without ID row leaves the users' rows as they are.
            gradients = torch.autograd.grad(loss, [*users, *items, *self._parameters], allow_unused=True)
            count = len(self.members)
            for parameter, gradient in zip(self._parameters, gradients[2 * count :], strict=True):
                parameter.grad = gradient
            self.optimiser.step()
            self._change(self.users, touched, gradients[:count])
            self._change(self.items, batch.item_rows, gradients[count : 2 * count])
        return float(loss.detach())

    def _own_rows(self, table: TrainableTable, places: Tensor) -> list[Tensor]:
        """The part of rows that is each member's, float32 [m, rows]."""
        parts = torch.split(table.rows, [member.row_dim for member in self.members], 1)
        return [part.index_select(0, places).requires_grad_() for part in parts]

    def _with_lent(self, batch: Batch, items: list[Tensor]) -> list[Tensor]:
        """Each member's rows of items float32 [m, rows], followed by those that are lent, [h, rows]."""
        if batch.lent is None:
            return items
        lent = torch.split(batch.lent.rows(self.items.rows), [part.shape[1] for part in items], 1)
        return [torch.cat(parts) for parts in zip(items, lent, strict=True)]

    def _change(self, table: TrainableTable, places: Tensor, gradients: Sequence[Tensor | None]) -> None:
        there = [gradient for gradient in gradients if gradient is not None]
        if there:
            rate = self._settings.table_learning_rate * self._pace
            adagrad_step(table, places, there, rate, self._settings.table_memory)

    def vectors(self, given: Batch) -> tuple[Tensor, Tensor]:
        """Vectors of the batch's users, float32 [B, dim], and of its distinct items, float32 [M, dim].

        Users of several interests have [B, interests, dim].
        """
        self.towers.eval()
        batch = moved(given, self.device)
        with torch.no_grad():
            users, items = self.users.rows[batch.touched_users], self.items.rows[batch.item_rows]
            (users,), (items,) = batch.of_users([users]), self._with_lent(batch, [items])
            return vectors_of(self.towers, batch, users, items, self._config.precision)
