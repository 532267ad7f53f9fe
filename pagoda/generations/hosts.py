"""What the followers of several hosts say: of recall pods, which have the tower and the search in them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
from pydantic import ValidationError

from pagoda.generations.holding import HOLDING_PATH, Holding

_SECONDS = 2.0
_AT_ONCE = 32


def holdings(url: str) -> list[Holding]:
    """What each host says that answers.

    A pod that does not is starting, stopping or in trouble: it says so elsewhere, and what it holds is not known.

    Args:
        url: Address of the followers; its name stands for each of their hosts, as a headless Service's does.
    """
    place = httpx.URL(url)
    try:
        found = socket.getaddrinfo(place.host, place.port or 80, type=socket.SOCK_STREAM)
    except socket.gaierror:  # So it is while there is no pod.
        return []
    addresses = sorted({str(entry[4][0]) for entry in found})
    with httpx.Client(timeout=_SECONDS, trust_env=False) as client, ThreadPoolExecutor(_AT_ONCE) as threads:
        said = threads.map(partial(_ask, client, place), addresses)
        return [holding for holding in said if holding]


def _ask(client: httpx.Client, place: httpx.URL, address: str) -> Holding | None:
    try:
        answer = client.get(place.copy_with(host=address, path=HOLDING_PATH))
        return Holding.model_validate_json(answer.raise_for_status().content)
    except (httpx.HTTPError, ValidationError):
        return None


def holders(said: Sequence[Holding], generation: str) -> list[Holding]:
    """Those that hold a generation."""
    return [holding for holding in said if generation in holding.held]
