"""Puts the recall service together from what the settings name."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from pagoda.generations.manifest import require_backend
from pagoda.generations.release_log import open_log
from pagoda.index.factory import open_search
from pagoda.item_changes.log import open_item_log
from pagoda.settings import Settings, require_parts
from serving import tracing
from serving.background import Loop, background, every
from serving.recall.channels.exploration import Exploration
from serving.recall.channels.exploration_counts import ExplorationCounts
from serving.recall.channels.factory import channels_of
from serving.recall.channels.second_generation import SecondGenerationChannel
from serving.recall.channels.tables import TableChannels
from serving.recall.channels.text import TextChannel
from serving.recall.explanation.explainer import Explainer
from serving.recall.explanation.id_rows import IdRows
from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.generations.follower import Generations
from serving.recall.generations.generation import LiveGeneration
from serving.recall.items.item_log import ItemLogFollower
from serving.recall.items.item_values import ItemValues
from serving.recall.items.onboarding import Onboarding
from serving.recall.items.preranking import PreRanking
from serving.recall.request.admission import Admission
from serving.recall.request.outcomes import OutcomeWriter
from serving.recall.request.parts import Parts
from serving.recall.request.service import Recall
from serving.recall.request.warm_up import WARM_AGAIN_SECONDS, warm_again, warm_up
from serving.recall.servers.batching import JoinedIndex, JoinedStore, JoinedTower
from serving.recall.servers.breaker_guards import guarded
from serving.recall.servers.factory import open_tower
from serving.recall.servers.held_vectors import HeldVectors, open_vectors
from serving.recall.servers.ports import Servers, Words
from serving.recall.similar.service import SimilarService
from serving.receipts import NO_KEY, open_receipts
from serving.users.online_store import OnlineStore
from serving.users.tombstone_follower import Forgetting

_VECTOR_SECONDS = 600
logger = logging.getLogger(__name__)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Recall, SimilarService, Generations]]:
    """Connect to everything, and follow the release log until the block ends.

    Raises:
        ConfigError: The settings do not say where a part is.
    """
    require(settings)
    async with AsyncExitStack() as stack:
        store = OnlineStore(settings.redis.url, settings.recall.store_seconds)
        tower = await stack.enter_async_context(open_tower(settings))
        originals, second = HeldVectors(), HeldVectors()
        index = open_search(settings, tracing.trace_id, originals.of)
        outcomes = OutcomeWriter(settings.redis.url, settings.recall.outcomes_bytes)
        for part in (store, index, outcomes):
            stack.push_async_callback(part.close)
        own, items, fallback = settings.recall, ItemLogFollower(open_item_log(settings)), Fallback()
        cache = vector_cache(store, settings)
        forgetting = Forgetting(settings.redis.url, fallback.forget)
        stack.push_async_callback(forgetting.close)
        servers = guarded(
            Servers(JoinedStore(store), JoinedTower(tower), JoinedIndex(index), cast(Words | None, index.match)),
            store_seconds=own.store_seconds,
            tower_seconds=settings.tower.timeout_seconds,
            index_seconds=own.index_seconds,
        )
        if settings.tower.runtime == "in_process":
            # Nobody waits for it, so nobody is to be spared that; and it joins what is asked by itself.
            servers = replace(servers, tower=tower)
        channels = channels_of(servers.index, items.removed, second.of, own.index_seconds)
        text = TextChannel(servers.match) if servers.match else None
        preranking = PreRanking()
        stack.callback(preranking.close)
        tables, values = TableChannels(items.removed, items.changed), ItemValues(items.changed)
        first = Onboarding(items.removed)
        counts = ExplorationCounts(settings.redis.url)
        stack.push_async_callback(counts.close)
        exploration = Exploration(tables, counts)

        async def open_generation(live: LiveGeneration) -> None:
            require_backend(live.manifest, settings.index.backend, "and this process searches")
            await tower.open(live.manifest)
            await open_vectors(live.manifest, live, originals if settings.index.keeps_originals else None, second)

        async def open_second(id_: str) -> LiveGeneration:
            live = LiveGeneration((await generations.releases.seen()).generation(id_))
            await open_generation(live)
            return live

        parts = Parts(
            servers.store,
            servers.tower,
            channels,
            fallback,
            cache,
            item_values=values,
            onboarding=first,
            tables=tables,
            exploration=exploration,
            preranking=preranking,
            text=text,
            second=SecondGenerationChannel(servers.tower, channels[0], tables, open_second),
            explainer=Explainer(IdRows(settings.tables_folder), tables, items.removed, index.count),
        )
        receipts = open_receipts(settings)

        async def get_warm(live: LiveGeneration) -> None:
            if live.spec.receipts and receipts is None:
                logger.warning("%s: its dataset declares receipts, but no answer has one: %s", live.id, NO_KEY)
            await open_generation(live)
            await warm_up(live, parts)

        generations = Generations(open_log(settings), get_warm)
        admission = Admission(own.users_at_once)
        similar = SimilarService(generations, servers.index, tables, values, admission)
        recall = Recall(
            parts,
            generations,
            outcomes,
            canary_seconds=own.canary_timeout_seconds,
            receipts=receipts,
            admission=admission,
            cohorts_at_once=own.cohorts_at_once,
        )
        stack.push_async_callback(recall.close)
        again = partial(every, WARM_AGAIN_SECONDS, partial(warm_again, generations, parts))
        loops: list[Loop] = [generations.follow, again, outcomes.follow, items.follow, forgetting.follow, second.follow]
        loops += [exploration.follow, preranking.follow]
        loops += [originals.follow] if settings.index.keeps_originals else []
        await stack.enter_async_context(background(*loops, *([cache.follow] if cache else [])))
        yield recall, similar, generations


def vector_cache(store: OnlineStore, settings: Settings) -> VectorCache | None:
    """What keeps vectors as the settings say; None: nothing."""
    seconds, reuse = settings.recall.vector_seconds, settings.recall.reuse_vectors
    if seconds is None:
        # No server that could be down, and a vector is computed in less time than many a round trip takes.
        seconds = 0 if settings.tower.runtime == "in_process" and not reuse else _VECTOR_SECONDS
    return VectorCache(store, seconds=seconds, reuse=reuse) if seconds else None


def require(settings: Settings) -> None:
    """Refuse settings that leave out where a server is. A tower in this process has none.

    Raises:
        ConfigError: One is not said.
    """
    require_parts(settings, "recall", "store", "tower", "index")
