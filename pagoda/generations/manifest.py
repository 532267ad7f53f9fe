"""The immutable description of a generation (invariant 2)."""

from __future__ import annotations

import re

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pagoda.config.channels import ChannelConfig, MergingConfig, SecondGeneration, TwoTowers
from pagoda.config.model import Similarity
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.errors import GateError

MILVUS = "milvus"
"""The backend that a manifest means where it names none."""
_ID = re.compile(r"g(?P<full>\d+)(\.(?P<incremental>\d+))?(b(?P<build>\d+))?")


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


class StoredVectors(_Part):
    """Item vectors as `pagoda.item_vectors.vectors_by_id` has them, for who scores again what a collection finds."""

    ids: Artifact
    vectors: Artifact


class OriginalVectors(StoredVectors):
    """What a collection of codes, or of fewer numbers, stands for."""

    reduction: Artifact | None = Field(default=None, exclude_if=lambda file: file is None)
    """What the collection holds fewer numbers by; None: it holds all."""


class Cascade(StoredVectors):
    """A second member, by whose item vectors what the collection finds is scored (Huang et al., KDD 2020, section 6.2).

    A user's vector is that of the first member, and then that of the second, end to end.
    """

    dim: int = Field(ge=1)
    """Numbers of the second member's vectors."""
    candidates: int = Field(ge=1)
    """Items that the collection is asked for, at least."""

    def parts(self, vector: list[float]) -> tuple[list[float], list[float]]:
        """What a user is to the first member, and to the second."""
        return vector[: -self.dim], vector[-self.dim :]


class Prerank(_Part):
    """A model of user and item by which what is found is ordered (COLD: Wang et al., DLP-KDD 2020)."""

    candidates: int = Field(ge=1)
    """Items that a search is asked for, at least."""
    budget_ms: float = Field(gt=0)
    """Milliseconds that these were allowed to take where it was trained."""
    groups: tuple[str, ...]
    """Of features that it reads; see `pagoda.prerank.groups`."""
    program: Artifact
    encoder: Artifact
    """By which users are encoded; the full version's."""
    items: tuple[Artifact, ...]
    """What it reads of items, in files in order of their IDs; see `pagoda.prerank.items`."""


class Mixture(_Part):
    """Several channels that answer together."""

    channels: tuple[ChannelConfig, ...] = Field(min_length=1)
    """As the training file declares them."""
    merging: MergingConfig
    tables: dict[str, Artifact]
    """The files of those that have a table, by their names in the full version's folder of them: `popular/ids.npy`."""
    second: str | None = Field(default=None, exclude_if=lambda id_: id_ is None)
    """The generation that `second_generation` asks; None: it is not declared, or nothing was stable before."""

    def seconds(self, kind: str) -> float | None:
        """That an answer waits for the items of a channel that asks a server; None: as long as for any search."""
        declared = (one for one in self.channels if one.kind == kind)
        return next((one.seconds for one in declared if isinstance(one, TwoTowers | SecondGeneration)), None)


class Manifest(_Part):
    """What one generation is made of. Nothing in it is edited later.

    `item_count` and the checksums describe the build; later item changes are a log of their own.
    """

    id: str = Field(pattern=r"^g\d+(\.\d+)?(b\d+)?$")
    """`g3`, or `g3.5` with incremental version 5 on full version 3; `g3.5b2` where a second collection was built."""
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
    originals: OriginalVectors | None = Field(default=None, exclude_if=lambda files: files is None)
    """None: what the collection finds is not scored again, or it has the vectors itself."""
    cascade: Cascade | None = Field(default=None, exclude_if=lambda model: model is None)
    """None: what the collection finds is the answer, and its vectors are all that users have."""
    prerank: Prerank | None = Field(default=None, exclude_if=lambda model: model is None)
    """None: answers are in the order of what is found."""
    mixture: Mixture | None = Field(default=None, exclude_if=lambda mixture: mixture is None)
    """None: what the towers find is the answer."""
    onboarding: Artifact | None = Field(default=None, exclude_if=lambda file: file is None)
    """The version's file of what to show first to whom nothing is known of; None: it has none."""
    collection: str
    """Physical name."""
    backend: str = Field(default=MILVUS, exclude_if=lambda name: name == MILVUS)
    """What keeps and searches the collection."""
    texts: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Columns of the items whose words the collection can be searched by; none: it holds no words."""
    dim: int
    interests: int = Field(default=1, exclude_if=lambda count: count == 1)
    """Vectors of a user; an item has the score of the nearest."""
    metric: str = "IP"
    similarity: Similarity = Field(default="cosine", exclude_if=lambda name: name == "cosine")
    """Vectors of unit length, so that their inner product is the cosine; or of any length (`dot`)."""
    item_count: int
    spec: FeatureSpec
    window: Window
    """Interactions learned, up to the newest part."""
    created_at: AwareDatetime

    @property
    def files_beside(self) -> dict[str, Artifact]:
        """Files by which what the collection finds is scored again, by what they are called to people."""
        found: dict[str, Artifact] = {}
        if self.originals:
            found |= {"original IDs": self.originals.ids, "original vectors": self.originals.vectors}
            found |= {"maps to fewer numbers": self.originals.reduction} if self.originals.reduction else {}
        if (second := self.cascade) is not None:
            found |= {"IDs of the second member": second.ids, "vectors of the second member": second.vectors}
        if self.prerank:
            found |= {"program of the pre-ranker": self.prerank.program}
            found |= {f"items of the pre-ranker, {at}": one for at, one in enumerate(self.prerank.items, 1)}
        return found

    @property
    def second(self) -> str | None:
        """The generation that a channel of this one asks; None: there is none."""
        return self.mixture.second if self.mixture else None

    @property
    def candidates(self) -> int:
        """Items that a search is asked for at least; 0: as many as are wanted."""
        return max((model.candidates for model in (self.cascade, self.prerank) if model), default=0)

    @property
    def order(self) -> tuple[int, int, int]:
        """Later generations compare greater."""
        return order_of(self.id)


def generation_id(full_version: int, incremental_version: int | None = None, build: int = 1) -> str:
    """`g3` for full version 3, `g3.5` for incremental version 5 on it, `g3.5b2` with a second collection for both."""
    id_ = f"g{full_version}" if incremental_version is None else f"g{full_version}.{incremental_version}"
    return id_ if build == 1 else f"{id_}b{build}"


def versions_in(id_: str) -> tuple[int, int | None]:
    """The full and the incremental version that a generation is named after."""
    full, incremental, _ = order_of(id_)
    return full, incremental or None


def order_of(id_: str) -> tuple[int, int, int]:
    """Full version, incremental version (0: none) and build of its collection: later generations compare greater."""
    found = _ID.fullmatch(id_)
    if found is None:
        raise ValueError(f"{id_!r} is no generation's name")
    return int(found["full"]), int(found["incremental"] or 0), int(found["build"] or 1)


def require_backend(manifest: Manifest, backend: str, compared: str) -> None:
    """Refuse a generation whose collection is in another search backend than `backend`.

    Args:
        manifest: Of the generation.
        backend: Where it has to be.
        compared: What is there, for the message: `that of g3, which is stable`.

    Raises:
        GateError: It is in another one.
    """
    if manifest.backend != backend:
        raise GateError(
            f"generation {manifest.id}: its collection is in the search backend {manifest.backend!r}, {compared} in "
            f"{backend!r}; no rollout, publish or rollback leads from one to the other: `pagoda index rebuild` builds "
            "what serves in the backend that index.backend names, and releases it"
        )
