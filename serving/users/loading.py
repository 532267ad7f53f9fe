"""Filling the online store from a dataset, as it would be at a moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import orjson
import pyarrow as pa
from pydantic import BaseModel, ConfigDict
from redis import Redis
from redis.exceptions import RedisError

from pagoda.data.dataset import Dataset
from pagoda.data.layout import features_of
from pagoda.data.window import Window
from pagoda.errors import UnavailableError
from serving.error_reasons import reason
from serving.users.keys import NEWCOMERS, RECENT_LENGTH, SEEN_LENGTH, Key, profile_key, recent_key, seen_key
from serving.users.recent import recent_entry

Progress = Callable[[int], None]
"""Told how many further interactions were taken in."""
_Event = tuple[Key, int, str, bool]
"""Item, timestamp in µs, its entry in recent behaviour (empty: none), whether it counts as seen."""


class StoreReport(BaseModel):
    """What went into the store."""

    model_config = ConfigDict(frozen=True)

    profiles: int
    users: int
    """With at least one interaction."""
    interactions: int


def load_store(dataset: Dataset, until: datetime, url: str, progress: Progress | None = None) -> StoreReport:
    """Write profiles, and recent behaviour and seen items as they were just before `until`.

    What the store held of these users is replaced, so it can be run again, also after it was killed.

    Args:
        dataset: The dataset.
        until: The moment; aware.
        url: Redis.
        progress: Told how far it is.

    Raises:
        UnavailableError: Redis does not answer.
        DataError: The dataset cannot be read.
    """
    loader = _Loader(dataset, Redis.from_url(url, socket_timeout=30))
    try:
        profiles = loader.profiles()
        users, interactions = loader.behaviour(until, progress)
    except RedisError as error:
        raise UnavailableError(f"online store at {url}: {reason(error)}") from error
    return StoreReport(profiles=profiles, users=users, interactions=interactions)


class _Loader:
    def __init__(self, dataset: Dataset, redis: Redis) -> None:
        self._dataset, self._spec, self._redis = dataset, dataset.spec, redis
        suffix = "key" if dataset.spec.id_type == "string" else "id"
        self._user, self._item = f"user_{suffix}", f"item_{suffix}"

    def profiles(self) -> int:
        columns = [feature.column for feature in features_of(self._spec, "users")]
        written = 0
        for batch in self._dataset.user_batches():
            pipeline = self._redis.pipeline(transaction=False)
            for row in batch.select([self._user, *columns]).to_pylist():
                known = {name: row[name] for name in columns if row[name] is not None}
                pipeline.set(profile_key(row[self._user]), orjson.dumps(known))
            pipeline.execute()
            written += batch.num_rows
        return written

    def behaviour(self, until: datetime, progress: Progress | None) -> tuple[int, int]:
        # All is forgotten first: whom this load has met already is then known by Redis, and not held here.
        self._forget(batch[self._user] for batch in self._dataset.user_batches())
        self._forget(batch[self._user] for batch in self._past(until, [self._user]))
        users = interactions = 0
        said = [] if self._spec.past_text is None else [self._spec.past_text.of]
        for batch in self._past(until, [self._user, self._item, "event", "timestamp", *said]):
            users += self._write(self._by_user(batch))
            interactions += batch.num_rows
            if progress:
                progress(batch.num_rows)
        return users, interactions

    def _past(self, until: datetime, columns: list[str]) -> Iterator[pa.RecordBatch]:
        start = self._dataset.span().start
        if until > start:
            wanted = {*self._spec.history_events, *self._spec.positives}
            yield from self._dataset.batches(Window(start=start, end=until), events=wanted, columns=columns)

    def _forget(self, batches: Iterable[pa.Array]) -> None:
        for users in batches:
            if named := users.unique().to_pylist():
                self._redis.delete(*(key for user in named for key in (recent_key(user), seen_key(user))))
                self._redis.zrem(NEWCOMERS, *named)  # What is loaded stays.

    def _by_user(self, batch: pa.RecordBatch) -> dict[Key, list[_Event]]:
        grouped: defaultdict[Key, list[_Event]] = defaultdict(list)
        times = batch.column("timestamp").cast(pa.int64()).to_pylist()
        named = (batch.column(name).to_pylist() for name in (self._user, self._item, "event"))
        feature, tells = self._spec.past_text, self._spec.embeds_events
        texts = [None] * batch.num_rows if feature is None else batch.column(feature.of).to_pylist()
        for user, item, event, time_us, text in zip(*named, times, texts, strict=True):
            entry = ""
            if event in self._spec.history_events:
                entry = recent_entry(time_us, item, event if tells else None, text)
            grouped[user].append((item, time_us, entry, event in self._spec.positives))
        return grouped

    def _write(self, grouped: dict[Key, list[_Event]]) -> int:
        """Append what users did; how many of them had done nothing before."""
        pipeline = self._redis.pipeline(transaction=False)
        for user in grouped:
            pipeline.exists(recent_key(user), seen_key(user))
        for user, events in grouped.items():
            if recent := [entry for _, _, entry, _ in events if entry]:
                pipeline.rpush(recent_key(user), *recent[-RECENT_LENGTH:])
                pipeline.ltrim(recent_key(user), -RECENT_LENGTH, -1)
            if seen := {str(item): time_us for item, time_us, _, positive in events if positive}:
                pipeline.zadd(seen_key(user), seen)
                pipeline.zremrangebyrank(seen_key(user), 0, -SEEN_LENGTH - 1)
        return pipeline.execute()[: len(grouped)].count(0)
