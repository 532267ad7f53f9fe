"""One step of training: a batch through both towers, the loss, its gradient, and the change of every touched row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pagoda.model.losses import Candidates
from pagoda.model.towers import Towers
from pagoda.training.batches import Batch
from pagoda.training.config import TrainConfig
from pagoda.training.objectives import build_objective
from pagoda.training.optimisers import adagrad_step, dense_optimiser
from pagoda.training.tables import TrainableTable


class Learner:
    """Everything that training changes."""

    def __init__(self, config: TrainConfig, towers: Towers, users: TrainableTable, items: TrainableTable) -> None:
        self.towers, self.users, self.items = towers, users, items
        self.objective = build_objective(config.objective)
        self._parameters = list(towers.parameters())
        self.optimiser = dense_optimiser(towers, config.optimiser)
        if isinstance(self.objective, nn.Module):
            own = list(self.objective.parameters())
            self._parameters += own
            self.optimiser.add_param_group({"params": own, "weight_decay": 0.0})
        self._seed, self.steps = config.seed, 0
        self._learning_rate = config.optimiser.table_learning_rate

    def learn(self, batch: Batch) -> float:
        """Take one step and return the batch's loss before it; when that is not finite, nothing is changed.

        What is dropped at random inside the towers follows from the seed and the number of the step alone.
        """
        self.towers.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence((self._seed, self.steps)).generate_state(1)[0]))
            loss = self._step(batch)
        self.steps += 1
        return loss

    def _step(self, batch: Batch) -> float:
        users = self.users.rows[batch.user_rows].requires_grad_()
        items = self.items.rows[batch.item_rows].requires_grad_()
        user_vectors, item_vectors = self._forward(batch, users, items)
        candidates = Candidates(item_vectors, batch.log_q, batch.first_shared, batch.negatives)
        loss = self.objective(user_vectors, candidates, batch.targets)
        if torch.isfinite(loss):
            user_gradient, item_gradient, *dense = torch.autograd.grad(loss, [users, items, *self._parameters])
            for parameter, gradient in zip(self._parameters, dense, strict=True):
                parameter.grad = gradient
            self.optimiser.step()
            adagrad_step(self.users, batch.user_rows, user_gradient, self._learning_rate)
            adagrad_step(self.items, batch.item_rows, item_gradient, self._learning_rate)
        return float(loss.detach())

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Vectors of the batch's users, float32 [B, dim], and of its distinct items, float32 [M, dim]."""
        self.towers.eval()
        with torch.no_grad():
            return self._forward(batch, self.users.rows[batch.user_rows], self.items.rows[batch.item_rows])

    def _forward(self, batch: Batch, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        id_rows, past = functional.embedding(batch.user_of, users), functional.embedding(batch.history_of, items)
        if batch.history_after is None:
            user_vectors = self.towers.user(id_rows, past, batch.history_mask, batch.history_age, batch.user_features)
        else:
            user_vectors = self.towers.user.along(
                id_rows, past, batch.history_age, batch.history_after, batch.user_features
            )
        item_vectors = self.towers.item(functional.embedding(batch.candidate_of, items), batch.item_features)
        return user_vectors, item_vectors
