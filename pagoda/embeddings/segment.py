"""A delta segment: the ID rows that one incremental version changed, and which base and segment they lie over.

A folder holds `ids.npy` (int64 [n], strictly increasing), `rows.npy` (float32 [n, dim]) and `segment.json`, which is a
`SegmentDescription`; nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pagoda.data.window import Window
from pagoda.embeddings.mapped_rows import IDS, ROWS, Ids, MappedRows, Rows, map_rows, sorted_blocks, write_rows
from pagoda.errors import DataError, IntegrityError, explain
from pagoda.storage.atomic import build_folder

DESCRIPTION = "segment.json"
FILES = (IDS, ROWS, DESCRIPTION)


class SegmentLineage(BaseModel):
    """What a segment lies over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_version: int
    base_checksum: str
    """Checksum of the base ID table."""
    parent: str | None
    """Checksum of the segment it follows; None for the first one over its base."""
    window: Window
    merged: tuple[str, ...] = ()
    """Checksums, newest first, of the segments that this one replaces; empty for an incremental version's own."""


class SegmentDescription(SegmentLineage):
    """What `segment.json` says."""

    rows: int
    dim: int
    files: dict[str, str]
    checksum: str = ""
    """Own checksum, over everything else here; filled in when left out."""

    @model_validator(mode="after")
    def _own_checksum(self) -> SegmentDescription:
        content = self.model_dump(exclude={"checksum", "window"})
        content["window"] = (self.window.start_us, self.window.end_us)
        digest = f"xxh3:{xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())}"
        if self.checksum and self.checksum != digest:
            raise ValueError(f"damaged: its own checksum is {self.checksum}, its content gives {digest}")
        object.__setattr__(self, "checksum", digest)
        return self

    @property
    def originals(self) -> tuple[str, ...]:
        """Checksums, newest first, of the incremental versions' own segments that this one stands for."""
        return self.merged or (self.checksum,)


class Segment(MappedRows):
    """An opened segment: rows by ID over a base."""

    def __init__(self, folder: Path, description: SegmentDescription, ids: Ids, rows: Rows) -> None:
        super().__init__(folder, ids, rows)
        self.description = description

    @property
    def checksum(self) -> str:
        """The segment's own checksum, by which others name it."""
        return self.description.checksum

    @classmethod
    def write(
        cls,
        folder: Path,
        ids: Ids,
        rows: Rows,
        *,
        base_checksum: str,
        base_version: int,
        window: Window,
        parent: str | None,
    ) -> SegmentDescription:
        """Write a segment: all of it or nothing.

        Args:
            folder: Where to; must not exist.
            ids: int64 [n], each once, in any order.
            rows: float32 [n, dim], in the order of `ids`.
            base_checksum: Checksum of the base `IdTable`.
            base_version: The full version whose base that is.
            window: The interactions that were learned.
            parent: Checksum of the segment that this one follows, None for the first.

        Raises:
            ConflictError: `folder` exists.
            DataError: Shapes differ, an ID occurs twice, or a row is not finite.
        """
        if rows.shape != (len(ids), rows.shape[-1]):
            raise DataError(f"{folder}: ids {ids.shape} and rows {rows.shape} do not fit together")
        lineage = SegmentLineage(base_version=base_version, base_checksum=base_checksum, parent=parent, window=window)
        return write_segment(folder, *sorted_blocks(ids, rows, folder), rows.shape[1], lineage)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Segment:
        """Map a segment.

        Args:
            folder: As written by `write`.
            verify: Also read every byte: checksums and the order of the IDs. Without it only the lengths are checked.

        Raises:
            IntegrityError: A file is missing, truncated or damaged; the message names it.
        """
        description = read_description(folder)
        ids, rows = map_rows(folder, description.rows, description.dim, description.files if verify else None)
        return cls(folder, description, ids, rows)


def write_segment(
    folder: Path, ids: Ids, blocks: Iterable[Rows], dim: int, lineage: SegmentLineage
) -> SegmentDescription:
    """Write a segment from sorted `ids` and their rows in blocks: all of it or nothing."""
    with build_folder(folder) as aside:
        files = write_rows(aside, ids, blocks, dim)
        description = SegmentDescription(**dict(lineage), rows=len(ids), dim=dim, files=files)
        (aside / DESCRIPTION).write_text(description.model_dump_json(indent=1))
    return description


def read_description(folder: Path) -> SegmentDescription:
    """Read `segment.json`.

    Raises:
        IntegrityError: It is missing or damaged.
    """
    path = folder / DESCRIPTION
    try:
        return SegmentDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read ({error.strerror}); is {folder} a segment?") from error
    except ValidationError as error:
        raise IntegrityError(explain(error, str(path))) from error
