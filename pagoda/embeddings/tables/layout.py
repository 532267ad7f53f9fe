"""Names and records in the tables folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.embeddings.table import FILES, IdTable, combine
from pagoda.errors import IntegrityError, NotHeldError, RequestError, explain
from pagoda.storage.checksums import checksum_file

SIDES = ("users", "items")
FULL_FILES = ("encoder.json", *(f"{side}/{name}" for side in SIDES for name in FILES))
"""What a tower's host needs of a full version."""


class GenerationRecord(BaseModel):
    """What a host needs to know to serve one generation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: str
    full_version: int
    base_checksum: str
    chain: tuple[str, ...]
    """Checksums of the manifest's segments, newest first."""
    opens: tuple[str, ...]
    """What this host opens for them: the same, or fewer that compaction made of them."""


class CurrentRecord(BaseModel):
    """The generation that answers a request which names none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: str


class TablesLayout:
    """Paths below the tables folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generations = folder / "generations"
        self.retired = folder / "retired"
        self.full_versions = folder / "full"
        self.segments = folder / "segments"
        self.current = folder / "current.json"
        self.lock = folder / ".lock"

    def full(self, version: int) -> Path:
        """Folder of a full version's tables."""
        return self.full_versions / str(version)

    def segment(self, checksum: str) -> Path:
        """Folder of a segment."""
        return self.segments / _safe(checksum).replace(":", "-")

    def generation(self, generation: str) -> Path:
        """Record of a generation."""
        return self.generations / f"{_safe(generation)}.json"

    def tombstone(self, generation: str) -> Path:
        """Record of a generation whose files are being removed."""
        return self.retired / f"{_safe(generation)}.json"

    def records(self) -> list[GenerationRecord]:
        """The records of all generations that this host holds."""
        return [read_record(path) for path in sorted(self.generations.glob("*.json"))]


def read_record(path: Path) -> GenerationRecord:
    """Read a generation's record.

    Raises:
        NotHeldError: It is not there.
        IntegrityError: It is damaged.
    """
    try:
        return GenerationRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NotHeldError(f"generation {path.stem} is not held here ({path} is missing)") from None
    except ValidationError as error:
        raise IntegrityError(explain(error, str(path))) from error


def tables_checksum(folder: Path) -> str:
    """Checksum of a full version's `FULL_FILES` in `folder`, quickly: the tables' own descriptions are believed."""
    parts = {side: IdTable.open(folder / side).checksum for side in SIDES}
    return combine({**parts, "encoder.json": checksum_file(folder / "encoder.json")})


def _safe(name: str) -> str:
    # Generation IDs come with requests; one must never reach outside the folder.
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise RequestError(f"{name!r} is not the name of a generation or segment")
    return name
