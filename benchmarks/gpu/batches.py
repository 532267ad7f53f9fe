"""Batches of users and items for one device: pinned in the host's memory, each on its way while another is learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pagoda.training.numbering import Numbering
from pagoda.training.tables import OOV

BATCH = 8192
_KEPT = 64
"""Batches that are made before the first step, and come again and again: making them is the CPU's work, and another
benchmark's. They touch half a million rows, far more than caches hold."""


class DeviceBatches:
    """int64 [4, B] each: distinct places of users, which of these each sample is of, and the same of items.

    There are as many samples as places: those that a batch does not need are `OOV`, whose row nothing reads, so that
    all batches have one shape.
    """

    def __init__(self, users: int, items: int, size: int, device: torch.device) -> None:
        self.size, self.device = size, device
        rng, tables = np.random.default_rng(0), [(rows, Numbering(rows + 1)) for rows in (users, items)]
        made = (np.concatenate([_touched(rng, *table, size) for table in tables]) for _ in range(_KEPT))
        self._host = [torch.from_numpy(batch) for batch in made]
        if device.type == "cuda":
            self._host = [batch.pin_memory() for batch in self._host]

    def __iter__(self) -> Iterator[Tensor]:
        """Without end; on a CUDA device copied by a stream of their own."""
        if self.device.type != "cuda":
            while True:
                yield from self._host
        copying = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        here = self._copied(0, copying)
        number = 1
        while True:
            torch.cuda.current_stream().wait_stream(copying)
            ready, here = here, self._copied(number % _KEPT, copying)
            ready.record_stream(torch.cuda.current_stream())
            yield ready
            number += 1

    def _copied(self, number: int, stream: torch.cuda.Stream) -> Tensor:
        with torch.cuda.stream(stream):
            return self._host[number].to(self.device, non_blocking=True)


def _touched(rng: np.random.Generator, rows: int, numbering: Numbering, size: int) -> np.ndarray:
    """Popular ones come more often: the square of a uniform draw."""
    drawn = 1 + (rng.random(size) ** 2 * rows).astype(np.int64)
    distinct, of = numbering.distinct(drawn)
    places = np.full(size, OOV)
    places[: len(distinct)] = distinct
    return np.stack([places, of])
