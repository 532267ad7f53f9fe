"""What answers when a server does not: marked, counted, never a mixture of generations, and back as soon as it is."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.errors import NotHeldError, RequestError
from pagoda.generations.arms import Arms
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.rollout.measures.outcomes import Flag
from pagoda.settings import Settings
from serving.http.deadlines import deadline
from serving.http.fields import PastItems
from serving.recall import factory
from serving.recall.fallback.steps import CACHED, MISSING, OOV, POPULAR, REMEMBERED
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.request.answer import answer_by
from serving.recall.request.outcomes import OutcomeWriter
from serving.recall.request.service import Recall
from serving.users.online_store import KeptVectors, OnlineStore, StoredUser
from tests.serving.recall.failing import GONE, Failing
from tests.serving.recall.setting import ask, begun


async def test_without_the_store_users_are_as_last_read_or_known_by_their_id_alone(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({"age": 30}, PastItems((1,), (5,)), (11,))
    assert (await failing.one(exclude_seen=True))["degraded"] == []
    failing.store.error = GONE
    assert (await failing.one(exclude_seen=True))["degraded"] == [REMEMBERED]
    told = failing.tower.asked[-1][2][0]
    assert (told["profile"], told["history"].ids) == ({"age": 30}, (1,))
    assert failing.index.asked[-1][2] == (11,)
    assert (await failing.one(user_id=6))["degraded"] == [MISSING]
    failing.store.error = None
    assert (await failing.one(user_id=6))["degraded"] == []


async def test_without_the_tower_kept_vectors_answer_and_then_that_of_nobody(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({}, PastItems(), (), vectors=KeptVectors(1, ([7.0, 0.0],)))
    failing.down.error = GONE
    known, unknown = await failing.recall.answer([*ask(), *ask(user_id=6)])
    assert (known["degraded"], known["items"][0]["item_id"]) == ([CACHED], "items_3/7")
    assert (unknown["degraded"], unknown["items"][0]["item_id"], unknown["known_user"]) == ([OOV], "items_3/3", False)


async def test_a_remembered_users_vector_is_no_other_generations(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({"age": 30}, PastItems(), (), basis=1, vectors=KeptVectors(1, ([3.0, 0.0],)))
    assert (await failing.one())["generation"] == "g3"
    failing.store.error = GONE
    failing.log.arms = Arms(stable="g4")
    await failing.generations.refresh()
    cache = VectorCache(cast(OnlineStore, None), seconds=600, reuse=True)
    live = failing.generations.require().stable
    (spared,) = await answer_by(live, "stable", replace(failing.parts, vector_cache=cache), begun(live))
    assert (spared["degraded"], spared["items"][0]["item_id"]) == ([REMEMBERED], "items_4/4")
    failing.down.error = GONE
    answer = await failing.one()
    assert (answer["degraded"], answer["items"][0]["item_id"]) == ([REMEMBERED, OOV], "items_4/4")


async def test_a_tower_that_lost_the_generation_is_stood_in_for_too(failing: Failing) -> None:
    failing.down.error = NotHeldError("restarted")
    assert (await failing.one())["degraded"] == [OOV]


async def test_a_lost_generation_is_stood_in_for_in_time_though_the_release_log_hangs(failing: Failing) -> None:
    hangs = threading.Event()
    failing.down.error = NotHeldError("restarted")
    failing.recall = Recall(failing.guarded(), failing.generations, failing.ledger, canary_seconds=5.0)
    failing.generations._log = cast(ReleaseLog, SimpleNamespace(state=lambda: hangs.wait(10) and failing.log.state()))
    try:
        with deadline("100"):
            async with asyncio.timeout(5):
                assert OOV in (await failing.one())["degraded"]
    finally:
        hangs.set()


async def test_without_the_index_popular_items_satisfy_filter_and_exclusion(failing: Failing) -> None:
    failing.store.users[5] = StoredUser({}, PastItems(), (7,))
    failing.index.error = GONE
    answer = await failing.one(exclude_seen=True, filter={"genres": ["Comedy", "Drama"]})
    assert (answer["degraded"], [item["item_id"] for item in answer["items"]]) == ([POPULAR], [3, 9])
    assert (await failing.one(k=1))["items"] == [{"item_id": 7, "score": 1.0}]


async def test_a_filter_is_read_once_a_request_whatever_stands_in(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, parse = [], FilterParser.parse
    monkeypatch.setattr(FilterParser, "parse", lambda self, wanted=None: read.append(wanted) or parse(self, wanted))
    failing.index.error = GONE
    assert (await failing.one(filter={"genres": "Comedy"}))["degraded"] == [POPULAR]
    assert read == [{"genres": "Comedy"}]


async def test_all_at_once_is_still_an_answer_and_a_wrong_request_still_refused(failing: Failing) -> None:
    failing.store.error = failing.down.error = failing.index.error = GONE
    answer = await failing.one(user_id=6)
    assert answer["degraded"] == [MISSING, OOV, POPULAR]
    assert len(answer["items"]) == 4
    failing.down.error = RequestError("feature 'age': got 'old'")
    with pytest.raises(RequestError):
        await failing.one(profile={"age": "old"})


async def test_the_stable_arm_stands_in_for_a_canary_before_anything_else_does(failing: Failing) -> None:
    failing.log.try_out(99)
    await failing.follow()

    async def only_stable(generation: str) -> None:
        if generation == "g4":
            raise GONE

    failing.tower.wait = only_stable
    answer = await failing.one()
    assert (answer["generation"], answer["arm"], answer["degraded"]) == ("g3", "stable", [])
    failing.down.error = GONE
    answer = await failing.one()
    assert (answer["generation"], answer["degraded"]) == ("g3", [OOV])


async def test_what_stood_in_for_every_step_is_known_only_after_a_warm_up() -> None:
    cold = Failing()
    cold.store.error = GONE
    await cold.generations.refresh()
    assert cold.generations.ready  # the store is not needed
    for part in (cold.down, cold.index):
        colder = Failing()
        part.error = GONE
        colder.tower.before, colder.index.error = cold.down.check, cold.index.error
        await colder.generations.refresh()
        assert not colder.generations.ready
        part.error = None


_NUMBERS = st.floats(-1, 1, width=32)


@given(
    basis=st.integers(0, 2**64 - 1),
    vectors=st.integers(1, 5).flatmap(
        lambda dim: st.lists(st.lists(_NUMBERS, min_size=dim, max_size=dim), min_size=1, max_size=16)
    ),
)
def test_kept_vectors_come_back_as_they_were(basis: int, vectors: list[list[float]]) -> None:
    kept = KeptVectors(basis, tuple(vectors))
    assert KeptVectors.decode(kept.encode()) == kept
    assert len(kept.encode()) == 8 + 4 * sum(map(len, vectors)) + (len(vectors) > 1)


@pytest.mark.parametrize(
    "content", [b"", b"123", bytes(8), bytes(14), bytes(13), bytes(16) + b"\x03"], ids=lambda given: str(len(given))
)
def test_what_is_no_kept_vectors_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="length"):
        KeptVectors.decode(content)


async def test_what_the_towers_did_not_make_counts_as_a_fallback_for_the_gates(failing: Failing) -> None:
    failing.log.try_out(50)
    await failing.follow()
    outcomes, flags = OutcomeWriter("redis://127.0.0.1:9", 1 << 20), []
    for broken in (None, failing.store, failing.index):
        if broken is not None:
            broken.error = GONE
        await failing.one(user_id=6)
        outcomes.take(*failing.ledger.timings[-1])
        (waiting,) = outcomes._pending.values()
        flags.append(bool(waiting.rows[-1][3] & Flag.FALLBACK))
    assert flags == [False, False, True]


@pytest.mark.parametrize(
    ("tower", "recall", "kept"),
    [
        ({}, {}, True),
        ({"runtime": "in_process"}, {}, False),
        ({"runtime": "in_process"}, {"vector_seconds": 60}, True),
        ({"runtime": "in_process"}, {"reuse_vectors": True}, True),
        ({}, {"vector_seconds": 0}, False),
    ],
)
def test_vectors_are_kept_for_towers_that_can_be_down(
    tmp_path: Path, tower: dict[str, str], recall: dict[str, int], kept: bool
) -> None:
    settings = Settings.model_validate({"home": tmp_path, "tower": tower, "recall": recall})
    assert (factory.vector_cache(cast(OnlineStore, None), settings) is not None) is kept
