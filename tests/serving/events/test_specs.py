"""The declaration that events are checked against, while the release log answers, hangs or refuses."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from serving.events.stable_spec import StableSpec
from serving.release_follower import ReleaseFollower
from tests.serving.fakes import FakeLog, manifest


class Log(FakeLog):
    """A release log that hangs or refuses when told to."""

    def __init__(self) -> None:
        super().__init__([manifest(3)], Arms(stable="g3"))
        self.error: Exception | None = None
        self.going = threading.Event()
        self.going.set()
        self.looks = 0

    def state(self) -> ReleaseState:
        self.looks += 1
        self.going.wait(10)
        if self.error:
            raise self.error
        return super().state()


@pytest.fixture
def log() -> Log:
    return Log()


def following(log: Log) -> tuple[ReleaseFollower, StableSpec]:
    releases = ReleaseFollower(cast(ReleaseLog, log))
    return releases, StableSpec(releases)


async def test_a_log_that_hangs_keeps_nobody_waiting(log: Log) -> None:
    releases, stable = following(log)
    await releases.look()
    known = await stable.spec()
    log.going.clear()
    hanging = asyncio.create_task(releases.look())
    try:
        async with asyncio.timeout(10):
            while log.looks < 2:
                await asyncio.sleep(0.001)
            assert await asyncio.gather(*(stable.spec() for _ in range(100))) == [known] * 100
        assert not hanging.done()
    finally:
        log.going.set()
    await hanging


async def test_those_who_ask_first_wait_for_the_first_look(log: Log) -> None:
    releases, stable = following(log)
    asking = [asyncio.create_task(stable.spec()) for _ in range(20)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in asking)
    await releases.look()
    assert len({id(found) for found in await asyncio.gather(*asking)}) == 1
    assert log.looks == 1


@pytest.mark.parametrize("error", [UnavailableError("no answer"), IntegrityError("record 7 is damaged")])
async def test_a_log_that_cannot_be_read_leaves_what_was_known(log: Log, error: Exception) -> None:
    releases, stable = following(log)
    log.error = error
    with pytest.raises(type(error)):
        await releases.look()
    with pytest.raises(UnavailableError, match=str(error)):
        await stable.spec()
    log.error = None
    await releases.look()
    known = await stable.spec()
    log.error = error
    with pytest.raises(type(error)):
        await releases.look()
    assert await stable.spec() is known


async def test_nothing_is_taken_before_a_generation_is_released(log: Log) -> None:
    log.arms = Arms()
    releases, stable = following(log)
    await releases.look()
    with pytest.raises(UnavailableError, match="no generation"):
        await stable.spec()
