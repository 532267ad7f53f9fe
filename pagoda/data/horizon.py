"""From which date on a dataset keeps its interactions: older ones are gone, or about to be, and nobody reads them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.errors import DataError

HORIZON_FILE = "retention.json"


class Horizon(BaseModel):
    """What the file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interactions_from: date
    """The first date that is kept."""


def parse_horizon(content: bytes, place: str) -> date:
    """Read the file's content.

    Raises:
        DataError: It says something else.
    """
    try:
        return Horizon.model_validate_json(content).interactions_from
    except ValidationError as error:
        raise DataError(f"{place}: {error.errors()[0]['msg']}; `pagoda retention --interactions` writes it") from None


def read_horizon(dataset: Path) -> date | None:
    """The first date that a dataset keeps; None: all are."""
    path = dataset / HORIZON_FILE
    try:
        return parse_horizon(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
