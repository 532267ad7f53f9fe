"""Items like an item or several, by one generation: by the vectors of its collection, or by what the same users chose.

The arm is that of the user who is shown them, so that a page of theirs is of one generation. Such answers count in no
gate: nobody's tower made them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import numpy as np

from pagoda.errors import PagodaError, RequestError
from pagoda.generations.arms import Arm
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.scoring import query
from serving.error_reasons import reason
from serving.http import callers
from serving.http.features import read_ids
from serving.recall.api import RecalledItem, check_values
from serving.recall.channels.tables import TableChannels
from serving.recall.fallback.steps import FIELDS
from serving.recall.generations.follower import Generations, Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.items.item_values import ItemValues
from serving.recall.request.admission import UNBOUNDED, Admission
from serving.recall.request.arm_group import cost_of_fields, cost_of_search
from serving.recall.servers.ports import Index
from serving.recall.similar.bodies import SimilarInstance, SimilarPrediction
from serving.users.keys import Key

logger = logging.getLogger(__name__)


class SimilarService:
    """Answers by what serves now."""

    def __init__(
        self,
        generations: Generations,
        index: Index,
        tables: TableChannels,
        values: ItemValues,
        admission: Admission = UNBOUNDED,
    ) -> None:
        """Nothing is asked yet.

        Args:
            generations: What serves.
            index: Has the items' vectors, and finds others by them.
            tables: The channels of generations that declare some.
            values: Says more of items than their IDs.
            admission: Says who has to come back later.
        """
        self._generations, self._index, self._tables, self._values = generations, index, tables, values
        self._admission = admission

    async def answer(self, asked: Sequence[SimilarInstance], header: str | None = None) -> list[SimilarPrediction]:
        """Answer one request by what serves at its start, one instance after the other.

        Args:
            asked: The instances.
            header: Value of `ARM_HEADER`, by which a tester chooses the arm.

        Raises:
            RequestError: A field or the header is wrong; the message names it.
            ShedError: There is too much to do just now.
            UnavailableError: Nothing serves yet, or what is asked does not answer.
        """
        check_values(asked)
        serving = self._generations.require()
        cost = sum(cost_of_search(one.k, filtered=bool(one.filter)) + cost_of_fields(one) for one in asked)
        with self._admission.admitted(callers.current().client, cost):
            found = []
            for place, one in enumerate(asked):
                await asyncio.sleep(0)  # What asks no server would hold all others until the last instance.
                found.append(await self._by_arm(serving, _arm(serving, one, header), one, f"instances.{place}"))
            return found

    async def _by_arm(self, serving: Serving, arm: Arm, one: SimilarInstance, place: str) -> SimilarPrediction:
        if arm == "canary":
            try:
                return await self._by(serving.of("canary"), arm, one, place)
            except RequestError:
                pass  # The caller's fault, as the stable arm will say, or what the canary alone lacks.
            except PagodaError as error:  # Nobody but the canary may suffer from it.
                logger.warning("canary %s: %s; the stable arm stands in", serving.split.canary, reason(error))
        return await self._by(serving.stable, "stable", one, place)

    async def _by(self, live: LiveGeneration, arm: Arm, one: SimilarInstance, place: str) -> SimilarPrediction:
        try:
            ids = read_ids(live.spec, one.item_ids, "item_ids").tolist()
            wanted = live.wanted(one.filter, one.fields)
            if one.by == "behaviour":
                items, known = self._tables.similar(live, ids, wanted, one.k)
            else:
                items, known = await self._by_vector(live, ids, wanted, one.k)
        except RequestError as error:
            raise RequestError(f"{place}.{error}") from None
        told = not one.fields or await self._values.tell(live, items, one.fields)
        return {
            "items": items,
            "unknown": [name for name, id_ in zip(one.item_ids, ids, strict=True) if id_ not in known],
            "generation": live.id,
            "arm": arm,
            "degraded": [] if told else [FIELDS],
        }

    async def _by_vector(
        self, live: LiveGeneration, ids: list[int], wanted: Filter, k: int
    ) -> tuple[list[RecalledItem], set[int]]:
        """The nearest to the mean of the items' directions, and which of the items there are."""
        collection = live.manifest.collection
        if not (vectors := await self._index.vectors(collection, ids)):
            return [], set()
        (found,) = await self._index.search(
            collection,
            [_mean(list(vectors.values()), rules=live.spec.rules is not None)],
            k,
            wanted=wanted,
            excluded=tuple(ids),
            keys=live.spec.id_type == "string",
        )
        return found, set(vectors)


def _mean(vectors: Sequence[Sequence[float]], *, rules: bool) -> list[float]:
    """The direction between some stored vectors, as a collection is asked: of unit length, without a penalty."""
    stored = np.asarray(vectors, np.float32)
    directions = stored[:, :-1] if rules else stored
    # An item's weight is in the length of what is stored; it says how often it is shown, not what it is like.
    directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), np.float32(1e-12))
    mean = directions.sum(axis=0)
    unit: list[float] = (mean / max(float(np.linalg.norm(mean)), 1e-12)).tolist()
    return query(unit, 0.0) if rules else unit


def _arm(serving: Serving, one: SimilarInstance, header: str | None) -> Arm:
    """The arm of an instance's user; of nobody, the stable one, unless a tester chose."""
    user: Key | None = one.user_id
    if user is None and header is None:
        return "stable"
    return serving.choose("" if user is None else user, header)[0]
