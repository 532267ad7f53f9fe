"""Who asks, and whether they still wait: what fairness and the gates of a rollout go by."""

from __future__ import annotations

import ipaddress
import math
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import Scope

HANGUP = "pagoda.hangup"
"""In a request's scope: its connection's `Hangup`."""
HOLDER = "pagoda.holder"
"""In a request's scope, where the door let in a token of the caller's own: its name."""
ROLES = "pagoda.roles"
"""In a request's scope, where the door asked for any: the caller's roles."""
_NOBODY = "nobody"
"""Requests without an address: of tests, and of sockets that have none."""
_SUBSCRIBER_BITS = 64
"""Whoever has one IPv6 address has all of its network's."""


@dataclass(slots=True)
class Hangup:
    """When the caller of a connection hung up."""

    at: float = math.inf
    """By `time.monotonic`."""

    def note(self) -> None:
        """The connection is lost."""
        self.at = min(self.at, time.monotonic())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    client: str = _NOBODY
    hangup: Hangup = field(default_factory=Hangup)

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return not math.isinf(self.hangup.at)


_ANYBODY = Caller()
_current: ContextVar[Caller] = ContextVar("_current", default=_ANYBODY)


def current() -> Caller:
    """Whose request is being answered."""
    return _current.get()


def enter(scope: Scope) -> None:
    """From now on, in this context, the caller is that of a request."""
    _current.set(Caller(client_of(scope), scope.get(HANGUP) or Hangup()))


def client_of(scope: Scope) -> str:
    """What a caller's share is counted by: the address they come from and, if they show one, a token of their own.

    Each alone says too little: behind a gateway all come from its address, and a token is shown by all of an
    installation, or by all pods of an application.
    """
    address, holder = scope.get("client"), scope.get(HOLDER)
    network = network_of(address[0]) if address else _NOBODY
    return f"{network} with token {holder}" if holder else network


def network_of(host: str) -> str:
    """The address, or of IPv6 the network, that one client has to itself."""
    if ":" not in host:
        return host
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network(f"{address}/{_SUBSCRIBER_BITS}", strict=False))
