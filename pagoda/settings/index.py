"""How item vectors are indexed, and where."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pagoda.settings.section import SettingsSection

Kind = Literal["HNSW", "HNSW_SQ8", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "FLAT"]
_BUILD: dict[Kind, tuple[str, ...]] = {
    "HNSW": ("m", "ef_construction"),
    "HNSW_SQ8": ("m", "ef_construction"),
    "IVF_FLAT": ("nlist",),
    "IVF_SQ8": ("nlist",),
    "IVF_PQ": ("nlist", "segments"),
    "FLAT": (),
}
"""Which parameters a kind of index is built with."""
CODED: tuple[Kind, ...] = ("HNSW_SQ8", "IVF_SQ8", "IVF_PQ")
"""Kinds that search by codes in place of the vectors' own numbers."""
_OF_ELASTICSEARCH: tuple[Kind, ...] = ("HNSW", "FLAT")
"""Its kinds of codes score by the codes, further from the inner product than every backend keeps to."""
_ONLY_TAKEN = ("SCANN", "DISKANN")
_SEGMENTS = 16
_MOST_LINKS = 64
"""Of a graph that is made denser by itself; whoever wants more says so."""


class CollectionConfig(SettingsSection):
    """How a collection is built, searched, and judged before it is offered."""

    kind: Kind = "HNSW"
    """HNSW, a navigable small-world graph (Malkov and Yashunin, 2016): best recall for its latency. IVF_FLAT, vectors
    in clusters that are searched whole: less memory than a graph, for tens of millions of items. FLAT compares every
    vector: exact, for small catalogues. With codes in place of the vectors, for less memory: IVF_SQ8 and HNSW_SQ8, a
    byte for each number; IVF_PQ, a byte for each segment (Jégou et al., 2011)."""
    m: int = Field(default=16, ge=2, le=2048)
    """HNSW: links of a node. More: better recall, more memory (8·m bytes an item), slower build."""
    ef_construction: int = Field(default=200, ge=8)
    """HNSW: candidates held while building. More: better graph, slower build."""
    nlist: int = Field(default=1024, ge=1, le=65_536)
    """IVF: number of clusters; about 4·sqrt(items)."""
    segments: int = Field(default=_SEGMENTS, ge=1, le=4096, exclude_if=lambda count: count == _SEGMENTS)
    """IVF_PQ: parts that a vector is cut into, of a byte each; it must divide the vectors' length. Milvus calls it `m`,
    which is the graph's here."""
    effort: int = Field(default=128, ge=1)
    """Search effort. HNSW: candidates held (`ef`). IVF: clusters searched (`nprobe`)."""
    dim: int | None = Field(default=None, ge=1, exclude_if=lambda numbers: numbers is None)
    """Numbers of a vector in the collection, fewer than the vectors have: see `pagoda.item_vectors.reduction`. Needs
    `refine`, which scores by all of them. None: all."""
    refine: int = Field(default=1, ge=1, le=100, exclude_if=lambda times: times == 1)
    """Kinds of codes, and fewer numbers: how many times k are looked for by them, of which the best k by the vectors
    themselves come back, with exact scores. 1: what is found by codes comes back, with scores of codes."""
    minimum_recall: float = Field(default=0.98, ge=0, le=1)
    """ANN recall@100 against exact search that a collection must reach."""

    @property
    def build(self) -> dict[str, int]:
        """The parameters that its kind of index is built with."""
        return {name: getattr(self, name) for name in _BUILD[self.kind]}

    @field_validator("kind", mode="before")
    @classmethod
    def _really_built(cls, kind: Any) -> Any:
        # Tried on the embedded 2.3.5: it takes both, indexes no row of them, and answers exactly, at the price of that.
        if kind in _ONLY_TAKEN:
            raise ValueError(
                f"{kind} is none that collections are built with: Milvus 2.3.5 takes it and then compares every "
                f"vector. For less memory take {' or '.join(CODED[1:])}"
            )
        return kind

    @property
    def denser(self) -> Self | None:
        """With twice the links, for vectors between which this graph leads nowhere; None where that is no help."""
        if not self.kind.startswith("HNSW") or 2 * self.m > _MOST_LINKS:
            return None
        return self.model_copy(update={"m": 2 * self.m, "ef_construction": 2 * self.ef_construction})

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for name in {name for names in _BUILD.values() for name in names}.difference(_BUILD[self.kind]):
            if getattr(self, name) != type(self).model_fields[name].default:
                kinds = " and ".join(kind for kind, names in _BUILD.items() if name in names)
                raise ValueError(f"{name} is a parameter of {kinds}, and kind is {self.kind}")
        if self.dim is not None:
            if self.refine == 1:
                raise ValueError(f"dim {self.dim} needs refine above 1: fewer numbers find, and all of them score")
        elif self.refine > 1 and self.kind not in CODED:
            raise ValueError(f"refine is for kinds of codes ({', '.join(CODED)}), and {self.kind} scores exactly")
        return self


class IndexSettings(CollectionConfig):
    """The installation's index: collections, and the backend that keeps them."""

    backend: Literal["milvus", "in_process", "elasticsearch"] = "milvus"
    """milvus: a server. in_process: files below home, which each process maps and searches itself (faiss); no server
    is needed. elasticsearch: a server, or OpenSearch's; never run."""
    store: str = ""
    """in_process: folder or URL from which each host brings the collections that it searches. Empty: all processes that
    search are on one machine."""
    text: bool = Field(default=False, exclude_if=lambda wanted: not wanted)
    """Collections hold the words of items' titles and text features, so that a request may say `text`; for generations
    that are built from then on. Backend milvus: 2.5 or later, which `require_words` of `pagoda.index.factory` asks."""

    @model_validator(mode="after")
    def _built_there(self) -> Self:
        # Milvus has it from 2.6 on, as HNSW_SQ; `pagoda.index.milvus` keeps to what 2.3 to 2.6 have in common.
        if self.kind == "HNSW_SQ8" and self.backend == "milvus":
            raise ValueError("kind HNSW_SQ8 is built in process alone, and backend is milvus: take IVF_SQ8")
        if self.backend == "elasticsearch" and self.kind not in _OF_ELASTICSEARCH:
            kinds = " or ".join(_OF_ELASTICSEARCH)
            raise ValueError(f"kind {self.kind} is not built by backend elasticsearch: take {kinds}")
        if self.refine > 1 and self.backend == "elasticsearch":
            raise ValueError("refine scores again what codes found, and no kind of backend elasticsearch has codes")
        if self.text and self.backend == "elasticsearch":
            raise ValueError("text needs backend in_process, or milvus from 2.5 on; for elasticsearch it is not built")
        return self

    @property
    def copied(self) -> bool:
        """Whether each host brings the collections that it searches from `store`."""
        return self.backend == "in_process" and bool(self.store)

    @property
    def keeps_originals(self) -> bool:
        """Whether a generation brings its vectors beside the collection; in process they are in it, if whole."""
        return self.refine > 1 and (self.backend != "in_process" or self.dim is not None)

    @property
    def collection(self) -> CollectionConfig:
        """How each collection is built and searched, wherever it is."""
        return CollectionConfig(**self.model_dump(exclude={"backend", "store", "text"}))
