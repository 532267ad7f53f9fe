"""Requests that a browser sends on behalf of another site. They carry what the browser knows, so nobody heeds them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_READ = frozenset(
    (b"host", b"origin", b"sec-fetch-site", b"authorization", b"content-type", b"content-encoding", b"cookie")
)
_PORTS = {b"http": b":80", b"https": b":443"}
_OWN = (b"same-origin", b"none")
"""`none`: somebody typed the address."""


def headers_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers of an ASGI scope that doors read. One that comes twice is joined, and so is none that is expected."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def why_foreign(headers: dict[bytes, bytes], hosts: Collection[bytes]) -> str:
    """What shows that another site sent this; empty when nothing does.

    Args:
        headers: As `headers_of` gives them.
        hosts: Names that this server is called by; empty: any. A page whose own name was pointed at this machine
            (DNS rebinding) is of the same origin in all but this.
    """
    host = headers.get(b"host", b"")
    if hosts and _name(host) not in hosts:
        return "Host"
    if b"origin" in headers and not _same(headers[b"origin"], host):
        return "Origin"
    if headers.get(b"sec-fetch-site", b"none") not in _OWN:
        return "Sec-Fetch-Site"
    return ""


def _name(host: bytes) -> bytes:
    name = host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    return name.lower()


def _same(origin: bytes, host: bytes) -> bool:
    scheme, _, place = origin.lower().partition(b"://")
    port = _PORTS.get(scheme)
    return port is not None and place.removesuffix(port) == host.lower().removesuffix(port)
