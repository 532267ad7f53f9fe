"""The servers that a request goes through, and what stands in for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.servers.breaker import Breakers
from serving.recall.servers.breaker_guards import GuardedIndex, GuardedStore, GuardedTower
from serving.recall.servers.ports import Index, Store, Tower


@dataclass(frozen=True, slots=True)
class Parts:
    """The servers that a request goes through."""

    store: Store
    tower: Tower
    index: Index
    ladder: Fallback | None = None
    """What stands in for them; None: nothing does."""
    keeper: VectorCache | None = None
    """Keeps the vectors that the tower computes; None: nobody does."""

    @property
    def strict(self) -> Parts:
        """The same servers without anything that stands in for them."""
        return replace(self, ladder=None)


def guarded(parts: Parts, *, store_seconds: float, tower_seconds: float, index_seconds: float) -> Parts:
    """The same servers, guarded."""
    breakers = Breakers()
    return replace(
        parts,
        store=GuardedStore(parts.store, breakers, store_seconds),
        tower=GuardedTower(parts.tower, breakers, tower_seconds),
        index=GuardedIndex(parts.index, breakers, index_seconds),
    )
