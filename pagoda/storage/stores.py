"""Telling an object store's errors from others."""

from __future__ import annotations

_CLIENTS = ("botocore", "aiobotocore", "aiohttp")
"""Packages below s3fs, which lets their own errors through where a store cannot be reached at all."""


def is_of_a_store(error: Exception) -> bool:
    """Whether an error is of the client of an object store, and not of what is read there."""
    return type(error).__module__.split(".")[0] in _CLIENTS
