"""Who asks for much waits for it; the others do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from pagoda.access.tokens import Tokens, bearer
from pagoda.errors import RequestError
from serving.http import callers, client_shares
from serving.http.callers import Caller
from serving.http.client_shares import Allowance
from serving.http.overload import ShedError
from serving.recall.api import RecallInstance
from serving.recall.request.admission import Admission
from serving.recall.request.cohorts import SLICE
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer

from .setting import Setting

HEAVY = [RecallInstance(user_id=user, k=1000) for user in range(100)]


class Machine:
    """Recall over an index that has one processor: a search takes as long as it is large."""

    def __init__(self, cohorts_at_once: int = 1) -> None:
        self.setting = Setting()
        self.processor = asyncio.Lock()
        self.setting.index.search = self._search  # type: ignore[method-assign]
        self.recall = Recall(
            self.setting.parts,
            self.setting.generations,
            self.setting.ledger,
            canary_seconds=0.25,
            admission=Admission(256),
            cohorts_at_once=cohorts_at_once,
        )

    async def _search(self, *_: Any, **__: Any) -> list[Any]:
        async with self.processor:
            await asyncio.sleep(0.002)
        return [[{"item_id": 1, "score": 0.5}]]

    async def ask(self, client: str, asked: list[RecallInstance]) -> float:
        """Ask as a client; how many seconds it took."""
        callers._current.set(Caller(client))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.recall.answer(asked)
        return loop.time() - began


async def test_three_clients_of_heavy_requests_do_not_keep_others_waiting() -> None:
    machine = Machine()
    await machine.setting.generations.refresh()
    ask = lambda client, asked: asyncio.create_task(machine.ask(client, asked))  # noqa: E731
    heavy = [ask(f"heavy{number % 3}", HEAVY) for number in range(3)]
    await asyncio.sleep(0.02)
    took = []
    for user in range(10):
        took.append(await ask("normal", [RecallInstance(user_id=user)]))
    assert sorted(took)[5] < 0.1  # 0.6 s and more where all that was asked goes first
    assert not all(task.done() for task in heavy)
    await asyncio.gather(*heavy)


async def test_a_heavy_request_speaks_against_no_arm() -> None:
    machine = Machine(cohorts_at_once=8)
    machine.setting.log.try_out(50)
    await machine.setting.follow()
    await machine.ask("heavy", HEAVY)
    timings = [timing for timing, _ in machine.setting.ledger.timings]
    assert {timing.group.arm for timing in timings} == {"stable", "canary"}
    assert all(timing.group.cost <= SLICE for timing in timings)
    assert sorted(user.user_id for timing in timings for user in timing.group.asked) == list(range(100))


class Gateway:
    """What callers go through: recall sees its address alone. A search waits for `open`."""

    def __init__(self, folder: Path) -> None:
        self.tokens = {name: name * 43 for name in "abc"}
        (folder / "ask").write_text("\n".join(self.tokens.values()))
        machine, self.open = Machine(), asyncio.Event()
        machine.setting.index.search = self._search  # type: ignore[method-assign]
        self.generations = machine.setting.generations
        app = RecallServer(machine.recall, self.generations, Tokens(folder)).app
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")

    async def _search(self, *_: Any, **__: Any) -> list[Any]:
        await self.open.wait()
        return [[{"item_id": 1, "score": 0.5}]]

    def ask(self, name: str, k: int = 100) -> asyncio.Task[httpx.Response]:
        body = {"instances": [{"user_id": user, "k": k} for user in range(100)]}
        asked = self._client.post("/v1/models/recall:predict", json=body, headers=bearer(self.tokens[name]))
        return asyncio.create_task(asked)


async def test_behind_a_gateway_who_has_a_token_line_of_their_own_has_their_own_share(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.open.set()
    await gateway.generations.refresh()
    gateway.open.clear()
    greedy = gateway.ask("b", 1000)
    await asyncio.sleep(0.1)
    others = [gateway.ask(name) for name in "ac"]
    refused = await gateway.ask("b")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    gateway.open.set()
    assert [(await answer).status_code for answer in (greedy, *others)] == [200, 200, 200]


def test_who_has_their_share_is_told_to_come_back_and_who_has_not_is_answered() -> None:
    admission = Admission(10)
    with admission.admitted("greedy", 50):
        with pytest.raises(ShedError, match="you have your share"), admission.admitted("greedy", 1):
            pass
        for number in range(3):
            with admission.admitted("modest", 1), admission.admitted(f"other{number}", 2):
                pass
    with admission.admitted("greedy", 9), admission.admitted("greedy", 1):
        pass


async def test_who_has_left_is_not_answered_any_more() -> None:
    machine = Machine()
    await machine.setting.generations.refresh()
    busy = asyncio.create_task(machine.ask("a", [RecallInstance(user_id=1)]))
    await asyncio.sleep(0)
    caller = Caller("b")
    callers._current.set(caller)
    waiting = asyncio.create_task(machine.recall.answer([RecallInstance(user_id=2)]))
    await asyncio.sleep(0)
    caller.hangup.note()
    with pytest.raises(RequestError, match="left"):
        await waiting
    await busy
    assert machine.recall._cohorts._load == {}


def test_a_client_may_send_what_it_likes_alone_and_its_share_beside_others() -> None:
    now = 0.0
    allowance = Allowance(float(1 << 20), lambda: now)
    mebibyte = 1 << 20
    assert all(allowance.take("greedy", mebibyte) for _ in range(50))
    assert allowance.take("modest", 100)
    assert not allowance.take("greedy", mebibyte)
    assert all(allowance.take("modest", 100) for _ in range(500))
    now = 4.0 * client_shares.ACTIVE_SECONDS
    assert allowance.take("modest", 100)
    assert allowance.take("greedy", mebibyte)
