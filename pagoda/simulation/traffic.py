"""The simulated world plays against a live recall service: its users ask, and click by what they truly prefer."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from pagoda.errors import UnavailableError
from pagoda.load_test.connection import Address, Connection
from pagoda.load_test.outcomes import OK
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.sending import PREDICT
from pagoda.simulation import World

EVENTS = "/v1/events"
_TOWERS = "two_tower"


@dataclass(frozen=True)
class Script:
    """What the world does; all of it but the answers follows from the seed."""

    rate: float = 50.0
    """Requests a second, whatever becomes of those before."""
    seconds: float = 60.0
    shown: int = 5
    """Items of an answer that the user looks at, the first ones."""
    k: int = 50
    """Items asked for."""
    exclude_seen: bool = True
    impressions: bool = False
    """Whether what was shown is logged too, not only clicks."""
    connections: int = 64
    timeout_seconds: float = 5.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """One request and what the user made of its answer."""

    user: int
    time_us: int
    """The moment that the answer was asked for."""
    seconds: float
    """From when it was due until its answer."""
    status: int
    """Of HTTP; 0 without an answer."""
    arm: str = ""
    generation: str = ""
    items: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    """Cosines; NaN of what the towers did not find, where several channels answer."""
    clicks: tuple[int, ...] = ()
    degraded: tuple[str, ...] = ()
    """What stood in for a server that did not answer."""


@dataclass
class Played:
    """What happened so far, in the order of the ends."""

    answers: list[Answered] = field(default_factory=list)
    lost_events: int = 0
    """Clicks that the service did not take."""

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(one.status != OK for one in self.answers)

    def summary(self) -> dict[str, Any]:
        """Figures for scripts; click rates are of answers with a click."""
        seconds = [one.seconds for one in self.answers if one.status == OK] or [float("nan")]
        p50, p99 = np.percentile(seconds, [50, 99]).tolist()
        return {
            "requests": len(self.answers),
            "failed": self.failed,
            "failures": dict(Counter(str(one.status or "no answer") for one in self.answers if one.status != OK)),
            "degraded": sum(bool(one.degraded) for one in self.answers),
            "clicks": sum(len(one.clicks) for one in self.answers),
            "lost_events": self.lost_events,
            "latency_ms": {"p50": round(p50 * 1e3, 2), "p99": round(p99 * 1e3, 2)},
            "arms": self._by(lambda one: one.arm),
            "generations": self._by(lambda one: one.generation),
        }

    def _by(self, name: Callable[[Answered], str]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for one in self.answers:
            if one.status == OK:
                group = found.setdefault(name(one), {"answers": 0, "clicked": 0})
                group["answers"] += 1
                group["clicked"] += bool(one.clicks)
        return {key: {**group, "click_rate": group["clicked"] / group["answers"]} for key, group in found.items()}


@dataclass(frozen=True)
class Shown:
    """The tokens that the world's users show."""

    ask: str = field(default="", repr=False)
    events: str = field(default="", repr=False)


_NOTHING = Shown()


def play(
    world: World,
    url: str,
    script: Script,
    progress: Callable[[Played], None] | None = None,
    *,
    tokens: Shown = _NOTHING,
) -> Played:
    """Play `script` against the recall service at `url`, from now on.

    Raises:
        ConfigError: `url` is none.
    """
    return asyncio.run(Player(world, url, script, tokens).run(progress))


