"""One step of training: a batch through both towers, the loss, its gradient, and the change of every touched row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pagoda.config.model import AugmentConfig
from pagoda.config.self_supervision import SelfSupervisionConfig
from pagoda.config.training import TrainConfig
from pagoda.model.losses.contrastive import contrastive_loss
from pagoda.model.losses.distillation import ScoredItems
from pagoda.model.losses.dual_augmentation import alignment_loss, mimic_losses
from pagoda.model.losses.nearest import by_nearest
from pagoda.model.losses.objective import Candidates
from pagoda.model.towers.towers import Towers
from pagoda.training.batches.batcher import Batch, ViewBatch
from pagoda.training.device import autocasts, moved
from pagoda.training.learner.objectives import build_objective, distillation_loss, temperature_of
from pagoda.training.learner.optimisers import adagrad_step, dense_optimiser
from pagoda.training.negatives.candidates import CandidateMaker
from pagoda.training.negatives.relevance import with_bad
from pagoda.training.tables import TrainableTable


class Learner:
    """Everything that training changes."""

    def __init__(
        self,
        config: TrainConfig,
        towers: Towers,
        users: TrainableTable,
        items: TrainableTable,
        candidates: CandidateMaker,
        *,
        pace: float = 1.0,
    ) -> None:
        """Take over the parts; all learning rates are multiplied by `pace`."""
        self.towers, self.users, self.items, self.candidates = towers, users, items, candidates
        self._supervision, self._augment = config.self_supervision, config.model.augment
        self._distillation, self._negatives, self._declared = config.distillation, config.negatives, config.objective
        self.objective = build_objective(config.objective, candidates.items)
        self._parameters = list(towers.parameters())
        self.optimiser = dense_optimiser(towers, config.optimiser)
        if isinstance(self.objective, nn.Module):
            own = list(self.objective.parameters())
            self._parameters += own
            self.optimiser.add_param_group({"params": own, "weight_decay": 0.0})
        self._seed, self.steps = config.seed, 0
        self.device, self._precision = torch.device("cpu"), config.precision
        self._settings, self.full_pace = config.optimiser, pace
        self.slow_down(0.0)

    def learn(self, batch: Batch) -> float:
        """Take one step and return the batch's loss before it; when that is not finite, nothing is changed.

        What is dropped at random inside the towers follows from the seed and the number of the step alone.
        """
        self.towers.train()
        with torch.random.fork_rng(devices=[]):
            seed = int(np.random.SeedSequence((self._seed, self.steps)).generate_state(1)[0])
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

    def _change(self, table: TrainableTable, places: Tensor, gradient: Tensor) -> None:
        rate = self._settings.table_learning_rate * self._pace
        adagrad_step(table, places, gradient, rate, self._settings.table_memory)

    def _step(self, batch: Batch) -> float:
        users = self.users.rows[batch.user_rows].requires_grad_()
        items = self.items.rows[batch.item_rows].requires_grad_()
        user_vectors, item_vectors = self._forward(batch, users, items)
        candidates = self._candidates(batch, user_vectors, item_vectors)
        loss = self.objective(user_vectors, candidates, batch.targets, batch.weights)
        if batch.views is not None and self._supervision is not None:
            loss = loss + self._contrast(batch.views, items, self._supervision)
        if batch.scored is not None and self._distillation is not None:
            student = self._logits(batch.scored, user_vectors, item_vectors)
            loss = loss + distillation_loss(self._distillation, student, batch.scored.logits)
        if self._augment is not None:
            loss = loss + _mimicry(batch, users, items, (user_vectors, item_vectors), self._augment)
        if torch.isfinite(loss):
            # A user tower without ID row leaves the users' rows as they are.
            user_gradient, item_gradient, *dense = torch.autograd.grad(
                loss, [users, items, *self._parameters], allow_unused=True
            )
            for parameter, gradient in zip(self._parameters, dense, strict=True):
                parameter.grad = gradient
            self.optimiser.step()
            if user_gradient is not None:
                self._change(self.users, batch.user_rows, user_gradient)
            self._change(self.items, batch.item_rows, item_gradient)
        return float(loss.detach())

    def _candidates(self, batch: Batch, users: Tensor, items: Tensor) -> Candidates:
        found = self.candidates.of(batch, items)
        if batch.irrelevant is None:
            return found
        now = temperature_of(self.objective, self._declared)
        return with_bad(self._negatives, found, users, batch.targets, irrelevant=batch.irrelevant, temperature=now)

    def vectors(self, given: Batch) -> tuple[Tensor, Tensor]:
        """Vectors of the batch's users, float32 [B, dim], and of its distinct items, float32 [M, dim].

        Users of several interests have [B, interests, dim].
        """
        self.towers.eval()
        batch = moved(given, self.device)
        with torch.no_grad():
            return self._forward(batch, self.users.rows[batch.user_rows], self.items.rows[batch.item_rows])

    def _forward(self, batch: Batch, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=autocasts(self._precision, self.device)):
            user_vectors, item_vectors = self._towers(batch, users, items)
        return user_vectors.float(), item_vectors.float()

    def _towers(self, batch: Batch, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        keys, tower = batch.keys, self.towers.user
        read = keys.with_rows(functional.embedding(keys.users, users), functional.embedding(keys.history_items, items))
        user_vectors = tower(*read) if batch.after is None else tower.along(read, batch.after)
        item_vectors = self.towers.item(functional.embedding(batch.candidate_of, items), batch.item_features)
        return user_vectors, item_vectors

    def _contrast(self, views: ViewBatch, items: Tensor, config: SelfSupervisionConfig) -> Tensor:
        vectors = self.towers.item(functional.embedding(views.item_of, items), views.features)
        first, second = self.towers.directions(vectors).chunk(2)
        return config.weight * contrastive_loss(first, second, config.temperature)

    def _logits(self, scored: ScoredItems, users: Tensor, items: Tensor) -> Tensor:
        """Of each user for the items that the teacher has scored, float32 [B, n]."""
        given = functional.embedding(scored.items, items)
        cosines = by_nearest(lambda user: torch.einsum("bd,bnd->bn", user, given), users)
        return cosines / temperature_of(self.objective, self._declared)


def _mimicry(
    batch: Batch, users: Tensor, items: Tensor, vectors: tuple[Tensor, Tensor], config: AugmentConfig
) -> Tensor:
    """What augmented vectors learn beside the objective, given the rows and `vectors` of the batch."""
    of_users, of_items = vectors
    _, by_user = functional.embedding(batch.keys.users, users).chunk(2, 1)
    _, by_item = functional.embedding(batch.candidate_of[batch.targets], items).chunk(2, 1)
    loss = config.user * mimic_losses(by_user, of_items[batch.targets]).mean()
    loss = loss + config.item * mimic_losses(by_item, of_users).mean()
    if config.category is not None:
        loss = loss + config.align * alignment_loss(of_items, batch.item_features[config.category])
    return loss
