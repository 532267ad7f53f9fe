"""The same step by plain TorchRec on one device: FBGEMM's fused row-wise Adagrad, tables where they are told to be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.training.job import LEARNING_RATE, TEMPERATURE

LOCATIONS = {"HBM": "DEVICE", "UVM": "MANAGED", "UVM, cached": "MANAGED_CACHING"}
"""By name, where FBGEMM keeps a table (`EmbeddingLocation`): in the device's memory, or in the host's."""


def torchrec_step(place: str, users: int, items: int, dim: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A step that takes a batch as `DeviceBatches` has it and gives the loss before it.

    Raises:
        ImportError: TorchRec or FBGEMM is not installed.
    """
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import EmbeddingLocation
    from torchrec import EmbeddingBagConfig, KeyedJaggedTensor
    from torchrec.modules.fused_embedding_modules import FusedEmbeddingBagCollection
    from torchrec.optim import RowWiseAdagrad

    keys = ["user_id", "item_id"]
    configs = [
        EmbeddingBagConfig(name=f"{key}s", embedding_dim=dim, num_embeddings=rows + 1, feature_names=[key])
        for key, rows in zip(keys, (users, items), strict=True)
    ]
    # As of torchrec 1.8.0, torchrec/modules/fused_embedding_modules.py: None is the host's memory on a CPU.
    location = EmbeddingLocation[LOCATIONS[place]] if place in LOCATIONS else None
    tables = FusedEmbeddingBagCollection(
        configs, RowWiseAdagrad, {"lr": LEARNING_RATE}, device=device, location=location
    )

    def step(batch: Tensor) -> Tensor:
        user_rows, user_of, item_rows, item_of = batch
        ids = torch.cat([user_rows[user_of], item_rows[item_of]])
        lengths = torch.ones(len(ids), dtype=torch.int32, device=device)
        rows = tables(KeyedJaggedTensor(keys, ids, lengths=lengths)).to_dict()
        with torch.autocast(device.type, torch.bfloat16):
            user_vectors, item_vectors = (torch.nn.functional.normalize(rows[key], dim=1) for key in keys)
            logits = user_vectors @ item_vectors.T / TEMPERATURE
            loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(logits), device=device))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step