class Player:
    """One performance. `stop` ends it early; requests under way end first."""

    def __init__(self, world: World, url: str, script: Script, tokens: Shown = _NOTHING) -> None:
        self._world, self._script = world, script
        self._ask, self._tell = Address.of(url, PREDICT, tokens.ask), Address.of(url, EVENTS, tokens.events)
        self.played = Played()
        self._stopped = False

    def stop(self) -> None:
        """Ask nothing more. Safe to call from another thread."""
        self._stopped = True

    async def run(self, progress: Callable[[Played], None] | None = None) -> Played:
        """Play until the script's end; `progress` is told twice a second."""
        script = self._script
        moments = LoadPlan([0], script.rate, script.seconds, seed=script.seed).moments()
        users = self._draw(len(moments))
        waiting: asyncio.Queue[tuple[int, float] | None] = asyncio.Queue()
        workers = [asyncio.create_task(self._serve(waiting, users)) for _ in range(script.connections)]
        telling = asyncio.create_task(self._report(progress)) if progress else None
        begun = asyncio.get_running_loop().time()
        for number, moment in enumerate(moments.tolist()):
            while not self._stopped and (pause := begun + moment - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(min(pause, 0.2))
            if self._stopped:
                break
            waiting.put_nowait((number, begun + moment))
        for _ in workers:
            waiting.put_nowait(None)
        await asyncio.gather(*workers)
        if telling:
            telling.cancel()
        return self.played

    def _draw(self, count: int) -> np.ndarray:
        """Users of the requests, by how active they are, int64 [count]."""
        there = self._world.users_at(_now_us())
        weight = self._world.user_table.activity[there - 1].astype(np.float64)
        return np.random.default_rng((self._script.seed, 3)).choice(there, count, p=weight / weight.sum())

    async def _serve(self, waiting: asyncio.Queue[tuple[int, float] | None], users: np.ndarray) -> None:
        asking, telling = Connection(self._ask), Connection(self._tell)
        try:
            while (next_ := await waiting.get()) is not None:
                number, due = next_
                await self._one(asking, telling, number, int(users[number]), due)
        finally:
            asking.close()
            telling.close()

    async def _one(self, asking: Connection, telling: Connection, number: int, user: int, due: float) -> None:
        script, moment = self._script, _now_us()
        instance = {"user_id": user, "k": script.k, "timestamp": moment, "exclude_seen": script.exclude_seen}
        status, content = 0, b""
        with suppress(TimeoutError, UnavailableError):
            status, content = await asking.post(orjson.dumps({"instances": [instance]}), script.timeout_seconds)
        seconds = asyncio.get_running_loop().time() - due
        if status != OK:
            self.played.answers.append(Answered(user, moment, seconds, status))
            return
        answer = orjson.loads(content)["predictions"][0]
        items = tuple(int(item["item_id"]) for item in answer["items"])
        scores = tuple(item["score"] if _is_of_towers(item) else math.nan for item in answer["items"])
        clicks = self._clicks(number, user, items[: script.shown], moment)
        named = answer["arm"], answer["generation"], items, scores, clicks, tuple(answer.get("degraded", ()))
        self.played.answers.append(Answered(user, moment, seconds, status, *named))
        await self._log(telling, user, items[: script.shown], clicks, answer.get("receipt"))

    def _clicks(self, number: int, user: int, shown: tuple[int, ...], moment: int) -> tuple[int, ...]:
        if not shown:
            return ()
        wants = self._world.preferences(np.full(len(shown), user), np.array(shown), np.full(len(shown), moment))
        draws = np.random.default_rng((self._script.seed, 4, number)).random(len(shown))
        return tuple(item for item, clicked in zip(shown, draws < wants, strict=True) if clicked)

    async def _log(
        self,
        telling: Connection,
        user: int,
        shown: tuple[int, ...],
        clicks: tuple[int, ...],
        receipt: str | None,
    ) -> None:
        told = [("impression", item) for item in shown] if self._script.impressions else []
        told += [("click", item) for item in clicks]
        handed = {} if receipt is None else {"receipt": receipt}
        events = [{"user_id": user, "item_id": item, "event": event, **handed} for event, item in told]
        if not events:
            return
        status = 0
        with suppress(TimeoutError, UnavailableError):
            status, _ = await telling.post(orjson.dumps({"events": events}), self._script.timeout_seconds)
        self.played.lost_events += 0 if status == OK else len(events)

    async def _report(self, progress: Callable[[Played], None]) -> None:
        while True:
            await asyncio.sleep(0.5)
            progress(self.played)


def _now_us() -> int:
    return time.time_ns() // 1000


def _is_of_towers(item: dict[str, Any]) -> bool:
    return _TOWERS in item.get("channels", (_TOWERS,))
