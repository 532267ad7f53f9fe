from __future__ import annotations

import os
import socket

import pytest

from pagoda.errors import UnavailableError
from pagoda.standalone.ports import choose_ports, is_free, ports_chosen, require_free


def test_chosen_ports_are_free_distinct_and_not_those_of_outgoing_connections() -> None:
    chosen = choose_ports(["a", "b", "c"], taken=[])
    assert list(chosen) == ["a", "b", "c"]
    assert len(set(chosen.values())) == 3
    assert all(is_free(port) and 15_000 <= port < 32_768 for port in chosen.values())


@pytest.mark.parametrize("address", ["127.0.0.1", "", "::"])
def test_a_taken_port_is_refused_with_its_name_and_holder(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(
            UnavailableError, match=rf"port {port} of redis is taken by .*pid {os.getpid()}.*pagoda\.yaml"
        ):
            require_free({"redis": port})
        assert port not in choose_ports(["x"], taken=[port]).values()
    require_free({"redis": port})


def test_two_who_choose_in_the_same_moment_never_choose_the_same_port() -> None:
    (wanted,) = choose_ports(["any"], []).values()
    with ports_chosen(["a"], [], {"a": wanted}) as first, ports_chosen(["a"], [], {"a": wanted}) as second:
        assert first == {"a": wanted} and second != first
    with ports_chosen(["a"], [], {"a": wanted}) as later:
        assert later == {"a": wanted}, "nobody listens there, and nobody is about to"
