"""The immutable description of a generation (invariant 2)."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(_Part):
    """Something stored: where, and the checksum of what was put there."""

    uri: str
    checksum: str


class SegmentRef(_Part):
    """The rows that one incremental version changed."""

    version: int
    uri: str
    checksum: str
    """Of the segment itself, as `pagoda.embeddings` computes it."""
    rows: int


class Manifest(_Part):
    """What one generation is made of. Nothing in it is edited later.

    `item_count` and the checksums describe the build; later item changes are a log of their own.
    """

    id: str = Field(pattern=r"^g\d+(\.\d+)?$")
    """`g3`, or `g3.5` with incremental version 5 on full version 3."""
    full_version: int
    incremental_version: int | None = None
    base: Artifact
    """The version folder that holds the base ID tables and the encoder."""
    segments: tuple[SegmentRef, ...] = ()
    """The overlay, newest first, which is the order of a lookup."""
    tower: Artifact
    """The user tower's model archive."""
    item_vectors: Artifact
    item_fields: tuple[Artifact, ...] = Field(default=(), exclude_if=lambda files: not files)
    """Files with what answers may say of items, in order of their IDs; see `pagoda.item_vectors.item_fields`."""
    collection: str
    """Physical name of the Milvus collection."""
    dim: int
    metric: str = "IP"
    """On unit vectors, so the cosine."""
    item_count: int
    spec: FeatureSpec
    window: Window
    """Interactions learned, up to the newest part."""
    created_at: AwareDatetime

    @property
    def order(self) -> tuple[int, int]:
        """Later generations compare greater."""
        return order_of(self.id)


def generation_id(full_version: int, incremental_version: int | None = None) -> str:
    """`g3` for full version 3, `g3.5` for incremental version 5 on it."""
    return f"g{full_version}" if incremental_version is None else f"g{full_version}.{incremental_version}"


def versions_in(id_: str) -> tuple[int, int | None]:
    """The full and the incremental version that a generation is named after."""
    full, _, incremental = id_.removeprefix("g").partition(".")
    return int(full), int(incremental) if incremental else None


def order_of(id_: str) -> tuple[int, int]:
    """Later generations compare greater."""
    full, incremental = versions_in(id_)
    return full, incremental or 0
