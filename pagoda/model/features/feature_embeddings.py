"""Encoded features to the inputs of a tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pagoda.config.model import Pooling
from pagoda.model.encoder import Field
from pagoda.model.features.attention import ValueAttention
from pagoda.model.features.codec import UNKNOWN

_SCALE = 0.05


class FeatureEmbeddings(nn.Module):
    """An embedding for each value of the features with indices; dense features pass as they are."""

    def __init__(self, fields: Sequence[Field], dim: int, pooling: Pooling = "mean") -> None:
        """Build it for encoded `fields`; `pooling` makes one vector of the values of a feature that has several."""
        super().__init__()
        self._fields = tuple(fields)
        self.tables = nn.ModuleDict({_key(f.name): _table(f.size, dim) for f in fields if f.form != "dense"})
        pooled = [field for field in fields if field.form == "bag"] if pooling == "attention" else []
        self.attention = nn.ModuleDict({_key(field.name): ValueAttention(dim) for field in pooled})
        self.widths = [field.size if field.form == "dense" else dim for field in fields]

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Embed the arrays that `Encoder` gives, as tensors; one float32 [B, width] a feature, in declared order."""
        return [self._embed(field, features[field.name]) for field in self._fields]

    def _embed(self, field: Field, values: Tensor) -> Tensor:
        if field.form == "dense":
            return values
        embedded: Tensor = self.tables[_key(field.name)](values.clamp(min=UNKNOWN))
        if field.form == "index":
            return embedded
        if self.attention:
            pooled: Tensor = self.attention[_key(field.name)](embedded, values >= UNKNOWN)
            return pooled
        present = (values >= UNKNOWN).to(embedded.dtype)
        return (embedded * present[..., None]).sum(1) / present.sum(1, keepdim=True).clamp(min=1)


_TAKEN = frozenset(dir(nn.ModuleDict()))


def _key(name: str) -> str:
    """A feature's name as that of a module: `type`, `keys` and others are attributes of one, and a dot divides two."""
    return f"feature_{name.encode().hex()}" if name in _TAKEN or "." in name or not name else name


def _table(size: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(size, dim)
    nn.init.normal_(table.weight, std=_SCALE)
    with torch.no_grad():
        table.weight[UNKNOWN] = 0
    return table
