"""All channels beside the tower alone: `python -m benchmarks.online.channels MIXTURE PORT` serves with them.

All else is the service as it is: the generation is told to declare channels, whose tables `write_mixture` has written.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop

from benchmarks.online.installation import Installation
from benchmarks.online.world import NOW_US, WINDOW, BenchWorld
from pagoda.channels.base import Float32Array, TableSource
from pagoda.channels.factory import TABLES, write_tables
from pagoda.config.training import parse_config
from pagoda.embeddings.array_files import save_array
from pagoda.generations.manifest import Artifact, Manifest, Mixture
from pagoda.settings import load_settings
from pagoda.storage.inventory import take_inventory
from serving.events.factory import taking
from serving.recall import server
from serving.recall.api import RecalledItem, RecallInstance
from serving.recall.channels.base import Channel
from serving.recall.channels.exploration import Exploration
from serving.recall.channels.exploration_counts import ExplorationCounts
from serving.recall.channels.merge import merge
from serving.recall.channels.tables import TableChannels
from serving.recall.generations import follower
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.users.online_store import OnlineStore

_CONFIG = parse_config(
    """
channels:
- {kind: two_tower, share: 0.5}
- {kind: item_to_item, share: 0.2}
- {kind: popular, share: 0.1, by: hour}
- {kind: category, share: 0.1, by: category}
- {kind: fresh, share: 0.05}
- {kind: explore, share: 0.05}
"""
)
KINDS = tuple(channel.kind for channel in _CONFIG.channels)
_NEIGHBOURS = 100
_K = 100


def write_mixture(world: BenchWorld, folder: Path) -> Path:
    """Write the tables of all channels below `folder`, and a file of what a manifest says of them; its path.

    Neighbours of items are drawn, since in a log of so few clicks an item has hardly any: a hundred of each item that
    anybody clicked, as many as a table keeps.
    """
    items = world.dataset.items()["item_id"].to_numpy()
    drawn = next(channel for channel in _CONFIG.channels if channel.kind == "item_to_item")
    written = [channel for channel in _CONFIG.channels if channel is not drawn]
    write_tables(folder / TABLES, written, TableSource(world.dataset, WINDOW, items, _no_vectors))
    _draw_neighbours(world, folder / TABLES / drawn.kind)
    found = take_inventory(folder / TABLES)
    tables = {name: Artifact(uri=f"{folder / TABLES}/{name}", checksum=checksum) for name, checksum in found.items()}
    path = folder / "mixture.json"
    path.write_text(Mixture(channels=_CONFIG.channels, merging=_CONFIG.merging, tables=tables).model_dump_json())
    return path


def _no_vectors() -> Float32Array:
    raise AssertionError("no channel here reads item vectors")


def _draw_neighbours(world: BenchWorld, folder: Path) -> None:
    clicked = np.concatenate([batch["item_id"].to_numpy() for batch in world.dataset.batches(columns=["item_id"])])
    ids, random = np.unique(clicked), np.random.default_rng(5)
    size = len(ids) * _NEIGHBOURS
    folder.mkdir()
    save_array(folder / "ids.npy", ids, np.int64)
    save_array(folder / "starts.npy", np.arange(len(ids) + 1) * _NEIGHBOURS, np.int64)
    save_array(folder / "neighbours.npy", random.integers(0, len(ids), size, np.int32), np.int32)
    save_array(folder / "weights.npy", random.random(size, np.float32), np.float32)


def with_mixture(manifest: Manifest, path: Path) -> Manifest:
    """The generation as if its version had been trained with these channels."""
    return manifest.model_copy(update={"mixture": Mixture.model_validate_json(path.read_bytes())})


def by_channel(installed: Installation, path: Path, users: Sequence[int]) -> dict[str, dict[str, float]]:
    """By channel, in this process and after the towers: items of an answer that it had, and its milliseconds.

    The latter are the median of merging the towers' items with its own alone; `all`: with those of all.
    """
    return asyncio.run(_by_channel(installed, path, users))


async def _by_channel(installed: Installation, path: Path, users: Sequence[int]) -> dict[str, dict[str, float]]:
    manifest = with_mixture(installed.manifest, path)
    stored = await _stored(installed, users)
    vectors = installed.user_vectors(users).tolist()
    tables, counts = TableChannels(), ExplorationCounts(installed.settings.redis.url)
    exploration = Exploration(tables, counts)
    found: dict[str, dict[str, float]] = {}
    for kind in (*KINDS, "all"):
        live = LiveGeneration(manifest if kind == "all" else _alone(manifest, kind))
        await tables.warm(live)
        await exploration.warm(live)
        took, had = [], Counter[str]()
        for instance, known, vector in zip(_asked(users), stored, vectors, strict=True):
            lookup: Lookup = live.begin(instance, "user")
            lookup.stored, lookup.vectors = known, (vector,)
            start = time.perf_counter()
            await merge((_Towers(installed.manifest.item_count),), live, lookup, tables, exploration=exploration)
            took.append(time.perf_counter() - start)
            had.update(channel for item in lookup.items for channel in item["channels"])
        items = len(users) * _K if kind == "all" else had[kind]
        found[kind] = {"items": round(items / len(users), 1), "ms": round(median(took) * 1e3, 3)}
    await counts.close()
    return found


class _Towers(Channel):
    """The same items for everybody, at once."""

    name = "two_tower"

    def __init__(self, items: int) -> None:
        self._step = items // _K

    async def candidates(self, *_: object) -> list[RecalledItem]:
        return [{"item_id": place * self._step, "score": 1 - place / _K} for place in range(_K)]


def _alone(manifest: Manifest, kind: str) -> Manifest:
    """With the towers and one channel more."""
    kept = [channel for channel in _CONFIG.channels if channel.kind in ("two_tower", kind)]
    share = sum(channel.share for channel in kept)
    channels = tuple(channel.model_copy(update={"share": channel.share / share}) for channel in kept)
    mixture = manifest.mixture and manifest.mixture.model_copy(update={"channels": channels})
    return manifest.model_copy(update={"mixture": mixture})


def _asked(users: Sequence[int]) -> list[RecallInstance]:
    return [RecallInstance(user_id=user, k=_K, timestamp=NOW_US) for user in users]


async def _stored(installed: Installation, users: Sequence[int]) -> list[Any]:
    store = OnlineStore(installed.settings.redis.url)
    found = await store.read([(user, False) for user in users], installed.manifest.spec)
    await store.close()
    return list(found)


def main() -> None:
    """Serve with all channels."""
    path, port = Path(sys.argv[1]), int(sys.argv[2])
    setattr(follower, "LiveGeneration", lambda manifest: LiveGeneration(with_mixture(manifest, path)))  # noqa: B010
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(load_settings(), "127.0.0.1", port, taking))


if __name__ == "__main__":
    main()
