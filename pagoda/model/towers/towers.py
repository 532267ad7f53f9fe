"""The two networks. ID rows come from outside (`pagoda.embeddings`), so a tower's own parameters stay few.

Each tower adds its ID row, and the user tower also its pooled history, to what its blocks make of all inputs: rows of
items in the history and rows of items to be found live in one space from the first step on. In parallel towers one of
the branches does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pagoda.config.model import ModelConfig, TowerConfig, UserTowerConfig
from pagoda.data.spec import HISTORY_EVENT
from pagoda.errors import ConfigError
from pagoda.model.encoder import Encoder, Field
from pagoda.model.features.feature_embeddings import FeatureEmbeddings
from pagoda.model.history.factory import build_history
from pagoda.model.towers.blocks import build_blocks
from pagoda.model.towers.branches import Branches, SharedBranches
from pagoda.model.unit_vectors import normalized
from pagoda.model.user_inputs import UserInputs

EXAMPLE_AGE = "example_age"
"""Key of an example's age in days, float32 [B, 1], among the features of the user tower; absent when serving."""
_AGES = 2
AUGMENTED = "\0augmented"
"""Key of augmented vectors, float32 [B, D], among the features inside a tower; no program may hold a feature of such a
name. An ID's own is the second half of its row (`AugmentConfig`)."""
_ONE_VECTOR = 3
"""Dimensions of the rows of users or items with one vector each."""


