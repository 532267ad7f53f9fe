"""Whatever a caller sends, they spoil nothing but their own answers: no gate, no breaker, no copy for a shadow."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from serving.http.callers import HANGUP, Hangup
from serving.http.deadlines import DEADLINE_HEADER
from serving.http.fields import PastItems
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.request.parts import Parts
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.recall.servers.breaker import CLOSED, Breakers
from serving.recall.servers.breaker_guards import GuardedIndex, GuardedStore, GuardedTower
from serving.recall.servers.tower import UserVectors
from serving.tower.bodies import parse
from serving.tower.runtime import TowerRuntime
from tests.serving.callers import HEADERS as SHOWN
from tests.serving.callers import tokens
from tests.serving.fakes import FakeTower
from tests.serving.recall.setting import Setting

PREDICT = "/v1/models/recall:predict"
CANARY_SECONDS = 20.0
"""As no stop of a busy machine is long."""
KEPT = {"g3": "g3", "g4": "g3.5"}
"""Which generation of the tests' tower stands for one of the tests' log."""


class RealTower(FakeTower):
    """The tower itself: it refuses what it would."""

    def __init__(self, runtime: TowerRuntime) -> None:
        super().__init__({"g3", "g4"})
        self._runtime = runtime

    async def vectors(self, full_version: int, generation: str, instances: Any) -> list[UserVectors]:
        await self.wait(generation)
        asked = parse(
            orjson.dumps({"generation": KEPT[generation], "instances": instances}, default=PastItems.rows)
        ).request
        found = self._runtime.predict(asked.instances, KEPT[generation])
        return [UserVectors(([float(full_version), 0.0],), bool(known)) for known in found.known]


class Trial:
    """A healthy candidate, whose tower takes some milliseconds, in its rollout."""

    def __init__(self, runtime: TowerRuntime, *, shadow: bool = False) -> None:
        self.setting, self.breakers = Setting(), Breakers()
        self.setting.log.try_out(60, shadow=shadow)
        tower = self.setting.tower = RealTower(runtime)
        parts = Parts(
            GuardedStore(self.setting.store, self.breakers, 20),
            GuardedTower(tower, self.breakers, 20),
            (TwoTowerChannel(GuardedIndex(self.setting.index, self.breakers, 20)),),
        )
        self.recall = Recall(parts, self.setting.generations, self.setting.ledger, canary_seconds=CANARY_SECONDS)
        self._server = RecallServer(self.recall, self.setting.generations, tokens())
        self.hangup_after: float | None = None

    async def ready(self) -> httpx.AsyncClient:
        """A client."""
        await self.setting.follow()
        self.setting.tower.wait = lambda _: asyncio.sleep(0.002)
        return httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://recall", headers=SHOWN)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        hangup = scope[HANGUP] = Hangup()
        if self.hangup_after is not None:
            asyncio.get_running_loop().call_later(self.hangup_after, hangup.note)
        await self._server.app(scope, receive, send)

    def failures(self) -> list[Any]:
        """What gates would hold against an arm."""
        taken = self.setting.ledger.timings
        return [timing for timing, _ in taken if timing.told and timing.group.counted and timing.failed]

    async def end(self) -> None:
        await asyncio.gather(*self.recall._arms._shadow._under_way)
        await self.recall.close()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
IDS = st.integers(-(2**63), 2**63 - 1) | VALUES
FEATURES = st.dictionaries(st.sampled_from(["age", "gender", "device", "genres", "x"]), VALUES, max_size=3)
PAST = st.fixed_dictionaries({"item_id": IDS, "timestamp": st.integers(0, 2**60) | VALUES})
INSTANCE = st.fixed_dictionaries(
    {"user_id": IDS},
    optional={
        "k": st.integers(1, 1000) | VALUES,
        "profile": FEATURES,
        "context": FEATURES,
        "history": st.lists(PAST, max_size=5),
        "filter": st.dictionaries(st.sampled_from(["year", "genres", "x"]), VALUES, max_size=2),
        "exclude_seen": st.booleans(),
        "timestamp": st.integers(0, 2**60) | VALUES,
        "popularity_penalty": st.floats(0, 10),
    },
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        DEADLINE_HEADER: st.floats(1e-9, 30_000).map(str) | st.text("0123456789.e-", max_size=5),
        "x-pagoda-arm": st.sampled_from(["canary", "stable", "blue"]),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    instances=st.lists(INSTANCE, max_size=30),
    headers=HEADERS,
    hangup_after=st.none() | st.floats(0, 0.004),
    shadow=st.booleans(),
)
async def test_nothing_that_a_caller_sends_speaks_against_a_healthy_candidate(
    runtime: TowerRuntime, instances: list[Any], headers: dict[str, str], hangup_after: float | None, shadow: bool
) -> None:
    trial = Trial(runtime, shadow=shadow)
    trial.hangup_after = hangup_after
    async with await trial.ready() as client:
        content = orjson.dumps({"instances": instances}) if _writable(instances) else b"{"
        answer = await client.post(PREDICT, content=content, headers=headers)
    await trial.end()
    assert answer.status_code in (200, 400, 503)
    assert trial.failures() == []
    assert all(trial.breakers.of(name).state == CLOSED for name in ("store", "tower 3", "tower 4"))


def _writable(instances: list[Any]) -> bool:
    try:
        orjson.dumps(instances)
    except orjson.JSONEncodeError:
        return False
    return True


@pytest.mark.parametrize("shadow", [False, True])
async def test_a_deadline_of_no_time_rolls_nothing_back(runtime: TowerRuntime, shadow: bool) -> None:
    trial = Trial(runtime, shadow=shadow)
    async with await trial.ready() as client:
        for user in range(30):
            body = {"instances": [{"user_id": user}]}
            await client.post(PREDICT, json=body, headers={DEADLINE_HEADER: "0.001"})
            await client.post(PREDICT, json=body)
    await trial.end()
    assert trial.failures() == []
    told = [timing for timing, _ in trial.setting.ledger.timings if timing.told]
    assert len(told) >= 30  # what patient callers get is still seen


async def test_a_slow_candidate_is_told_of_though_callers_hang_up_on_it(runtime: TowerRuntime) -> None:
    trial = Trial(runtime)
    trial.recall._arms._canary_seconds = 0.1
    trial.hangup_after = 0.2
    async with await trial.ready() as client:
        trial.setting.tower.wait = lambda generation: asyncio.sleep(0.4 if generation == "g4" else 0.001)
        for user in range(20):
            await client.post(PREDICT, json={"instances": [{"user_id": user}]})
    await trial.end()
    assert "canary" in {timing.group.arm for timing in trial.failures()}


async def test_who_asks_for_much_and_hangs_up_at_once_costs_no_server_anything(runtime: TowerRuntime) -> None:
    trial = Trial(runtime)
    trial.hangup_after = 0
    body = {"instances": [{"user_id": user, "k": 1000} for user in range(50)]}
    async with await trial.ready() as client:
        trial.setting.index.asked.clear()  # the warm-up's
        answer = await client.post(PREDICT, json=body)
    assert (answer.status_code, trial.setting.index.asked) == (400, [])
    await trial.end()
