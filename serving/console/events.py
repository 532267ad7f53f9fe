"""Events as they come in: the last ones, and how many wait to get into the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from pagoda.data.window import from_us
from pagoda.settings import Settings
from serving.users.keys import FIELD, STREAM

_LAST = 50
_PATIENCE_SECONDS = 3.0


def waiting(settings: Settings, last: int = _LAST) -> Mapping[str, Any]:
    """How many events Redis took that are in no file yet, and the last of them, or why that cannot be seen."""
    shown: dict[str, Any] = {"waiting": None, "events": [], "unseen": ""}
    if not settings.redis.url:
        return shown | {"unseen": "this installation names no online store (redis.url), so no events come in here"}
    try:
        with Redis.from_url(settings.redis.url, socket_timeout=_PATIENCE_SECONDS) as redis:
            length, entries = int(redis.xlen(STREAM)), list[Any](redis.xrevrange(STREAM, count=last))
    except RedisError as error:
        return shown | {"unseen": f"the online store does not answer ({type(error).__name__})"}
    return shown | {"waiting": length, "events": [_event(*entry) for entry in entries]}


def _event(id_: bytes, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    row = orjson.loads(fields[FIELD])
    told = {name: row.get(name) for name in ("user_id", "item_id", "event")}
    came = datetime.fromtimestamp(int(id_.partition(b"-")[0]) / 1000, UTC)
    return {"came": came.isoformat(), **told, "at": from_us(row["timestamp"]).isoformat()}
