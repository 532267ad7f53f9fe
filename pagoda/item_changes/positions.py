"""How far item changes have come: `applied.json` beside the item log, for people to look at.

Nobody works by it: a worker that starts brings in all that a collection may lack (`serving.workers.items`).
"""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pagoda.errors import IntegrityError, explain
from pagoda.storage.copies import read, replace

_FILE = "applied.json"


class Positions(BaseModel):
    """What one worker had brought in at a moment. Of several workers the last one's stands here."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    head: int
    """The number of the item log's last record."""
    applied: dict[str, int]
    """By collection, the last record whose changes it has, and those of all before."""


def read_positions(url: str) -> Positions | None:
    """Those beside the item log at `url`; None: no worker has said any.

    Raises:
        IntegrityError: They are damaged.
        UnavailableError: The store does not answer.
    """
    place = f"{url}/{_FILE}"
    if (content := read(place)) is None:
        return None
    try:
        return Positions.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"{explain(error, place)}; delete it, the item worker writes another") from error


def write_positions(url: str, positions: Positions) -> None:
    """Put them in place of those that are there.

    Raises:
        UnavailableError: The store does not answer.
    """
    replace(f"{url}/{_FILE}", positions.model_dump_json().encode())
