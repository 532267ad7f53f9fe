"""The stage that orders what was found, where a generation has a pre-ranker.

Where that is late or broken, the answer is in the order of what was found, and says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pagoda.errors import ConfigError, PagodaError
from pagoda.generations.manifest import Manifest
from serving.background import every
from serving.http.deadlines import left
from serving.http.features import read_ids
from serving.recall.fallback.steps import PRERANK
from serving.recall.generations.generation import LiveGeneration
from serving.recall.generations.per_version import PerVersion
from serving.recall.lookup import Lookup

if TYPE_CHECKING:
    from serving.recall.items.preranker import OpenPreRanker

_PATIENCE = 10
"""Times as long as a user's candidates were allowed to take, until nobody waits for them: where the machine is busy,
they wait for their turn."""
_POLL_SECONDS = 0.5
logger = logging.getLogger(__name__)


class PreRanking:
    """Orders items. One for all generations."""

    def __init__(self) -> None:
        self._models = PerVersion(_opened, "answers in the order of what is found")
        # Threads of its own: what is late goes on for a while, and reading files has to wait for none of it.
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "prerank", initializer=_get_thread_ready)
        self._complaint = ""

    async def warm(self, live: LiveGeneration) -> None:
        """Open a generation's, where it has any, unless that was done; see `PerVersion.warm`."""
        if live.manifest.prerank is not None:
            await self._models.warm(live)

    async def order(self, live: LiveGeneration, lookups: Sequence[Lookup]) -> None:
        """Put the items of each user in its order, and leave the k that were asked for."""
        model = self._models.get(live)
        await asyncio.gather(*(self._order(live, model, one, len(lookups)) for one in lookups))

    async def follow(self) -> None:
        """Follow item changes until cancelled."""
        await every(_POLL_SECONDS, self._look)

    async def _look(self) -> None:
        for model in self._models.held():
            try:
                await asyncio.to_thread(model.look)
            except PagodaError as error:
                logger.warning("changes of what a pre-ranker reads: %s", error)

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _order(self, live: LiveGeneration, model: OpenPreRanker | None, lookup: Lookup, users: int) -> None:
        # What words find has its own order, of which a model of clicks knows nothing.
        if lookup.instance.text is None and lookup.items:
            if model is None or (scored := await self._scored(live, model, lookup, users)) is None:
                lookup.degraded.append(PRERANK)
            else:
                _put_in_order(lookup, *scored)
        lookup.items = lookup.items[: lookup.instance.k]

    async def _scored(
        self, live: LiveGeneration, model: OpenPreRanker, lookup: Lookup, users: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        told = live.tower_instance(lookup.instance, lookup.stored)
        ids = read_ids(live.spec, [item["item_id"] for item in lookup.items], "items")
        score = partial(model.score, lookup.vectors[0], told, ids)
        try:
            async with asyncio.timeout(left(_PATIENCE * users * model.seconds)):
                return await asyncio.get_running_loop().run_in_executor(self._threads, score)
        except TimeoutError:
            lookup.fail(PRERANK, "no answer in time", late=True)
            return None
        except Exception as error:  # Of whatever kind, there is an answer without it.
            complaint = f"{live.id}: its pre-ranker failed: {type(error).__name__}: {error}"
            lookup.fail(PRERANK, complaint)
            self._complain(complaint)
            return None

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            logger.warning("%s", complaint)
        self._complaint = complaint


def _put_in_order(lookup: Lookup, chances: NDArray[np.float32], there: NDArray[np.bool_]) -> None:
    """By falling chance; of equal ones what was found first."""
    chances = chances_of_all(chances, there)
    order = np.argsort(-chances, kind="stable")[: lookup.instance.k]
    found, lookup.items = lookup.items, []
    for at, chance in zip(order.tolist(), chances[order].tolist(), strict=True):
        item = found[at]
        item["recall_score"], item["score"] = item["score"], chance
        lookup.items.append(item)


def chances_of_all(chances: NDArray[np.float32], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The chance of each item, float32 [n], where some were added a moment ago, so that the model does not know them.

    Such an item has the chance that stands at its place: what was found k-th has the k-th highest.

    Args:
        chances: float32 [n], in the order in which items were found; of those that are there.
        there: bool [n], which the model knows.
    """
    if there.all() or not there.any():
        return np.where(there, chances, np.float32(0))
    falling = -np.sort(-chances[there])
    before = np.minimum(np.cumsum(there), len(falling) - 1)
    return np.where(there, chances, falling[before])


def _opened(manifest: Manifest) -> OpenPreRanker:
    # Where nothing is pre-ranked, recall needs no PyTorch, and its smaller image has none.
    try:
        from serving.recall.items.preranker import open_preranker
    except ImportError as error:
        raise ConfigError(
            "a pre-ranker runs in the recall process, which has no PyTorch here; the image recall-compact has it"
        ) from error
    return open_preranker(manifest)


def _get_thread_ready() -> None:
    """What a user's candidates need is too little to be divided among threads."""
    import torch

    torch.set_num_threads(1)
