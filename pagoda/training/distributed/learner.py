"""One step of several processes: each takes its users' part of one global batch, and all end at the same towers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from pagoda.config.training import TrainConfig
from pagoda.model.losses.objective import Candidates
from pagoda.model.towers.towers import Towers
from pagoda.training.batches.batcher import Batch
from pagoda.training.device import moved
from pagoda.training.distributed.item_rows import ShardedRows
from pagoda.training.distributed.ranks import TrainingRanks
from pagoda.training.learner.learner import Learner
from pagoda.training.learner.member import Member, vectors_of
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.learner.state import restore, tensors_of
from pagoda.training.negatives.candidates import CandidateMaker
from pagoda.training.tables import OOV, TrainableTable


class RankMember(Member):
    """A model whose candidates are computed by all processes, each a part of them."""

    def __init__(self, config: TrainConfig, towers: Towers, candidates: CandidateMaker, ranks: TrainingRanks) -> None:
        super().__init__(config, towers, candidates)
        self._ranks = ranks

    @override
    def loss(self, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
        """This process's part of the loss: those of all add up to the mean over all positives."""
        if not len(batch):
            vectors = self.towers.item(functional.embedding(batch.candidate_of, items), batch.item_features).float()
            return 0.0 * self._ranks.gathered(vectors, len(batch.places)).sum()
        return super().loss(batch, users, items) * (len(batch) / batch.of_all)

    @override
    def _candidates(self, batch: Batch, users: Tensor, items: Tensor) -> Candidates:
        return super()._candidates(batch, users, self._ranks.gathered(items, len(batch.places)))


class RankLearner(Learner):
    """What training changes, of which this process has its users' rows and a range of the items'."""

    def __init__(self, before: Learner, config: TrainConfig, ranks: TrainingRanks) -> None:
        """Take the place of a learner of this process's users and all items, whose rows are shared out."""
        self._ranks, self._sharded = ranks, ShardedRows(before.items, ranks.device)
        own = self._sharded.own
        items = TrainableTable(before.items.ids, own.rows, own.squares)
        candidates = [member.candidates for member in before.members]
        super().__init__(config, before.towers, before.users, items, candidates, pace=before.full_pace)
        restore(self, tensors_of(before))

    @property
    def first_item(self) -> int:
        """Which row of the whole item table is the first of `items.rows`."""
        return self._sharded.own.first

    @override
    def _members(self, config: TrainConfig, candidates: Sequence[CandidateMaker]) -> tuple[Member, ...]:
        parts = zip(config.members, self.towers.members, candidates, strict=True)
        return tuple(RankMember(*part, self._ranks) for part in parts)

    @override
    def _seed(self) -> int:
        # What towers drop is drawn for each row, so not alike for those of other processes.
        entropy = (self._config.seed, self.steps, 1 + self._ranks.share.rank)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    @override
    def _step(self, batch: Batch) -> float:
        (member,) = self.members
        users = self.users.rows.index_select(0, batch.user_rows).requires_grad_()
        rate = self._settings.table_learning_rate * self._pace
        part = member.loss(batch, users, self._sharded.lookup(batch.item_rows, rate))
        loss = float(self._ranks.total(part.detach().clone()))
        if math.isfinite(loss):
            self.optimiser.zero_grad()
            part.backward()  # type: ignore[no-untyped-call]
            by_users = torch.zeros_like(users) if users.grad is None else users.grad
            unknown = self._shared_gradients(by_users[batch.user_rows == OOV].sum(0))
            self.optimiser.step()
            own = batch.user_rows != OOV
            adagrad_step(self.users, batch.user_rows[own], [by_users[own]], rate)
            adagrad_step(self.users, batch.user_rows.new_tensor([OOV]), [unknown[None]], rate)
        return loss

    def _shared_gradients(self, unknown: Tensor) -> Tensor:
        """Make the towers' gradients the sums over all processes, and return that of the out-of-vocabulary user's row.

        All in one message. What no process has a gradient of gets none: AdamW would let it decay.
        """
        parameters = self._parameters
        there = unknown.new_tensor([float(parameter.grad is not None) for parameter in parameters])
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        flat = self._ranks.total(torch.cat([there, unknown, *[part.flatten() for part in parts]]))
        sizes = [len(there), len(unknown), *[part.numel() for part in parts]]
        have, of_unknown, *sums = torch.split(flat, sizes)
        for parameter, gradient, count in zip(parameters, sums, have.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if count else None
        return of_unknown

    @override
    def vectors(self, given: Batch) -> tuple[Tensor, Tensor]:
        """As `Learner.vectors`: of this process's users, and of the items of all."""
        self.towers.eval()
        batch = moved(given, self.device)
        with torch.no_grad():
            users, items = self.users.rows[batch.user_rows], self._sharded.lookup(batch.item_rows, 0.0)
            of_users, of_items = vectors_of(self.towers, batch, users, items, self._config.precision)
            return of_users, self._ranks.gathered(of_items, len(batch.places))
