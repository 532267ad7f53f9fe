"""The declaration that events are checked against, while the release log answers, hangs or refuses."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import cast

import pytest

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from serving.events import stable_spec
from serving.events.stable_spec import StableSpec
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
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log that is looked at whenever somebody asks."""
    monkeypatch.setattr(stable_spec, "_LOOK_SECONDS", 0.0)
    return Log()


def spec_of(log: Log) -> StableSpec:
    return StableSpec(cast(ReleaseLog, log))


async def test_a_log_that_hangs_is_looked_at_once_and_keeps_nobody_waiting(log: Log) -> None:
    stable = spec_of(log)
    known = await stable.spec()
    log.going.clear()
    begin = time.monotonic()
    try:
        assert await asyncio.gather(*(stable.spec() for _ in range(100))) == [known] * 100
        assert await stable.spec() is known
        assert time.monotonic() - begin < 1
        assert log.looks == 2
    finally:
        log.going.set()


async def test_those_who_ask_first_share_one_look(log: Log) -> None:
    stable = spec_of(log)
    assert len({id(found) for found in await asyncio.gather(*(stable.spec() for _ in range(20)))}) == 1
    assert log.looks == 1


@pytest.mark.parametrize("error", [UnavailableError("no answer"), IntegrityError("record 7 is damaged")])
async def test_a_log_that_cannot_be_read_leaves_what_was_known(log: Log, error: Exception) -> None:
    stable = spec_of(log)
    log.error = error
    with pytest.raises(UnavailableError, match=str(error)):
        await stable.spec()
    log.error = None
    known = await stable.spec()
    log.error = error
    assert await stable.spec() is known


async def test_nothing_is_taken_before_a_generation_is_released(log: Log) -> None:
    log.arms = Arms()
    with pytest.raises(UnavailableError, match="no generation"):
        await spec_of(log).spec()
