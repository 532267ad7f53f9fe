"""Addresses of the user tower, for its URL as the settings have it."""

from __future__ import annotations

from urllib.parse import urlsplit

LOCAL_URL = "http://localhost"
"""What stands in requests for the host of a Unix socket."""
_REVISION, _TAGS = "{revision}", ("latest", "prev")


def tower_address(url: str, full_version: int) -> str:
    """Address of the tower's model for a full version, for `url` as in `TowerSettings`; the first of several."""
    return tower_addresses(url, full_version)[0]


def tower_addresses(url: str, full_version: int) -> tuple[str, ...]:
    """All addresses where a full version may answer, for `url` as in `TowerSettings`; at most one of them has it."""
    base = (LOCAL_URL if socket_path(url) else url.rstrip("/")).replace("{full_version}", str(full_version))
    bases = [base.replace(_REVISION, tag) for tag in _TAGS] if _REVISION in base else [base]
    return tuple(f"{one}/predictions/pagoda/{full_version}.0" for one in bases)


def socket_path(url: str) -> str | None:
    """The path of the Unix socket that `unix:/path` names; None for another URL."""
    return urlsplit(url).path if url.startswith("unix:") else None
