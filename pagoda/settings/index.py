"""How item vectors are indexed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pagoda.settings.section import SettingsSection

_BUILD = {"HNSW": ("m", "ef_construction"), "IVF_FLAT": ("nlist",), "FLAT": ()}
"""Which parameters a kind of index is built with."""
_MOST_LINKS = 64
"""Of a graph that is made denser by itself; whoever wants more says so."""


class CollectionConfig(SettingsSection):
    """How a collection is built, searched, and judged before it is offered."""

    kind: Literal["HNSW", "IVF_FLAT", "FLAT"] = "HNSW"
    """HNSW, a navigable small-world graph (Malkov and Yashunin, 2016): best recall for its latency. IVF_FLAT, vectors
    in clusters that are searched whole: less memory than a graph, for tens of millions of items. FLAT compares every
    vector: exact, for small catalogues."""
    m: int = Field(default=16, ge=2, le=2048)
    """HNSW: links of a node. More: better recall, more memory (8·m bytes an item), slower build."""
    ef_construction: int = Field(default=200, ge=8)
    """HNSW: candidates held while building. More: better graph, slower build."""
    nlist: int = Field(default=1024, ge=1, le=65_536)
    """IVF_FLAT: number of clusters; about 4·sqrt(items)."""
    effort: int = Field(default=128, ge=1)
    """Search effort. HNSW: candidates held (`ef`). IVF_FLAT: clusters searched (`nprobe`)."""
    minimum_recall: float = Field(default=0.98, ge=0, le=1)
    """ANN recall@100 against exact search that a collection must reach."""

    @property
    def build(self) -> dict[str, int]:
        """The parameters that its kind of index is built with."""
        return {name: getattr(self, name) for name in _BUILD[self.kind]}

    @property
    def denser(self) -> Self | None:
        """With twice the links, for vectors between which this graph leads nowhere; None where that is no help."""
        if self.kind != "HNSW" or 2 * self.m > _MOST_LINKS:
            return None
        return self.model_copy(update={"m": 2 * self.m, "ef_construction": 2 * self.ef_construction})

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for kind, names in _BUILD.items():
            for name in names:
                if kind != self.kind and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is a parameter of {kind}, and kind is {self.kind}")
        return self
