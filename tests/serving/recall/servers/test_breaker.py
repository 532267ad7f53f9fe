"""A server that fails is not asked for a while, and then by one request: breakers, and deadlines."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from pagoda.errors import RequestError, UnavailableError
from pagoda.item_vectors.filter import EVERYTHING
from serving.http.deadlines import deadline, left
from serving.recall.api import RecalledItem
from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.steps import MISSING, OOV, POPULAR
from serving.recall.generations.generation import LiveGeneration
from serving.recall.request.answer import answer_by
from serving.recall.servers.breaker import FAILURES, FORGOTTEN_SECONDS, OPEN, PAUSE_SECONDS, Breaker, Breakers
from serving.recall.servers.breaker_guards import guarded
from serving.recall.servers.ports import Servers
from tests.serving.fakes import manifest
from tests.serving.recall.failing import GONE, Failing
from tests.serving.recall.setting import Setting, begun


async def test_a_breaker_opens_probes_once_and_closes() -> None:
    now, calls, gate = 0.0, 0, asyncio.Event()
    error: Exception | None = UnavailableError("down")
    breaker = Breaker("a server", clock=lambda: now)

    async def ask_server() -> str:
        nonlocal calls
        calls += 1
        await gate.wait()
        if error:
            raise error
        return "answer"

    async def tried() -> object:
        return (await asyncio.gather(breaker.call(ask_server, 5), return_exceptions=True))[0]

    gate.set()
    for _ in range(FAILURES + 3):
        assert isinstance(await tried(), UnavailableError)
    assert calls == FAILURES
    now, calls = PAUSE_SECONDS + 0.1, 0
    gate.clear()
    probes = [asyncio.create_task(tried()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert [type(one) for one in await asyncio.gather(*probes)] == [UnavailableError] * 5
    assert calls == 1
    now, error = now + PAUSE_SECONDS + 0.1, None
    assert await tried() == "answer"
    assert await asyncio.gather(*(tried() for _ in range(5))) == ["answer"] * 5


async def test_slow_is_down_but_a_refusal_or_a_caller_in_a_hurry_is_not() -> None:
    breaker = Breaker("slow")

    async def slow() -> None:
        await asyncio.sleep(5)

    async def refuse() -> None:
        raise RequestError("wrong")

    for _ in range(2 * FAILURES):
        with deadline("5"), pytest.raises(UnavailableError):
            await breaker.call(slow, 5)
        with pytest.raises(RequestError):
            await breaker.call(refuse, 5)
    assert breaker.state == 0
    for _ in range(FAILURES):
        with pytest.raises(UnavailableError, match=r"0\.001"):
            await breaker.call(slow, 0.001)
    assert breaker.state == 2


async def test_words_that_take_too_long_are_their_callers_and_damage_is_everybodys() -> None:
    setting, damaged, asked = Setting(), False, 0

    async def match(*_: object, **__: object) -> list[RecalledItem]:
        nonlocal asked
        asked += 1
        if damaged:
            raise GONE
        await asyncio.sleep(5)
        return []

    servers = Servers(setting.store, setting.tower, setting.index, match)
    guard = guarded(servers, store_seconds=5, tower_seconds=5, index_seconds=0.001).match
    assert guard is not None

    async def ask_often() -> None:
        for _ in range(2 * FAILURES):
            with pytest.raises(UnavailableError):
                await guard("words", "a word", 1, wanted=EVERYTHING, excluded=(), keys=False)

    await ask_often()
    assert asked == 2 * FAILURES
    damaged, asked = True, 0
    await ask_often()
    assert asked == FAILURES


async def test_a_probe_that_decides_nothing_leaves_the_breaker_open() -> None:
    now = 0.0
    breaker = Breaker("undecided", clock=lambda: now)

    async def slow() -> None:
        await asyncio.sleep(5)

    async def gone() -> None:
        raise GONE

    for _ in range(FAILURES):
        with pytest.raises(UnavailableError):
            await breaker.call(gone, 5)
    now = PAUSE_SECONDS + 0.1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(breaker.call(slow, 5), 0.01)
    assert REGISTRY.get_sample_value("pagoda_recall_breaker_state", {"server": "undecided"}) == OPEN == breaker.state


def test_a_breaker_of_a_version_that_serves_no_more_is_forgotten() -> None:
    now = 0.0
    breakers = Breakers(clock=lambda: now)
    old, kept = breakers.of("tower 7000"), breakers.of("tower 7001")
    now = FORGOTTEN_SECONDS
    assert breakers.of("tower 7001") is kept
    now += 1
    breakers.of("tower 7002")
    told = [REGISTRY.get_sample_value("pagoda_recall_breaker_state", {"server": f"tower 700{one}"}) for one in range(3)]
    assert told == [None, 0, 0]
    assert breakers.of("tower 7001") is kept and breakers.of("tower 7000") is not old


async def test_one_versions_trouble_is_not_anothers() -> None:
    setting = Setting()

    async def only_three(generation: str) -> None:
        if generation == "g4":
            raise GONE

    fallback, live = Fallback(), {full: LiveGeneration(manifest(full)) for full in (3, 4)}
    for one in live.values():
        await fallback.warm(one, setting.tower)
    setting.tower.wait = only_three
    parts = replace(setting.guarded(), fallback=fallback)
    for _ in range(2 * FAILURES):
        assert (await answer_by(live[4], "stable", parts, begun(live[4])))[0]["degraded"] == [OOV]
        assert (await answer_by(live[3], "stable", parts, begun(live[3])))[0]["degraded"] == []


async def test_a_deadline_that_has_passed_is_answered_without_asking(failing: Failing) -> None:
    parts, live = failing.guarded(), failing.generations.require().stable
    asked = len(failing.tower.asked)
    with deadline("0.001"):
        await asyncio.sleep(0.002)
        assert left(1) < 0
        (answer,) = await answer_by(live, "stable", parts, begun(live, user_id=77))
    assert answer["degraded"] == [MISSING, OOV, POPULAR]
    assert len(failing.tower.asked) == asked
    for wrong in ("soon", "-1", "nan", "1e9"):
        with pytest.raises(RequestError, match="x-pagoda-deadline-ms"), deadline(wrong):
            pass
