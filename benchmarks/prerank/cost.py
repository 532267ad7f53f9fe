"""What ordering its candidates costs a request, with tower and search in this process, as profile compact has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prerank.world import Offered
from pagoda.data.spec import FeatureSpec
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.index.factory import open_search
from pagoda.storage.copies import local_path
from serving.http.fields import PastItems
from serving.recall.api import RecallInstance
from serving.recall.channels.factory import channels_of
from serving.recall.generations.generation import LiveGeneration
from serving.recall.items.preranker import open_preranker
from serving.recall.request.answer import answer_by
from serving.recall.request.parts import Parts
from serving.recall.request.warm_up import warm_up
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.in_process_tower import InProcessTower, get_process_ready
from serving.users.keys import Key
from serving.users.online_store import StoredUser
from serving.workers.follower import Follower
from serving.workers.tower_archives import TowerArchives
from serving.workers.tower_host import LocalTowers

_K, _WARM = 100, 50


class _EmptyStore:
    """Knows nobody: requests say what users did."""

    async def read(self, users: Sequence[tuple[Key, bool]], spec: FeatureSpec, generation: str) -> list[StoredUser]:
        del spec, generation
        return [StoredUser({}, PastItems(), ()) for _ in users]


def cost(made: Offered, requests: int) -> dict[str, Any]:
    """Milliseconds of a request one after the other, with and without the pre-ranker, on the same towers."""
    get_process_ready()
    settings = made.settings
    tables, towers = settings.tables_folder, settings.towers_folder
    follower = Follower(open_log(settings), tables, LocalTowers(TowerArchives(towers, tables)))
    try:
        follower.step()
        return asyncio.run(_cost(made, requests))
    finally:
        follower.close()


async def _cost(made: Offered, requests: int) -> dict[str, Any]:
    settings = made.settings
    tower = InProcessTower(settings.towers_folder, settings.tables_folder)
    index = open_search(settings, lambda: "")
    parts = Parts(_EmptyStore(), tower, channels_of(JoinedIndex(index), frozenset()))
    plain = made.manifest.model_copy(update={"prerank": None})
    await tower.open(made.manifest)
    found: dict[str, Any] = {"requests": requests, "k": _K}
    for name, manifest in (("without", plain), ("with", made.manifest)):
        times = await _times(made, manifest, parts, requests)
        found[f"skipped_{name}"] = int(sum(one["skipped"] for one in times))
        for stage in ("total", "index", "prerank"):
            if stage in times[0]:
                values = [one[stage] for one in times]
                found |= {f"{stage}_{name}_p50_ms": float(np.median(values))}
                found |= {f"{stage}_{name}_p99_ms": float(np.quantile(values, 0.99))}
    found["score_ms"] = _score_ms(made, requests)
    parts.preranking.close()
    await index.close()
    return found


async def _times(made: Offered, manifest: Manifest, parts: Parts, requests: int) -> list[dict[str, float]]:
    live, times = LiveGeneration(manifest), list[dict[str, float]]()
    await warm_up(live, parts)
    for number, instance in enumerate(_instances(made, _WARM + requests)):
        (said,) = await answer_by(live, "stable", parts, [live.begin(instance, "instances.0")])
        if number >= _WARM:
            times.append({**said["timing_ms"], "skipped": float("prerank_skipped" in said["degraded"])})
    return times


def _instances(made: Offered, count: int) -> list[RecallInstance]:
    """Users with what they did."""
    users = np.asarray(made.files.users.ids)
    users = users[np.arange(count) % len(users)]
    end = made.later.start_us
    state = made.files.history()
    past = state.read(users, np.full(count, end)).padded() if state else None
    asked = []
    for row, user in enumerate(users.tolist()):
        did = []
        if past is not None:
            own = zip(past.items[row][past.mask[row]], past.times_us[row][past.mask[row]], strict=True)
            did = [{"item_id": int(item), "timestamp": int(at)} for item, at in own]
        asked.append(RecallInstance.model_validate({"user_id": user, "k": _K, "timestamp": end, "history": did}))
    return asked


def _score_ms(made: Offered, times: int) -> float:
    """The model alone: encoding a user, reading the items, and its program, the median of some."""
    model, live = open_preranker(made.manifest), LiveGeneration(made.manifest)
    assert made.manifest.prerank is not None  # noqa: S101
    (instance,) = _instances(made, 1)
    told = live.tower_instance(instance, StoredUser({}, PastItems(), ()))
    ids = made.dataset.items().column("item_id").to_numpy()
    rng, taken = np.random.default_rng(0), []
    vector = [0.1] * made.manifest.dim
    for _ in range(times):
        asked = rng.choice(ids, made.manifest.prerank.candidates, replace=False)
        began = time.perf_counter()
        model.score(vector, told, asked)
        taken.append(time.perf_counter() - began)
    return 1e3 * float(np.median(taken))


def program_bytes(made: Offered) -> dict[str, int]:
    """Sizes of what a pre-ranker adds to a generation."""
    model = made.manifest.prerank
    if model is None:
        return {}
    sizes = {"program_bytes": (local_path(model.program.uri) or Path()).stat().st_size}
    return sizes | {"items_bytes": sum((local_path(one.uri) or Path()).stat().st_size for one in model.items)}
