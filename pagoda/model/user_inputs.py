"""What a user tower reads: its inputs, and the keys that ID rows are looked up by before.

Built in two places: `pagoda.model.user_moments` for tables, `serving.tower.inputs` for requests. Whoever has rows to
put for keys (training, export, evaluation, serving) needs to know no more of what a tower reads than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class RowLookup(Protocol):
    """ID rows, wherever they are: published, under delta segments, or being trained."""

    def lookup(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows float32 [n, dim], the out-of-vocabulary row for an ID without one, and which IDs have one, bool [n]."""


class UserInputs(NamedTuple):
    """What a user tower reads of B users, in the order in which exported programs take it.

    Along sequences (see `UserTower.along`) histories are S sequences, and the first event is in the first column.
    """

    id_rows: Tensor
    """float32 [B, D]: the users' ID rows."""
    history_rows: Tensor
    """float32 [B, L, D]: the item-ID rows of their histories, the last event in the last column."""
    history_mask: Tensor
    """bool [B, L]: True where there is an event."""
    history_age: Tensor
    """float32 [B, L]: seconds from the event to the request; along sequences float64, to the newest event."""
    features: dict[str, Tensor]
    """As `Encoder` gives them for the user tower."""


class UserKeys(NamedTuple):
    """The same before ID rows are looked up: the keys of a table (IDs, or places in it) stand for them."""

    users: Tensor
    """int64 [B]."""
    history_items: Tensor
    """int64 [B, L]; 0 where there is no event."""
    history_mask: Tensor
    history_age: Tensor
    features: dict[str, Tensor]

    @classmethod
    def stack(cls, parts: Sequence[UserKeys]) -> UserKeys:
        """The users of all parts (one at least), one after another."""
        if len(parts) == 1:
            return parts[0]
        *columns, features = zip(*parts, strict=True)
        together = {name: torch.cat([part[name] for part in features]) for name in features[0]}
        return cls._make([*map(torch.cat, columns), together])

    def with_rows(self, id_rows: Tensor, history_rows: Tensor) -> UserInputs:
        """The inputs, given the rows of the keys: float32 [B, D] and [B, L, D]."""
        return UserInputs(id_rows, history_rows, *self[2:])

    def id_rows(self, users: RowLookup) -> Tensor:
        """float32 [B, D]: the users' rows in a table of IDs."""
        return torch.from_numpy(users.lookup(self.users.numpy())[0])

    def history_rows(self, items: RowLookup) -> Tensor:
        """float32 [B, L, D]: the rows of their histories in a table of IDs; any row where there is no event."""
        rows, _ = items.lookup(self.history_items.numpy().ravel())
        return torch.from_numpy(rows.reshape(*self.history_items.shape, rows.shape[1]))
