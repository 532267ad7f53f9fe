"""How a client is told that there is too much to do."""

from __future__ import annotations

from pagoda.errors import UnavailableError


class ShedError(UnavailableError):
    """There is too much to do just now."""


class GreedyError(ShedError):
    """There is too much to do, and the caller is one of those who make it so."""
