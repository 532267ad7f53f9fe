"""The two networks. ID rows come from outside (`pagoda.embeddings`), so a tower's own parameters stay few.

Each tower adds its ID row, and the user tower also its pooled history, to what its blocks make of all inputs: rows of
items in the history and rows of items to be found live in one space from the first step on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pagoda.config.model import ModelConfig, TowerConfig, UserTowerConfig
from pagoda.errors import ConfigError
from pagoda.model.encoder import Encoder, Field
from pagoda.model.features.feature_embeddings import FeatureEmbeddings
from pagoda.model.history.factory import build_history
from pagoda.model.towers.blocks import build_blocks
from pagoda.model.user_inputs import UserInputs

EXAMPLE_AGE = "example_age"
"""Key of an example's age in days, float32 [B, 1], among the features of the user tower; absent when serving."""
_AGES = 2
_ONE_VECTOR = 3
"""Dimensions of the rows of users or items with one vector each."""


class _Tower(nn.Module):
    def __init__(self, config: TowerConfig, dim: int, rows: int, fields: Sequence[Field], feature_dim: int) -> None:
        super().__init__()
        self.features = FeatureEmbeddings(fields, feature_dim)
        self._ages = _AGES if isinstance(config, UserTowerConfig) and config.example_age else 0
        widths = [dim] * rows + self.features.widths + [self._ages] * bool(self._ages)
        self.blocks, width = build_blocks(config.blocks, widths)
        # Rows alone already lie in the space of vectors.
        self.projection = nn.Linear(width, dim) if config.blocks or fields else None

    def _vector(self, rows: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Unit vectors [B, D] from `rows` float32 [B, rows, D] and encoded features.

        Of several interests [B, interests, D] from [B, interests, rows, D], each by the same weights.
        """
        total = rows.sum(-2)
        if self.projection is not None:
            about = [*self.features(features), *self._age(rows, features)]
            if rows.ndim > _ONE_VECTOR:
                about = [part[:, None].expand(-1, rows.shape[1], -1) for part in about]
            total = self.projection(self.blocks(torch.cat([rows.flatten(-2), *about], -1))) + total
        return functional.normalize(total, dim=-1)

    def _age(self, rows: Tensor, features: Mapping[str, Tensor]) -> list[Tensor]:
        """The age of examples; zeros where there is none, as serving has it."""
        if not self._ages:
            return []
        age = features.get(EXAMPLE_AGE)
        scaled = torch.zeros_like(rows.flatten(1)[:, :1]) if age is None else age.log1p()
        return [torch.cat([scaled, scaled.square()], 1)]


class UserTower(_Tower):
    """Who a user is and what they did last, to a unit vector."""

    def __init__(self, config: ModelConfig, fields: Sequence[Field], history_length: int) -> None:
        """Build it for the encoded user `fields`; without a history (length 0) it takes and ignores arrays [B, 0]."""
        history = build_history(config, history_length) if history_length else None
        if history is None and not config.user.id_row:
            raise ConfigError("model.user.id_row is false, but the dataset declares no history to tell users apart by")
        rows = int(config.user.id_row) + (history.vectors if history else 0)
        super().__init__(config.user, config.dim, rows, fields, config.feature_dim)
        self._id_row, self.history = config.user.id_row, history
        self.interests = history.interests if history else 1
        """Vectors of a user."""

    @property
    def reads_age(self) -> bool:
        """Whether training gives it the age of examples."""
        return bool(self._ages)

    def forward(
        self,
        id_rows: Tensor,
        history_rows: Tensor,
        history_mask: Tensor,
        history_age: Tensor,
        features: dict[str, Tensor],
    ) -> Tensor:
        """Compute user vectors float32 [B, D] of unit length from `UserInputs`; of several interests [B, interests, D].

        They are arguments one by one, since that is how exported programs are called.
        """
        inputs = UserInputs(id_rows, history_rows, history_mask, history_age, features)
        rows = self._id_rows(inputs)
        if self.history is not None:
            rows.append(self.history(inputs))
        return self._vector(torch.cat(rows, -2), inputs.features)

    def along(self, inputs: UserInputs, after: Tensor) -> Tensor:
        """Compute the vectors that users had along their sequences: as `forward`, in one pass over each sequence.

        Args:
            inputs: Of B users; histories are S sequences [S, L], the first event in the first column.
            after: int64 [B], the event after which each vector is wanted, as sequence x L + column; -1 before all.

        Returns:
            float32 [B, D], unit length.
        """
        rows = self._id_rows(inputs)
        if self.history is not None:
            encoded = self.history.along(inputs).flatten(0, 1)
            rows.append(encoded[after.clamp(min=0)] * (after >= 0)[:, None, None])
        return self._vector(torch.cat(rows, 1), inputs.features)

    def _id_rows(self, inputs: UserInputs) -> list[Tensor]:
        if not self._id_row:
            return []
        rows = inputs.id_rows[:, None]
        return [rows if self.interests == 1 else rows[:, None].expand(-1, self.interests, -1, -1)]


class ItemTower(_Tower):
    """What an item is, to a unit vector."""

    def __init__(self, config: ModelConfig, fields: Sequence[Field]) -> None:
        """Build it for the encoded item `fields`."""
        super().__init__(config.item, config.dim, 1, fields, config.feature_dim)

    def forward(self, id_rows: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Compute item vectors float32 [B, D] of unit length from ID rows float32 [B, D] and encoded features."""
        return self._vector(id_rows[:, None], features)


class Towers(nn.Module):
    """Both towers, with one set of named parameters."""

    def __init__(self, config: ModelConfig, encoder: Encoder) -> None:
        """Build both for what `encoder` gives."""
        super().__init__()
        self.history_length = encoder.spec.history.length if encoder.spec.history else 0
        self.user = UserTower(config, encoder.fields("user"), self.history_length)
        self.item = ItemTower(config, encoder.fields("item"))

    def warm_start(self, parameters: Mapping[str, Tensor]) -> None:
        """Take over a parent's parameters; embeddings that have grown keep their new rows as initialised."""
        with torch.no_grad():
            for name, own in self.state_dict().items():
                own[: len(parameters[name])].copy_(parameters[name])
