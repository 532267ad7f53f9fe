"""HTTP to a server of this machine or another: by a Unix socket, which file permissions guard, or by a port."""

from __future__ import annotations

import httpx

from pagoda.settings import LOCAL_URL, socket_path


def client_of(url: str, timeout_seconds: float) -> httpx.Client:
    """A client of the server at `url`: `unix:/path`, `http://…` or `https://…`.

    Addresses on this machine are asked directly, whatever proxy the environment names.
    """
    if path := socket_path(url):
        return httpx.Client(base_url=LOCAL_URL, transport=httpx.HTTPTransport(uds=path), timeout=timeout_seconds)
    return httpx.Client(base_url=url, timeout=timeout_seconds)
