"""What a user tower reads: its inputs, and the keys that ID rows are looked up by before.

Built in two places: `pagoda.model.user_moments` for tables, `serving.tower.inputs` for requests. Whoever has rows to
put for keys (training, export, evaluation, serving) needs to know no more of what a tower reads than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.data.spec import HISTORY_EVENT
from pagoda.model.tensors import tensors

Array = NDArray[Any]
Values = TypeVar("Values", Array, Tensor)


class RowLookup(Protocol):
    """ID rows, wherever they are: published, under delta segments, or being trained."""

    def lookup(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows float32 [n, dim], and which IDs have one of their own, bool [n]; others have what the table says."""


class UserInputs(NamedTuple):
    """What a user tower reads of B users, in the order in which exported programs take it.

    Along sequences (see `UserTower.along`) histories are S sequences, and the first event is in the first column.
    """

    id_rows: Tensor
    """float32 [B, D]: the users' ID rows; with augmented vectors beside them [B, 2 D]."""
    history_rows: Tensor
    """float32 [B, L, D]: the item-ID rows of their histories, the last event in the last column; as long as ID rows."""
    history_mask: Tensor
    """bool [B, L]: True where there is an event."""
    history_age: Tensor
    """float32 [B, L]: seconds from the event to the request; along sequences float64, to the newest event."""
    features: dict[str, Tensor]
    """As `Encoder` gives them for the user tower; with `HISTORY_EVENT` where the history says which event each was,
    int64 [B, L], as in `kinds_of`."""


@dataclass(frozen=True, slots=True)
class UserKeys(Generic[Values]):
    """The same before ID rows are looked up: the keys of a table (IDs, or places in it) stand for them.

    Arrays at first, since NumPy is quicker at what is done with them: put together, hidden, looked up in pieces.
    """

    users: Values
    """int64 [B]."""
    history_items: Values
    """int64 [B, L]; 0 where there is no event."""
    history_mask: Values
    history_age: Values
    features: dict[str, Values]
    history_kinds: Values | None = None
    """int64 [B, L]: which event each was; None where histories do not say."""

    def __len__(self) -> int:
        return len(self.users)

    @staticmethod
    def stack(parts: Sequence[UserKeys[Array]]) -> UserKeys[Array]:
        """The users of all parts (one at least), one after another."""
        if len(parts) == 1:
            return parts[0]
        return UserKeys(
            np.concatenate([part.users for part in parts]),
            np.concatenate([part.history_items for part in parts]),
            np.concatenate([part.history_mask for part in parts]),
            np.concatenate([part.history_age for part in parts]),
            {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features},
            None if parts[0].history_kinds is None else np.concatenate([part.history_kinds for part in parts]),
        )

    def tensors(self: UserKeys[Array]) -> UserKeys[Tensor]:
        """The same as tensors, in the same memory."""
        return UserKeys(
            torch.from_numpy(self.users),
            torch.from_numpy(self.history_items),
            torch.from_numpy(self.history_mask),
            torch.from_numpy(self.history_age),
            tensors(self.features),
            None if self.history_kinds is None else torch.from_numpy(self.history_kinds),
        )

    def with_rows(self: UserKeys[Tensor], id_rows: Tensor, history_rows: Tensor) -> UserInputs:
        """The inputs, given the rows of the keys: float32 [B, D] and [B, L, D]."""
        told = {} if self.history_kinds is None else {HISTORY_EVENT: self.history_kinds}
        return UserInputs(id_rows, history_rows, self.history_mask, self.history_age, self.features | told)

    def id_rows(self: UserKeys[Array], users: RowLookup) -> Tensor:
        """float32 [B, D]: the users' rows in a table of IDs."""
        return torch.from_numpy(users.lookup(self.users)[0])

    def history_rows(self: UserKeys[Array], items: RowLookup) -> Tensor:
        """float32 [B, L, D]: the rows of their histories in a table of IDs; any row where there is no event."""
        rows, _ = items.lookup(self.history_items.ravel())
        return torch.from_numpy(rows.reshape(*self.history_items.shape, rows.shape[1]))