class _Tower(nn.Module):
    def __init__(
        self,
        model: ModelConfig,
        config: TowerConfig,
        rows: int,
        fields: Sequence[Field],
        shared: SharedBranches | None,
    ) -> None:
        super().__init__()
        self._similarity, self._augmented = model.similarity, model.augment is not None
        fields = [*fields, *[Field(AUGMENTED, "dense", model.dim)] * self._augmented]
        self.features = FeatureEmbeddings(fields, model.feature_dim, config.pooling)
        self._ages = _AGES if isinstance(config, UserTowerConfig) and config.example_age else 0
        widths = [model.dim] * rows + self.features.widths + [self._ages] * bool(self._ages)
        self.blocks, width = build_blocks(config.blocks, widths)
        self.branches = Branches(shared, widths) if shared else None
        # Rows alone already lie in the space of vectors.
        self.projection = nn.Linear(width, model.dim) if (config.blocks or fields) and not shared else None

    def _vector(self, rows: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Vectors [B, D], of unit length for cosines, from `rows` float32 [B, rows, D] and encoded features.

        Of several interests [B, interests, D] from [B, interests, rows, D], each by the same weights.
        """
        # The sum of one row would be copied, and its gradient too.
        total = rows.sum(-2) if rows.shape[-2] > 1 else rows.squeeze(-2)
        if self.branches is not None:
            total = self.branches(self._behind_blocks(rows, features), total)
        elif self.projection is not None:
            total = self.projection(self._behind_blocks(rows, features)) + total
        return normalized(total, training=self.training) if self._similarity == "cosine" else total

    def _take_apart(self, id_rows: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """ID rows float32 [B, D], and features with the augmented vectors that were beside them."""
        own, augmented = id_rows.chunk(2, 1)
        return own, {**features, AUGMENTED: augmented}

    def _behind_blocks(self, rows: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        about = [*self.features(features), *self._age(rows, features)]
        if rows.ndim > _ONE_VECTOR:
            about = [part[:, None].expand(-1, rows.shape[1], -1) for part in about]
        changed: Tensor = self.blocks(torch.cat([rows.flatten(-2), *about], -1))
        return changed

    def _age(self, rows: Tensor, features: Mapping[str, Tensor]) -> list[Tensor]:
        """The age of examples; zeros where there is none, as serving has it."""
        if not self._ages:
            return []
        age = features.get(EXAMPLE_AGE)
        scaled = torch.zeros_like(rows.flatten(1)[:, :1]) if age is None else age.log1p()
        return [torch.cat([scaled, scaled.square()], 1)]


class UserTower(_Tower):
    """Who a user is and what they did last, to a vector."""

    def __init__(
        self,
        config: ModelConfig,
        fields: Sequence[Field],
        history_length: int,
        told_events: int = 0,
        shared: SharedBranches | None = None,
    ) -> None:
        """Build it for the encoded user `fields`.

        Without a history (length 0) it takes and ignores arrays [B, 0]. Where histories say which of `told_events`
        events each was (0: they do not), the event's vector is added to the item's row; it begins as zero.
        """
        history = build_history(config, history_length) if history_length else None
        if history is None and not config.user.id_row:
            raise ConfigError("model.user.id_row is false, but the dataset declares no history to tell users apart by")
        rows = int(config.user.id_row) + (history.vectors if history else 0)
        super().__init__(config, config.user, rows, fields, shared)
        self._id_row, self.history = config.user.id_row, history
        # Of the first, which stands for an unknown event, it stays zero.
        self.events = nn.Embedding(told_events + 1, config.dim, padding_idx=0) if told_events else None
        if self.events is not None:
            nn.init.zeros_(self.events.weight)
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
        """Compute user vectors float32 [B, D], of unit length for cosines, from `UserInputs`.

        Of several interests they are [B, interests, D].

        They are arguments one by one, since that is how exported programs are called.
        """
        inputs = self._read(UserInputs(id_rows, history_rows, history_mask, history_age, features))
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
            float32 [B, D], as `forward` has them.
        """
        inputs = self._read(inputs)
        rows = self._id_rows(inputs)
        if self.history is not None:
            rows.append(_at(self.history.along(inputs), after))
        return self._vector(torch.cat(rows, 1), inputs.features)

    def without_own(self, inputs: UserInputs, own: Tensor) -> Tensor:
        """Compute the vectors that users have by their set without one item: as `forward`, in one pass over each set.

        Args:
            inputs: Of B users; histories are S sets [S, L], left-aligned.
            own: int64 [B], the item that each vector goes without, as set x L + column; -1 for without any history.

        Returns:
            float32 [B, D], as `forward` has them.
        """
        inputs = self._read(inputs)
        rows = self._id_rows(inputs)
        if self.history is not None:
            rows.append(_at(self.history.without_each(inputs), own))
        return self._vector(torch.cat(rows, 1), inputs.features)

    def _read(self, inputs: UserInputs) -> UserInputs:
        """The inputs with augmented vectors taken out of rows, and those of events added to items' own in histories."""
        if self._augmented:
            own, features = self._take_apart(inputs.id_rows, inputs.features)
            of_history, _ = inputs.history_rows.chunk(2, 2)
            inputs = inputs._replace(id_rows=own, history_rows=of_history, features=features)
        if self.events is not None:
            told = self.events(inputs.features[HISTORY_EVENT])
            inputs = inputs._replace(history_rows=inputs.history_rows + told)
        return inputs

    def _id_rows(self, inputs: UserInputs) -> list[Tensor]:
        if not self._id_row:
            return []
        rows = inputs.id_rows[:, None]
        return [rows if self.interests == 1 else rows[:, None].expand(-1, self.interests, -1, -1)]


def _at(encoded: Tensor, places: Tensor) -> Tensor:
    """Of what is encoded at each event, [S, L, vectors, D], that at places in [S x L]; zeros for -1."""
    return encoded.flatten(0, 1)[places.clamp(min=0)] * (places >= 0)[:, None, None]


class ItemTower(_Tower):
    """What an item is, to a vector."""

    def __init__(self, config: ModelConfig, fields: Sequence[Field], shared: SharedBranches | None = None) -> None:
        """Build it for the encoded item `fields`."""
        super().__init__(config, config.item, 1, fields, shared)

    def forward(self, id_rows: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Compute item vectors float32 [B, D], of unit length for cosines.

        Args:
            id_rows: float32 [B, D]; with augmented vectors [B, 2 D].
            features: As `Encoder` gives them for the item tower.
        """
        if self._augmented:
            id_rows, features = self._take_apart(id_rows, features)
        return self._vector(id_rows[:, None], features)


class Towers(nn.Module):
    """Both towers, with one set of named parameters."""

    cascade, weights = None, (1.0,)
    """As of `pagoda.model.towers.ensemble.Ensemble`."""

    def __init__(self, config: ModelConfig, encoder: Encoder) -> None:
        """Build both for what `encoder` gives."""
        super().__init__()
        self.dim, self._similarity = config.dim, config.similarity
        self.history_length = encoder.spec.history.length if encoder.spec.history else 0
        told_events = len(encoder.spec.history_events) if encoder.spec.embeds_events else 0
        self.branches = SharedBranches(config.branches, config.dim) if config.branches else None
        self.user = UserTower(config, encoder.fields("user"), self.history_length, told_events, self.branches)
        self.item = ItemTower(config, encoder.fields("item"), self.branches)

    @property
    def members(self) -> tuple[Towers, ...]:
        """The models of which these are the towers: one."""
        return (self,)

    def directions(self, vectors: Tensor) -> Tensor:
        """Where vectors float32 [..., D] of either tower point: of unit length."""
        return vectors if self._similarity == "cosine" else functional.normalize(vectors, dim=-1)


def warm_start(towers: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Take over a parent's parameters; embeddings that have grown keep their new rows as initialised."""
    with torch.no_grad():
        for name, own in towers.state_dict().items():
            own[: len(parameters[name])].copy_(parameters[name])
