"""Ensembles: the towers of several models as one pair of towers, whose vectors are the members' end to end.

Huang et al., KDD 2020, section 6.2. Of a weighted ensemble of unit vectors u_i and v_i, with weights a_i of sum 1,

    u = concatenation over i of sqrt(a_i) u_i, and v of sqrt(a_i) v_i

have unit length, and u.v is the sum over i of a_i cos(u_i, v_i): whoever searches need not know of members. (The paper
leaves v_i as they are and has all of a_i in u, which orders items alike.) A cascade has each member's vectors as they
are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pagoda.config.training import TrainConfig
from pagoda.model.encoder import Encoder
from pagoda.model.towers.towers import ItemTower, Towers, UserTower
from pagoda.model.user_inputs import UserInputs


class _Members(nn.Module):
    """The towers of one side."""

    weights: Tensor

    def __init__(
        self, towers: Sequence[UserTower] | Sequence[ItemTower], rows: Sequence[int], *, weighted: bool
    ) -> None:
        """Put towers beside each other that read `rows` numbers each of an ID row."""
        super().__init__()
        self.towers, self._rows = nn.ModuleList(towers), list(rows)
        share = 1 / len(rows) if weighted else 1.0
        self.register_buffer("weights", torch.full((len(rows),), share))

    def _joined(self, vectors: Sequence[Tensor]) -> Tensor:
        roots = self.weights.sqrt()
        return torch.cat([part * roots[place] for place, part in enumerate(vectors)], -1)


class UserTowers(_Members):
    """The user towers of all members."""

    interests = 1
    history = None

    @property
    def _towers(self) -> Iterator[UserTower]:
        return cast("Iterator[UserTower]", iter(self.towers))

    @property
    def reads_age(self) -> bool:
        """As `UserTower.reads_age`, which all members have alike."""
        return any(tower.reads_age for tower in self._towers)

    def forward(
        self,
        id_rows: Tensor,
        history_rows: Tensor,
        history_mask: Tensor,
        history_age: Tensor,
        features: dict[str, Tensor],
    ) -> Tensor:
        """Compute user vectors float32 [B, sum of D] as `UserTower.forward` does, from rows of all members."""
        parts = self._apart(UserInputs(id_rows, history_rows, history_mask, history_age, features))
        return self._joined([tower(*part) for tower, part in zip(self.towers, parts, strict=True)])

    def along(self, inputs: UserInputs, after: Tensor) -> Tensor:
        """Compute vectors float32 [B, sum of D] as `UserTower.along` does."""
        parts = zip(self._towers, self._apart(inputs), strict=True)
        return self._joined([tower.along(part, after) for tower, part in parts])

    def without_own(self, inputs: UserInputs, own: Tensor) -> Tensor:
        """Compute vectors float32 [B, sum of D] as `UserTower.without_own` does."""
        parts = zip(self._towers, self._apart(inputs), strict=True)
        return self._joined([tower.without_own(part, own) for tower, part in parts])

    def _apart(self, inputs: UserInputs) -> list[UserInputs]:
        of_users = torch.split(inputs.id_rows, self._rows, 1)
        of_history = torch.split(inputs.history_rows, self._rows, 2)
        return [inputs._replace(id_rows=own, history_rows=past) for own, past in zip(of_users, of_history, strict=True)]


class ItemTowers(_Members):
    """The item towers of all members."""

    def forward(self, id_rows: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Compute item vectors float32 [B, sum of D] as `ItemTower.forward` does, from rows of all members."""
        parts = zip(self.towers, torch.split(id_rows, self._rows, 1), strict=True)
        return self._joined([tower(rows, features) for tower, rows in parts])


class Ensemble(nn.Module):
    """Both sides, with one set of named parameters. Weights are among them, but are not learned."""

    branches = None

    def __init__(self, config: TrainConfig, encoder: Encoder) -> None:
        """Build the towers of all members for what `encoder` gives."""
        super().__init__()
        rows = [member.model.row_dim for member in config.members]
        weighted = config.ensemble is not None and config.ensemble.combine == "weighted"
        self.cascade = config.cascade
        # In a tuple they are no submodules: their networks are those of both sides, and are named and learned once.
        self.members = tuple(Towers(member.model, encoder) for member in config.members)
        self.dim, self.history_length = sum(member.dim for member in self.members), self.members[0].history_length
        self.user = UserTowers([member.user for member in self.members], rows, weighted=weighted)
        self.item = ItemTowers([member.item for member in self.members], rows, weighted=weighted)

    @property
    def weights(self) -> list[float]:
        """How much each member counts in the product of two vectors: its cosine times this is its part of it."""
        weights: list[float] = self.user.weights.tolist()
        return weights

    def weigh(self, weights: Sequence[float]) -> None:
        """Have each member count so much, all together 1."""
        for side in (self.user, self.item):
            side.weights.copy_(torch.tensor(weights))

    def directions(self, vectors: Tensor) -> Tensor:
        """As `Towers.directions`: the members' vectors have unit length."""
        return vectors


AnyTowers = Towers | Ensemble


def build_towers(config: TrainConfig, encoder: Encoder) -> AnyTowers:
    """The towers that a configuration declares, for what `encoder` gives."""
    towers = Towers(config.model, encoder) if config.ensemble is None else Ensemble(config, encoder)
    weigh_as_declared(towers, config)
    return towers


def weigh_as_declared(towers: AnyTowers, config: TrainConfig) -> None:
    """Have each member count as the configuration says, where it says it."""
    if isinstance(towers, Ensemble) and config.ensemble and config.ensemble.weights:
        towers.weigh(config.ensemble.weights)
