"""One epoch of TorchRec over the same pairs: row-wise Adagrad inside its fused tables, in one process or sharded.

Run by itself it trains unsharded; as one of several it shards the tables over them, each with whole batches.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.distributed import DistributedModelParallel
from torchrec.modules.fused_embedding_modules import FusedEmbeddingBagCollection
from torchrec.optim import RowWiseAdagrad
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

from benchmarks.training.data import ITEMS, USERS
from benchmarks.training.job import BATCH, DIM, LEARNING_RATE, TEMPERATURE, peak_rss_bytes, report
from pagoda.processes.together import end_with_input

KEYS = ["user_id", "item_id"]
CPU = torch.device("cpu")


class TwoTower(nn.Module):
    """ID rows to unit vectors, softmax over the batch's items."""

    def __init__(self, tables: nn.Module) -> None:
        super().__init__()
        self.tables = tables

    def forward(self, features: KeyedJaggedTensor) -> Tensor:
        """The loss."""
        rows = self.tables(features).to_dict()
        users, items = (functional.normalize(rows[key], dim=1) for key in KEYS)
        return functional.cross_entropy(users @ items.T / TEMPERATURE, torch.arange(len(users)))


def main() -> None:
    """Learn the first rows once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("meeting", type=Path, nargs="?", help="file where several processes meet")
    parser.add_argument("--rows", type=int, required=True)
    arguments = parser.parse_args()
    pairs = np.load(arguments.pairs)[:, : arguments.rows]
    sizes = dict(zip(KEYS, (USERS, ITEMS), strict=True))
    configs = [
        EmbeddingBagConfig(name=f"{key}s", embedding_dim=DIM, num_embeddings=size, feature_names=[key])
        for key, size in sizes.items()
    ]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if ranks > 1:
        end_with_input()
        distributed.init_process_group(
            "gloo", init_method=arguments.meeting.absolute().as_uri(), rank=rank, world_size=ranks
        )
    model = _sharded(configs) if ranks > 1 else _unsharded(configs)
    mine = pairs[:, rank::ranks]
    start, done, loss = time.perf_counter(), 0, torch.zeros(())
    for features in _batches(mine):
        loss = model(features)
        loss.backward()
        done += BATCH
    seconds = time.perf_counter() - start
    peak, rows = _peak_of_all(ranks), ranks * done
    if rank == 0:
        report(rows / seconds, rows=rows, optimiser="row-wise Adagrad", loss=float(loss), peak=peak)


def _peak_of_all(ranks: int) -> int:
    """The sum of what each process took at most; what they share is counted for each."""
    peak = torch.tensor(peak_rss_bytes())
    if ranks > 1:
        distributed.all_reduce(peak)
    return int(peak)


def _batches(pairs: np.ndarray) -> Iterator[KeyedJaggedTensor]:
    """Whole batches in random order, cut from tensors: faster than any DataLoader."""
    users, items = torch.from_numpy(pairs.copy())
    lengths = torch.ones(2 * BATCH, dtype=torch.int32)
    order = torch.randperm(len(users))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        rows = order[start : start + BATCH]
        yield KeyedJaggedTensor(KEYS, torch.cat([users[rows], items[rows]]), lengths=lengths)


def _unsharded(configs: list[EmbeddingBagConfig]) -> nn.Module:
    return TwoTower(
        FusedEmbeddingBagCollection(
            configs, optimizer_type=RowWiseAdagrad, optimizer_kwargs={"lr": LEARNING_RATE}, device=CPU
        )
    )


def _sharded(configs: list[EmbeddingBagConfig]) -> nn.Module:
    # One core for each process.
    torch.set_num_threads(1)
    tables = EmbeddingBagCollection(tables=configs, device=torch.device("meta"))
    apply_optimizer_in_backward(RowWiseAdagrad, tables.parameters(), {"lr": LEARNING_RATE})
    return DistributedModelParallel(TwoTower(tables), device=CPU)


if __name__ == "__main__":
    main()
