"""Which kinds of index fit into some memory, what they take there, and what was measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from pagoda.index.sizes import ItemBytes, changed_bytes, item_bytes
from pagoda.settings import CollectionConfig
from pagoda.settings.index import CODED, Kind

EVIDENCE_FILE = Path(__file__).with_name("evidence.json")
_KINDS: dict[str, tuple[Kind, ...]] = {
    "in_process": ("FLAT", "HNSW", "HNSW_SQ8", "IVF_FLAT", "IVF_SQ8", "IVF_PQ"),
    "milvus": ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "IVF_PQ"),
}
REFINE: dict[Kind, int] = {"HNSW_SQ8": 2, "IVF_SQ8": 2, "IVF_PQ": 8}
"""As `make bench-index` measures kinds of codes."""
_MOST_LISTS, _NUMBERS_A_SEGMENT = 65_536, 4
_GENERATIONS = 2
"""That serve while a rollout lasts."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(_Model):
    """A row of what `make bench-index` writes, without a filter, and when and where that was."""

    backend: str
    kind: Kind
    refine: int = 1
    items: int
    dim: int
    effort: int
    recall_at_100: float
    p50_ms: float
    bytes_per_item: int
    """In files, that of the vectors included; of Milvus, reckoned."""
    build_seconds: float
    date: str
    machine: str


class PlannedIndex(_Model):
    """One way to keep the items."""

    backend: str
    kind: Kind
    refine: int
    dim: int
    settings: dict[str, Any]
    """What `index` in `pagoda.yaml` would be."""
    bytes_per_item: dict[str, float]
    """`vectors`, `index` (graph, or codes in lists), `ids`, `overlay` (of changed items), and their sum `memory`; and
    `mapped`, in files that are read where a search scores again."""
    generation_bytes: int
    rollout_bytes: int
    """Of two generations, both in memory while a rollout lasts."""
    fits: bool
    """Whether these two do."""
    measured: Measured | None
    """At the size nearest to this one; None: nobody has measured it, here."""


@dataclass(frozen=True)
class IndexPlan:
    """What is to be kept, and where."""

    items: int
    dim: int
    """Length of a vector in the collection."""
    memory: int
    """Bytes that there are for collections; in process, for those of one process that searches."""
    changed: float = 0.01
    """Share of the items that change between two full updates."""
    evidence: Sequence[Measured] = ()

    def ways(self) -> list[PlannedIndex]:
        """Every backend with every kind that it builds, the one that takes most first."""
        every = (self._way(backend, kind) for backend, kinds in _KINDS.items() for kind in kinds)
        return sorted(every, key=lambda way: -way.rollout_bytes)

    def _way(self, backend: str, kind: Kind) -> PlannedIndex:
        config = self._config(kind)
        each, overlay = item_bytes(backend, config, self.dim), self.changed * changed_bytes(backend, self.dim)
        one = round(self.items * (each.in_memory + overlay))
        return PlannedIndex(
            backend=backend,
            kind=kind,
            refine=config.refine,
            dim=self.dim,
            settings={"backend": backend, **config.model_dump(include=config.model_fields_set)},
            bytes_per_item=_named(each, overlay),
            generation_bytes=one,
            rollout_bytes=_GENERATIONS * one,
            fits=_GENERATIONS * one <= self.memory,
            measured=self._measured(backend, config),
        )

    def _config(self, kind: Kind) -> CollectionConfig:
        built: dict[str, Any] = {"kind": kind}
        if kind.startswith("IVF"):
            built["nlist"] = min(_MOST_LISTS, max(1, round(4 * sqrt(self.items))))
        if kind == "IVF_PQ":
            built["segments"] = _segments(self.dim)
        if kind in CODED:
            built["refine"] = REFINE[kind]
        return CollectionConfig(**built)

    def _measured(self, backend: str, config: CollectionConfig) -> Measured | None:
        wanted = (backend, config.kind, config.refine)
        rows = [row for row in self.evidence if (row.backend, row.kind, row.refine) == wanted]
        return min(rows, key=lambda row: abs(row.items - self.items), default=None)


def read_evidence(path: Path = EVIDENCE_FILE) -> list[Measured]:
    """What was measured, from the file that the package brings."""
    return TypeAdapter(list[Measured]).validate_json(path.read_bytes())


def _segments(dim: int) -> int:
    """Parts of four numbers, or of the fewest more that divide the vector."""
    return next(count for count in range(max(1, dim // _NUMBERS_A_SEGMENT), 0, -1) if dim % count == 0)


def _named(each: ItemBytes, overlay: float) -> dict[str, float]:
    parts = {"vectors": each.vectors, "index": each.index, "ids": each.ids, "overlay": overlay}
    named = {**parts, "memory": each.in_memory + overlay, "mapped": each.mapped}
    return {name: round(value, 1) for name, value in named.items()}
