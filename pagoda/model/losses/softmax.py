"""Softmax cross-entropy over products of vectors, with its gradients, without ever holding the matrix of logits.

At batch 2048 that matrix is 16 MB, and autograd would write and read it a dozen times. Here a block of rows stays in
cache: logits, exponentials and the products with them, then the next block. Blocks are shared among threads that wait
for each other once, rather than at every operation; what they add up is added in the order of blocks, so the result
does not depend on how many threads there are.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from typing_extensions import override

_BLOCK_NUMBERS = 1 << 19
"""Logits of a block: 2 MB in float32, so that they stay in a core's cache."""
_MOST_NUMBERS = 1 << 23
"""Logits of a block whose rows are longer than that: products of few rows with many columns leave a core idle."""
_ROWS = 256
"""From so many rows on products are no faster: over 12,101 columns of length 128, a row costs 0.12 ms on one core in
blocks of 256, and 0.19 in blocks of the 43 that stay in cache."""
_FEWEST_ROWS = 16
_SAFE_SPREAD = 60.0
"""Logits that differ by no more can all be exponentiated after one shift: exp(-60) is far from float32's least."""


def softmax_loss(
    users: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    scale: Tensor | float,
    bias: Tensor,
    first_shared: int = 0,
    weights: Tensor | None = None,
    masked: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of the logits scale * users @ items.T + bias.

    Args:
        users: [B, D].
        items: [M, D].
        targets: int64 [B], the column that is right in each row.
        scale: A number, or a tensor without dimensions that may be learned.
        bias: [M], not learned.
        first_shared: Columns before this one stand in a row only where they are right.
        weights: [B], by which each row's loss is multiplied, not learned; None: by 1.
        masked: int64 [2, n], rows (ascending) and columns that do not stand in the sum; none is right in its row.
    """
    scalar = scale if isinstance(scale, Tensor) else torch.tensor(scale, dtype=users.dtype)
    loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        users, items, scalar, (bias.to(users.dtype), targets, first_shared, weights, masked)
    )
    return loss


_Given = tuple[Tensor, Tensor, int, Tensor | None, Tensor | None]


class _SoftmaxLoss(torch.autograd.Function):
    """All gradients are computed with the loss, since the exponentials are at hand then."""

    @staticmethod
    @override
    def forward(ctx: Any, users: Tensor, items: Tensor, scale: Tensor, given: _Given) -> Tensor:
        bias, targets, first, weights, masked = given
        problem = _Problem(
            users, items, targets, scale=float(scale), bias=bias, first=first, weights=weights, masked=masked
        )
        sums = problem.solve()
        lacks = torch.cat([part.lacks for part in sums])[:, None]
        by_user = torch.cat([part.users for part in sums]).addcmul_(lacks, items[targets], value=-1)
        shared = sums[0].items
        for part in sums[1:]:
            shared += part.items
        by_item = functional.pad(shared, (0, 0, first, 0)) if first else shared
        by_item.index_add_(0, targets, lacks * users, alpha=-1)
        ctx.save_for_backward(by_user, by_item, users)
        ctx.scale = problem.scale
        return torch.cat([part.losses for part in sums]).mean()

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        by_user, by_item, users = ctx.saved_tensors
        mean = gradient / len(users)
        # By the scale, logits have the gradient that they have by the users, times the users over the scale.
        by_scale = (by_user * users).sum() * mean if ctx.needs_input_grad[2] else None
        return by_user * (mean * ctx.scale), by_item * (mean * ctx.scale), by_scale, None


class _Sums(NamedTuple):
    """What a block of rows gives. Gradients are of the sum of losses by scaled vectors, without the own items' part."""

    losses: Tensor
    """[rows]."""
    users: Tensor
    """[rows, D]."""
    items: Tensor
    """[columns, D]."""
    lacks: Tensor
    """[rows]: how much of each row's own item is to be taken off: 1 less what the softmax gives it elsewhere, by the
    row's weight."""


class _Problem:
    def __init__(
        self,
        users: Tensor,
        items: Tensor,
        targets: Tensor,
        *,
        scale: float,
        bias: Tensor,
        first: int,
        weights: Tensor | None,
        masked: Tensor | None,
    ) -> None:
        self.weights, self.masked = weights, masked
        self.users, self.items, self.scale, self.targets, self.first = users, items, scale, targets, first
        self.shared = items[first:]
        longest = abs(scale) * float(users.norm(dim=1).max() * items.norm(dim=1).max())
        highest = longest + float(bias.max())
        # Where no logit is far below the highest possible one, that is taken off all of them, with the bias.
        self.safe = highest + longest - float(bias.min()) <= _SAFE_SPREAD
        self.bias = bias - highest if self.safe else bias

    def solve(self) -> list[_Sums]:
        rows = _rows_of_block(len(self.shared))
        parts = [slice(start, start + rows) for start in range(0, len(self.users), rows)]
        return list(_pool().map(self._block, parts)) if len(parts) > 1 else [self._block(parts[0])]

    def _block(self, part: slice) -> _Sums:
        users, targets = self.users[part], self.targets[part]
        # A worker thread does not inherit the caller's autograd mode.
        with torch.no_grad():
            room = _workspace(len(users) * len(self.shared), users.dtype).view(len(users), -1)
            logits = torch.addmm(self.bias[self.first :], users, self.shared.T, alpha=self.scale, out=room)
            self._mask(part, logits)
            own = self._own(users, targets, logits)
            if not self.safe:
                highest = torch.maximum(logits.amax(1), own)
                logits.sub_(highest[:, None])
                own -= highest
            powers = logits.exp_()
            totals, lacks = powers.sum(1), torch.ones_like(own)
            if self.first:
                totals += own.exp()
                lacks -= own.exp() / totals
            losses = totals.log() - own
            if self.weights is not None:
                weights = self.weights[part]
                losses, lacks, totals = losses * weights, lacks * weights, totals / weights
            # Dividing each row of the small factors by its total saves a pass over the powers.
            return _Sums(
                losses=losses,
                users=(powers @ self.shared).div_(totals[:, None]),
                items=powers.T @ (users / totals[:, None]),
                lacks=lacks,
            )

    def _mask(self, part: slice, logits: Tensor) -> None:
        if self.masked is None:
            return
        begin, end = torch.searchsorted(self.masked[0], torch.tensor([part.start, part.start + len(logits)])).tolist()
        rows, columns = self.masked[:, begin:end]
        shared = columns >= self.first
        logits[rows[shared] - part.start, columns[shared] - self.first] = -torch.inf

    def _own(self, users: Tensor, targets: Tensor, logits: Tensor) -> Tensor:
        """Logits of the rows' own items, which stand apart where they are not shared by all."""
        if not self.first:
            return logits.gather(1, targets[:, None])[:, 0]
        own = (users * self.items[targets]).sum(1) * self.scale + self.bias[targets]
        rows = torch.nonzero(targets >= self.first)[:, 0]
        logits[rows, targets[rows] - self.first] = -torch.inf
        return own


def _rows_of_block(columns: int) -> int:
    return max(_FEWEST_ROWS, _BLOCK_NUMBERS // columns, min(_ROWS, _MOST_NUMBERS // columns))


_rooms = threading.local()


def _workspace(numbers: int, dtype: torch.dtype) -> Tensor:
    """Memory of this thread for so many numbers, used again and again: the kernel clears fresh pages every time."""
    room: Tensor | None = getattr(_rooms, "room", None)
    if room is None or len(room) < numbers or room.dtype != dtype:
        room = _rooms.room = torch.empty(numbers, dtype=dtype)
    return room[:numbers]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), "pagoda-softmax")


# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
