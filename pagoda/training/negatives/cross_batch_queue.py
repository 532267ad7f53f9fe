"""Candidates of earlier batches, by the vectors they had then: Wang et al., SIGIR 2021 (cross-batch negative sampling).

A batch sees few of a large catalogue's items. Vectors move little from step to step once training has settled, so those
of the last batches are candidates too, for the price of a matrix product and without a gradient of their own.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor


class Drawn(NamedTuple):
    """Distinct items that were drawn as candidates of every user of a batch."""

    places: Tensor
    """int64 [m], in the catalogue."""
    vectors: Tensor
    """float32 [m, D]."""
    log_missed: Tensor
    """float32 [m]: log of the probability that a batch does not draw the item."""


class CrossBatchQueue:
    """The candidates of the last batches, first in, first out."""

    def __init__(self, batches: int, warm_up: int, items: int) -> None:
        """Make an empty one.

        Args:
            batches: How many batches it holds at most.
            warm_up: Batches to wait for before the first one enters.
            items: Size of the catalogue; costs 8 bytes for each.
        """
        self._held: deque[Drawn] = deque(maxlen=batches)
        self._waits = warm_up
        self._newest = torch.full((items,), -1)

    def __len__(self) -> int:
        return len(self._held)

    def others(self, places: Tensor) -> Drawn | None:
        """Items of the queue that are not among `places` (int64 [m], distinct), each as it was last; None for none."""
        if not self._held:
            return None
        # What was loaded may lie in main memory still.
        held = Drawn(*(torch.cat([part.to(places.device) for part in of]) for of in zip(*self._held, strict=True)))
        every = torch.cat([held.places, places])
        self._newest = self._newest.to(every.device)
        # Of an item that is there several times the newest counts, and none of one that this batch has itself.
        order = torch.arange(len(every), device=every.device)
        self._newest[every] = -1
        self._newest.scatter_reduce_(0, every, order, "amax")
        kept = (self._newest[held.places] == order[: len(held.places)]).nonzero()[:, 0]
        return Drawn(*(part[kept] for part in held))

    def push(self, drawn: Drawn) -> None:
        """Take in what a batch has drawn, once the warm-up is over."""
        if self._waits:
            self._waits -= 1
        else:
            self._held.append(Drawn(drawn.places, drawn.vectors.detach(), drawn.log_missed))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next batch depends on."""
        state = {"waits": torch.tensor(self._waits), "held": torch.tensor(len(self._held))}
        for number, drawn in enumerate(self._held):
            state |= {f"{number}.{name}": part for name, part in drawn._asdict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` gave."""
        self._waits = int(state["waits"])
        self._held.clear()
        for number in range(int(state["held"])):
            self._held.append(Drawn(*(state[f"{number}.{name}"] for name in Drawn._fields)))
