"""The data: what versions learn from, day by day, and the events that wait to get there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pagoda.data.dataset import Dataset
from pagoda.errors import PagodaError
from pagoda.generations.release_log import ReleaseLog
from pagoda.settings import Settings
from pagoda.storage.copies import local_path
from pagoda.updates.item_replay import dataset_of_the_stable
from serving.console.events import waiting

_DAYS = 60
NOTHING_HELD: dict[str, Any] = {"newest": None, "days": [], "trouble": ""}


def standing(settings: Settings, log: ReleaseLog) -> Mapping[str, Any]:
    """Where the dataset is, what it holds, and what waits, as far as each can be read.

    Raises:
        UnavailableError: The release log does not answer.
    """
    seen = waiting(settings, last=1)
    waits = {
        "waiting": seen["waiting"],
        "unseen": seen["unseen"],
        "last": next((one["came"] for one in seen["events"]), None),
    }
    try:
        url = dataset_of_the_stable(settings, log)
    except PagodaError as error:
        return {"dataset": "", **NOTHING_HELD, "trouble": str(error), **waits}
    return {"dataset": url, **_held(url), **waits}


def _held(url: str) -> dict[str, Any]:
    if (place := local_path(url)) is None:
        return NOTHING_HELD | {
            "trouble": "it is in an object store, whose files are brought here only to be learned from"
        }
    try:
        dataset = Dataset.open(place)
        days = dataset.rows_by_day(_DAYS)
        newest = dataset.span().end
    except PagodaError as error:
        return NOTHING_HELD | {"trouble": str(error)}
    most = max(days.values(), default=0)
    return NOTHING_HELD | {
        "newest": newest.isoformat(),
        "days": [{"day": f"{day}", "rows": rows, "part": rows / most} for day, rows in reversed(days.items())],
    }
