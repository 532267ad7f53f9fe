"""What goes on in the background of a process."""

from __future__ import annotations

import asyncio
import socket

import pytest

from serving import process
from serving.process import cancel, go_on, listen


@pytest.mark.parametrize(
    ("host", "reached"),
    [("127.0.0.1", {"127.0.0.1"}), ("0.0.0.0", {"127.0.0.1"}), ("::1", {"::1"}), ("::", {"127.0.0.1", "::1"})],  # noqa: S104
)
def test_every_address_of_both_families_is_listened_on_where_that_is_asked_for(host: str, reached: set[str]) -> None:
    def answers(address: str, port: int) -> bool:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
        return True

    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert {address for address in ("127.0.0.1", "::1") if answers(address, port)} == reached


async def test_what_failed_starts_again_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_PAUSE_SECONDS", 0.0)
    tries, enough = 0, asyncio.Event()

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise KeyError("what nobody thought of")
        enough.set()
        await asyncio.Event().wait()

    going = asyncio.create_task(go_on(work))
    await asyncio.wait_for(enough.wait(), 10)
    await cancel(going)
    assert going.cancelled()
    assert caplog.text.count("KeyError: ") == 2 == caplog.text.count("starts again")
