"""What one model of a training learns by: its towers, its objective, and its candidates of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pagoda.config.device import Precision
from pagoda.config.model import AugmentConfig
from pagoda.config.self_supervision import SelfSupervisionConfig
from pagoda.config.training import TrainConfig
from pagoda.model.losses.contrastive import contrastive_loss
from pagoda.model.losses.distillation import ScoredItems
from pagoda.model.losses.dual_augmentation import alignment_loss, mimic_losses
from pagoda.model.losses.nearest import by_nearest
from pagoda.model.losses.objective import Candidates
from pagoda.model.towers.ensemble import AnyTowers
from pagoda.model.towers.towers import Towers
from pagoda.training.batches.batcher import Batch, ViewBatch
from pagoda.training.device import autocasts
from pagoda.training.learner.objectives import build_objective, distillation_loss, temperature_of
from pagoda.training.negatives.candidates import CandidateMaker
from pagoda.training.negatives.relevance import with_bad


class Member:
    """One model: the only one, or one of an ensemble."""

    def __init__(self, config: TrainConfig, towers: Towers, candidates: CandidateMaker) -> None:
        """Make one; `config` is as of a training of this model alone."""
        self.towers, self.candidates, self._config = towers, candidates, config
        self.row_dim = config.model.row_dim
        self.objective = build_objective(config.objective, candidates.items)

    def loss(self, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            batch: On the device of all else.
            users: float32 [m, rows], those of its rows of users that are this model's.
            items: float32 [k, rows], likewise of items.
        """
        config = self._config
        user_vectors, item_vectors = vectors_of(self.towers, batch, users, items, config.precision)
        candidates = self._candidates(batch, user_vectors, item_vectors)
        loss = self.objective(user_vectors, candidates, batch.targets, batch.weights)
        if batch.views is not None and config.self_supervision is not None:
            loss = loss + self._contrast(batch.views, items, config.self_supervision)
        if batch.scored is not None and config.distillation is not None:
            student = self._logits(batch.scored, user_vectors, item_vectors)
            loss = loss + distillation_loss(config.distillation, student, batch.scored.logits)
        if config.model.augment is not None:
            loss = loss + _mimicry(batch, users, items, (user_vectors, item_vectors), config.model.augment)
        return loss

    def _candidates(self, batch: Batch, users: Tensor, items: Tensor) -> Candidates:
        found = self.candidates.of(batch, items)
        if batch.irrelevant is None:
            return found
        now = temperature_of(self.objective, self._config.objective)
        irrelevant, negatives = batch.irrelevant, self._config.negatives
        return with_bad(negatives, found, users, batch.targets, irrelevant=irrelevant, temperature=now)

    def _contrast(self, views: ViewBatch, items: Tensor, config: SelfSupervisionConfig) -> Tensor:
        vectors = self.towers.item(functional.embedding(views.item_of, items), views.features)
        first, second = self.towers.directions(vectors).chunk(2)
        return config.weight * contrastive_loss(first, second, config.temperature)

    def _logits(self, scored: ScoredItems, users: Tensor, items: Tensor) -> Tensor:
        """Of each user for the items that the teacher has scored, float32 [B, n]."""
        given = functional.embedding(scored.items, items)
        cosines = by_nearest(lambda user: torch.einsum("bd,bnd->bn", user, given), users)
        return cosines / temperature_of(self.objective, self._config.objective)


def vectors_of(
    towers: AnyTowers, batch: Batch, users: Tensor, items: Tensor, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Vectors of a batch's users, float32 [B, D], and of its distinct items, float32 [M, D], given its rows.

    Users of several interests have [B, interests, D].
    """
    device, keys = users.device, batch.keys
    with torch.autocast(device.type, torch.bfloat16, enabled=autocasts(precision, device)):
        read = keys.with_rows(functional.embedding(keys.users, users), functional.embedding(keys.history_items, items))
        user_vectors = towers.user(*read) if batch.after is None else towers.user.along(read, batch.after)
        item_vectors = towers.item(functional.embedding(batch.candidate_of, items), batch.item_features)
    return user_vectors.float(), item_vectors.float()


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
