"""A step of Pagoda's loop on one device: plain, compiled, and captured as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.training.job import LEARNING_RATE, TEMPERATURE
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.tables import TrainableTable

_WARM_UP = 3
"""Steps before a capture, on another stream, as PyTorch's documentation of `torch.cuda.graph` wants them."""
Step = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain(users: int, items: int, dim: int, device: torch.device) -> Step:
    """A step that takes a batch as `DeviceBatches` has it and gives the loss before it."""
    return _step(users, items, dim, device, _loss)


def compiled(users: int, items: int, dim: int, device: torch.device) -> Step:
    """The same with loss and gradient compiled into few kernels; rows are gathered and changed as always."""
    loss: Loss = torch.compile(_loss, dynamic=False)
    return _step(users, items, dim, device, loss)


def graphed(users: int, items: int, dim: int, device: torch.device) -> Step:
    """The same as one CUDA graph, which starts all kernels of a step at once."""
    step, batch = plain(users, items, dim, device), None
    graph, loss = torch.cuda.CUDAGraph(), torch.zeros((), device=device)

    def replayed(given: Tensor) -> Tensor:
        nonlocal batch, loss
        if batch is None:
            batch = given.clone()
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    step(batch)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                loss = step(batch)
        batch.copy_(given)
        graph.replay()
        return loss

    return replayed


def _step(users: int, items: int, dim: int, device: torch.device, loss_of: Loss) -> Step:
    tables = [_table(rows, dim, device) for rows in (users, items)]

    def step(batch: Tensor) -> Tensor:
        user_rows, user_of, item_rows, item_of = batch
        places = (user_rows, item_rows)
        rows = [table.rows[of].requires_grad_() for table, of in zip(tables, places, strict=True)]
        loss = loss_of(rows[0], user_of, rows[1], item_of)
        gradients = torch.autograd.grad(loss, rows)
        for table, of, gradient in zip(tables, places, gradients, strict=True):
            adagrad_step(table, of, [gradient], LEARNING_RATE)
        return loss.detach()

    return step


def _loss(users: Tensor, user_of: Tensor, items: Tensor, item_of: Tensor) -> Tensor:
    with torch.autocast(users.device.type, torch.bfloat16):
        user_vectors = functional.normalize(functional.embedding(user_of, users), dim=1)
        item_vectors = functional.normalize(functional.embedding(item_of, items), dim=1)
        logits = user_vectors @ item_vectors.T / TEMPERATURE
        return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def _table(rows: int, dim: int, device: torch.device) -> TrainableTable:
    """Rows on the device, by no IDs: batches name their places."""
    made = torch.empty(rows + 1, dim, device=device).uniform_(-0.05, 0.05)
    return TrainableTable(np.empty(0, np.int64), made, torch.zeros(rows + 1, device=device))
