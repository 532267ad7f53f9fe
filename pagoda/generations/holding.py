"""What a follower says about its host, in a file beside the tables."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.storage.atomic import write_atomic

HOLDING_PATH = "/holding"
"""Where a follower says it of its host, beside its metrics."""
_FILE = "follower.json"


class Holding(BaseModel):
    """One host's view after a look at the release log."""

    model_config = ConfigDict(frozen=True)

    head: int
    """Last record it has seen."""
    current: str | None
    """Generation that answers requests which name none."""
    held: tuple[str, ...]
    refused: dict[str, str] = {}
    """Generations that it refuses, and why."""

    def write(self, folder: Path) -> None:
        """Replace what the folder says."""
        write_atomic(folder / _FILE, self.model_dump_json(indent=1).encode())


def read_holding(folder: Path) -> Holding | None:
    """What the follower of a tables folder last said; None when it never did."""
    try:
        return Holding.model_validate_json((folder / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None
