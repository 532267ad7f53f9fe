"""The kinds of vector index a collection can have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

METRIC = "IP"
"""Inner product; on unit vectors it is the cosine."""
_FILTERED = 4
"""How much more effort a filtered search gets."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hnsw(_Model):
    """A navigable small-world graph (Malkov and Yashunin, 2016): the default, best recall for its latency."""

    kind: Literal["HNSW"] = "HNSW"
    m: int = Field(default=16, ge=2, le=2048)
    """Links of a node. More: better recall, more memory (8·m bytes an item), slower build."""
    ef_construction: int = Field(default=200, ge=8)
    """Candidates held while building. More: better graph, slower build."""

    def build_params(self) -> dict[str, Any]:
        """Parameters as Milvus names them."""
        return {"M": self.m, "efConstruction": self.ef_construction}


class IvfFlat(_Model):
    """Vectors in clusters, searched whole: less memory than a graph, for catalogues of tens of millions."""

    kind: Literal["IVF_FLAT"] = "IVF_FLAT"
    nlist: int = Field(default=1024, ge=1, le=65_536)
    """Number of clusters; about 4·sqrt(items)."""

    def build_params(self) -> dict[str, Any]:
        """Parameters as Milvus names them."""
        return {"nlist": self.nlist}


class Flat(_Model):
    """No index: every vector is compared. Exact; for small catalogues."""

    kind: Literal["FLAT"] = "FLAT"

    def build_params(self) -> dict[str, Any]:
        """Parameters as Milvus names them."""
        return {}


IndexConfig = Annotated[Hnsw | IvfFlat | Flat, Field(discriminator="kind")]


class CollectionConfig(_Model):
    """How a collection is built, searched, and judged before it is offered."""

    index: IndexConfig = Hnsw()
    effort: int = Field(default=128, ge=1)
    """Search effort. HNSW: candidates held (`ef`). IVF: clusters searched (`nprobe`)."""
    minimum_recall: float = Field(default=0.98, ge=0, le=1)
    """ANN recall@100 against exact search that it must reach."""


def search_params(kind: str, k: int, effort: int, *, filtered: bool = False) -> dict[str, Any]:
    """Search parameters of an index of `kind`.

    Measured on 100,000 x 64, M 16, k 100: recall 0.987 with `ef` 128, 0.999 with 256. Under a filter that one item
    in eight passes, 0.964 with 128 and 0.995 with 512: the graph is walked through items that do not count.

    Args:
        kind: Index type as Milvus names it.
        k: Items wanted. HNSW refuses an `ef` below it.
        effort: See `CollectionConfig`.
        filtered: Whether the search has a filter.
    """
    factor = _FILTERED if filtered else 1
    if kind == "HNSW":
        return {"ef": max(effort, 2 * k) * factor}
    if kind.startswith("IVF"):
        return {"nprobe": effort * factor}
    return {}
