"""Item vectors in several files, one for each shard of an export: where they are, and what they hold."""

from __future__ import annotations

from pathlib import Path

import fsspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pagoda.errors import IntegrityError, explain

PARTS_FILE = "item_vectors.json"
"""Holds `VectorParts` where `item_vectors.parquet` would hold the vectors."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VectorPart(_Model):
    """One `item_vectors.parquet` with a range of the items."""

    uri: str
    """Path or URL."""
    checksum: str


class VectorParts(_Model):
    """The files of all items, in ascending order of their IDs."""

    parts: tuple[VectorPart, ...] = Field(min_length=1)

    def write(self, path: Path) -> None:
        """Write it as JSON, the same bytes for the same parts."""
        path.write_text(self.model_dump_json(indent=1))


def is_list(path: Path) -> bool:
    """Whether a file is a list of parts rather than a part itself."""
    return path.suffix == ".json"


def read_parts(path: Path) -> VectorParts:
    """Read what `VectorParts.write` wrote.

    Raises:
        IntegrityError: The file is missing or damaged.
    """
    try:
        return VectorParts.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{path}: not readable as a list of item vectors ({error.strerror})") from error
    except ValidationError as error:
        raise IntegrityError(explain(error, str(path))) from error


def part_uris(uri: str) -> tuple[str, ...]:
    """The files that a path or URL stands for: itself, or where it is a list, its parts.

    Raises:
        IntegrityError: The list is damaged.
    """
    if not uri.endswith(".json"):
        return (uri,)
    with fsspec.open(uri, "rb") as file:
        content = file.read()
    try:
        return tuple(part.uri for part in VectorParts.model_validate_json(content).parts)
    except ValidationError as error:
        raise IntegrityError(explain(error, uri)) from error
