"""Versions of the model: what is registered, and the protocol of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from pagoda.data.window import Window

SEGMENT = "segment"
"""Folder of an incremental version's artifact that holds its segment."""

Update = Literal["full", "incremental"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

DATASET = "dataset"
"""Tag of a full version: the folder or URL that it learned from, where later interactions are found too."""

INTERESTS = "interests"
"""Tag of a full version: how many vectors a user has, where there are several."""
CANDIDATES = "candidates"
"""Tag of a full version that is a cascade: how many items its first member finds for its second to order."""
JUDGEMENT, WARNING = "judgement", "warning"
"""Tags of a full version: what it was found to be worth, in words, and what of that is bad, where anything is."""


def full_key(window: Window, parent: int | None) -> str:
    """What makes a full update the same one: its window and the full version that it starts from."""
    return f"full:{window.key}:{parent or 0}"


def incremental_key(window: Window, base: int, parent: int | None) -> str:
    """What makes an incremental update the same one: its window, its base and the incremental before it."""
    return f"incremental:{window.key}:{base}:{parent or 0}"


class _Version(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    key: str = Field(min_length=1)
    """Two registrations with the same key are one."""
    update: Update
    base: int | None = None
    """Incremental versions: the full version whose user rows they change."""
    window: Window
    parent: int | None = None
    """The version that training started from: a full one for full versions, the incremental before it (None: the
    base itself) for incremental ones."""
    metrics: dict[str, Finite] = {}
    tags: dict[str, str] = {}
    """Further lineage: code version, data checksum, …"""

    @model_validator(mode="after")
    def _complete(self) -> _Version:
        if (self.update == "incremental") != (self.base is not None):
            raise ValueError("incremental versions name their base, full ones have none")
        return self

    @property
    def numbers(self) -> dict[str, int]:
        """Lineage that is a number, as far as there is any."""
        return {name: value for name, value in (("base", self.base), ("parent", self.parent)) if value is not None}


class VersionDraft(_Version):
    """A version to register."""

    folder: Path
    """What is served; its files are the first artifact. Incremental versions: the folder that holds `segment/`."""
    state_folder: Path | None = None
    """Optimiser state and watermark: the second artifact, never served."""
    params: dict[str, Any] = {}


class VersionRecord(_Version):
    """A registered version. Nothing in it is edited later."""

    version: int
    rows: int | None = None
    """Incremental versions: user rows in the segment."""
    segment: str | None = None
    """Incremental versions: the segment's own checksum."""
    uri: str
    """Where the first artifact is, as a URL or path that fsspec reads."""
    checksum: str
    """Of the whole first artifact, names and contents."""
    files: dict[str, str]
    """Checksum of each of its files."""
    state_uri: str | None = None
    state_files: dict[str, str] = {}
    run: str = ""
    """The MLflow run that shows metrics, params and files; empty without a server."""
    registered_at: AwareDatetime
    pruned: bool = False
    """Retention deleted the artifacts; the lineage stays."""

    @property
    def full_version(self) -> int:
        """Itself, or the base of an incremental version."""
        return self.version if self.base is None else self.base
