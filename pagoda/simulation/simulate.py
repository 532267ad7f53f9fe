"""Lives through a world request by request and writes what a platform would have logged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pagoda.data.layout import FEATURES_FILE, TIMESTAMP, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import write_table
from pagoda.data.partitions import InteractionWriter
from pagoda.data.spec import write_spec
from pagoda.errors import ConfigError
from pagoda.simulation.config import WorldConfig, write_config
from pagoda.simulation.features import SPEC, items_table, users_table
from pagoda.simulation.population import Int, Stream, generator
from pagoda.simulation.visits import VisitRequests
from pagoda.simulation.world import World

EVENTS = ("impression", "ranking_rejected", "click", "like")
_REQUESTS_AT_ONCE = 32_768
_UNTIL_CLICK_US = (3_000_000, 120_000_000)
_UNTIL_LIKE_US = (1_000_000, 30_000_000)


def simulate(config: WorldConfig, path: Path) -> int:
    """Write the world's log, users and items to the new dataset folder `path`, and its settings as `world.yaml`.

    Returns:
        Number of interactions.

    Raises:
        ConfigError: The world would reach into the future.
        ConflictError: `path` exists already.
    """
    if config.window.end > datetime.now(UTC):
        raise ConfigError(f"the world would end in the future, on {config.window.end:%Y-%m-%d}; start it earlier")
    world = World(config)
    rows = 0
    with new_dataset(path) as folder:
        write_spec(SPEC, folder / FEATURES_FILE)
        write_config(config, folder)
        write_table(folder / "users", iter(users_table(world).to_batches()), schema_of(SPEC, "users"))
        write_table(folder / "items", iter(items_table(world).to_batches()), schema_of(SPEC, "items"))
        with InteractionWriter(folder / "interactions", schema_of(SPEC, "interactions")) as writer:
            for batch in interactions(world):
                writer.write(batch)
                rows += batch.num_rows
    return rows


class _Log(NamedTuple):
    """Interactions as arrays [n]: user and item numbers, index into EVENTS, moments."""

    users: Int
    items: Int
    events: np.ndarray
    times_us: Int

    def take(self, chosen: np.ndarray) -> _Log:
        return _Log(*(array[chosen] for array in self))


def interactions(world: World) -> Iterator[pa.RecordBatch]:
    """All interactions of the world in time order, as a dataset has them; memory follows a day's requests."""
    end_us = world.config.window.end_us
    # Clicks come later than the request, so some wait until the requests have caught up with them.
    waiting = _Log(*(np.empty(0, np.int64) for _ in _Log._fields))
    for number, requests in enumerate(_chunks(world)):
        rng = generator(world.config, Stream.REACTIONS, number)
        log = _merge(waiting, _react(world, requests, rng))
        until = int(requests.times_us[-1])
        yield _batch(log.take(log.times_us <= until))
        waiting = log.take(log.times_us > until)
    if (waiting.times_us < end_us).any():
        yield _batch(waiting.take(waiting.times_us < end_us))


def _chunks(world: World) -> Iterator[VisitRequests]:
    """All requests in time order, some thousands at a time."""
    for day in range(world.config.days):
        users, times = world.visits.on(day)
        for start in range(0, len(users), _REQUESTS_AT_ONCE):
            yield VisitRequests(users[start : start + _REQUESTS_AT_ONCE], times[start : start + _REQUESTS_AT_ONCE])


def _react(world: World, requests: VisitRequests, rng: np.random.Generator) -> _Log:
    """What is logged of some requests: items shown, rejected, clicked and liked, in no order."""
    slates = world.slates(requests.users, requests.times_us, rng)
    times = np.broadcast_to(requests.times_us[:, None], slates.items.shape)
    users = np.broadcast_to(requests.users[:, None], slates.items.shape)
    clicked = slates.shown & (rng.random(slates.items.shape, np.float32) < slates.click_probability)
    liked = clicked & (rng.random(slates.items.shape, np.float32) < slates.click_probability)
    clicked_at = times + rng.integers(*_UNTIL_CLICK_US, times.shape)
    liked_at = clicked_at + rng.integers(*_UNTIL_LIKE_US, times.shape)
    happened = (slates.shown, slates.found & ~slates.shown, clicked, liked)
    moments = (times, times, clicked_at, liked_at)
    return _Log(
        np.concatenate([users[where] for where in happened]),
        np.concatenate([slates.items[where] for where in happened]),
        np.repeat(np.arange(len(EVENTS)), [int(where.sum()) for where in happened]),
        np.concatenate([at[where] for at, where in zip(moments, happened, strict=True)]),
    )


def _merge(waiting: _Log, more: _Log) -> _Log:
    """Both in time order."""
    log = _Log(*(np.concatenate(pair) for pair in zip(waiting, more, strict=True)))
    return log.take(np.argsort(log.times_us, kind="stable"))


def _batch(log: _Log) -> pa.RecordBatch:
    events = pa.DictionaryArray.from_arrays(pa.array(log.events, pa.int8()), pa.array(EVENTS))
    columns = [pa.array(log.users + 1), pa.array(log.items + 1), events.cast(pa.string())]
    columns.append(pa.array(log.times_us).cast(TIMESTAMP))
    return pa.RecordBatch.from_arrays(columns, schema=schema_of(SPEC, "interactions"))
