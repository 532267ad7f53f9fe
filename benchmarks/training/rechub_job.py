"""One epoch of torch-rechub's own trainer over the same pairs: DSSM of ID embeddings alone, its default Adam."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.matching import DSSM
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator

from benchmarks.training.data import ITEMS, USERS
from benchmarks.training.job import BATCH, DIM, TEMPERATURE, report


def main() -> None:
    """Learn the first rows once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--negatives", type=int, default=None, help="in-batch negatives of a row; default: all others")
    arguments = parser.parse_args()
    users, items = np.load(arguments.pairs, mmap_mode="r")[:, : arguments.rows]
    columns = {"user_id": np.array(users), "item_id": np.array(items)}
    loader, _, _ = MatchDataGenerator(columns, y=np.zeros(len(users))).generate_dataloader(
        columns, columns, batch_size=BATCH, num_workers=0
    )
    features = [SparseFeature(name, count, DIM) for name, count in (("user_id", USERS), ("item_id", ITEMS))]
    towers: dict[str, list[int]] = {"dims": []}  # no layers: rows alone, as in the others
    model = DSSM(features[:1], features[1:], towers, towers, temperature=TEMPERATURE)
    trainer = MatchTrainer(model, mode=2, in_batch_neg=True, in_batch_neg_ratio=arguments.negatives, n_epoch=1)
    start = time.perf_counter()
    loss = trainer.train_one_epoch(loader)
    seconds = time.perf_counter() - start
    report(len(users) / seconds, rows=len(users), optimiser="Adam", loss=float(loss))


if __name__ == "__main__":
    main()
