"""The data: what versions learn from, day by day, and the events that wait to get there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from pagoda.data.dataset import Dataset
from pagoda.errors import PagodaError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import DATASET
from pagoda.settings import Settings
from pagoda.storage.copies import local_path
from serving.users.keys import STREAM

_DAYS = 60
_PATIENCE_SECONDS = 3.0
NOTHING_HELD: dict[str, Any] = {"newest": None, "days": [], "trouble": ""}


def standing(settings: Settings, log: ReleaseLog) -> Mapping[str, Any]:
    """Where the dataset is, what it holds, and what waits, as far as each can be read.

    Raises:
        UnavailableError: The release log does not answer.
    """
    state = log.state()
    version = state.version(state.generations[state.stable].full_version) if state.stable else None
    try:
        url = settings.dataset(version.tags.get(DATASET, "") if version else "")
    except PagodaError as error:
        return {"dataset": "", **NOTHING_HELD, "trouble": str(error), **_waiting(settings)}
    return {"dataset": url, **_held(url), **_waiting(settings)}


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


def _waiting(settings: Settings) -> dict[str, Any]:
    """Events that Redis took and that are in no file yet, and when the last of them came."""
    shown: dict[str, Any] = {"waiting": None, "last": None, "unseen": ""}
    if not settings.redis.url:
        return shown | {"unseen": "this installation names no online store (redis.url), so no events come in here"}
    try:
        with Redis.from_url(settings.redis.url, socket_timeout=_PATIENCE_SECONDS) as redis:
            waiting, last = int(redis.xlen(STREAM)), list[Any](redis.xrevrange(STREAM, count=1))
    except RedisError as error:
        return shown | {"unseen": f"the online store does not answer ({type(error).__name__})"}
    came = datetime.fromtimestamp(int(last[0][0].partition(b"-")[0]) / 1000, UTC).isoformat() if last else None
    return shown | {"waiting": waiting, "last": came}
