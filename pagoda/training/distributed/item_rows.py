"""The item table, each process having a range of its rows: TorchRec's sharded `EmbeddingCollection`.

Rows that a step touches come from where they are by an all-to-all, and their gradients go back by another; where they
arrive, FBGEMM sums what is one row's and steps, by the rule of `pagoda.training.learner.optimisers.adagrad_step`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torchrec import EmbeddingCollection, EmbeddingConfig, KeyedJaggedTensor
from torchrec.distributed.comm_ops import set_gradient_division
from torchrec.distributed.embedding import EmbeddingCollectionSharder, ShardedEmbeddingCollection
from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
from torchrec.distributed.types import ShardingEnv
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from pagoda.training.learner.optimisers import EPSILON
from pagoda.training.tables import OOV, TrainableTable

_TABLE, _FEATURE = "item_rows", "item"


class ShardedRows:
    """Rows of a table, looked up by place, whose gradients change them as they come back."""

    def __init__(self, table: TrainableTable, device: torch.device) -> None:
        """Take over this process's range of the rows of `table`, which is the same for all and not used any more."""
        # What is learned is the sum over all processes of parts of one loss, not the mean of their losses.
        set_gradient_division(False)
        self._module = _sharded(len(table.rows), table.rows.shape[1], device)
        self._own = _local(self._module)
        first = self._own.first
        ours = slice(first, first + len(self._own.rows))
        self._own.rows.copy_(table.rows[ours])
        self._own.squares.copy_(table.squares[ours])
        self._rate = 0.0

    @property
    def own(self) -> OwnRange:
        """This process's range of rows, in the memory that training changes."""
        return self._own

    def lookup(self, places: Tensor, rate: float) -> Tensor:
        """The rows at `places` (int64 [k], distinct), float32 [k, dim]; their gradients change them at this rate."""
        if rate != self._rate:
            # The kernel takes its rate from the optimiser as rows are looked up, not as their gradients come back.
            for group in self._module.fused_optimizer.param_groups:
                group["lr"] = rate
            self._module.fused_optimizer.step()
            self._rate = rate
        # TorchRec takes no empty batch; what nobody reads gets a gradient of zeros, which changes nothing.
        asked = torch.cat([places.new_tensor([OOV]), places])
        keys = KeyedJaggedTensor([_FEATURE], asked, lengths=torch.ones_like(asked))
        rows: Tensor = self._module(keys).wait()[_FEATURE].values()
        return rows[1:]


class OwnRange(NamedTuple):
    """Rows `first` to `first` + n of a table, the out-of-vocabulary row being its first."""

    first: int
    rows: Tensor
    """float32 [n, dim]."""
    squares: Tensor
    """float32 [n]."""


def _sharded(rows: int, dim: int, device: torch.device) -> ShardedEmbeddingCollection:
    config = EmbeddingConfig(name=_TABLE, embedding_dim=dim, num_embeddings=rows, feature_names=[_FEATURE])
    collection = EmbeddingCollection(tables=[config], device=torch.device("meta"))
    apply_optimizer_in_backward(RowWiseAdagrad, collection.parameters(), {"lr": 0.0, "eps": EPSILON})
    sharder, count = EmbeddingCollectionSharder(), distributed.get_world_size()
    # `local_size` is of a host's devices, which plans that know of hosts read: a row-wise one does not.
    plan = construct_module_sharding_plan(
        collection,
        {_TABLE: row_wise()},
        sharder=sharder,
        local_size=count,
        world_size=count,
        device_type=device.type,
    )
    environment = ShardingEnv.from_process_group(distributed.group.WORLD)
    # As ShardedTensor it would unpickle what the others say of theirs (torch 2.13.0, sharded_tensor/api.py:777).
    environment.output_dtensor = True
    return sharder.shard(collection, plan, environment, device)


@torch.no_grad()
def _local(module: ShardedEmbeddingCollection) -> OwnRange:
    (name, weight), *_ = module.state_dict().items()
    sums = module.fused_optimizer.state_dict()["state"][name][f"{_TABLE}.momentum1"]
    own = weight.to_local()
    ((first, _),), (rows,), (squares,) = own.local_offsets(), own.local_shards(), sums.to_local().local_shards()
    return OwnRange(first, rows, squares)
