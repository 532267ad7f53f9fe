"""Where a process listens."""

from __future__ import annotations

import socket

import pytest

from serving.process import listen


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
