"""Pagoda: the platform that runs two-tower recall in production.

`Client` talks to a running one; `Dataset`, `train` and `open_version` need none. Each is imported when it is first
used, so that a program with a client carries no more than a client needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pagoda.client import AsyncClient, Client, Event
    from pagoda.notebook import Dataset, Version, open_version, train

__all__ = ["AsyncClient", "Client", "Dataset", "Event", "Version", "open_version", "train"]
_ROOMS = {
    **dict.fromkeys(("AsyncClient", "Client", "Event"), "pagoda.client"),
    **dict.fromkeys(("Dataset", "Version", "open_version", "train"), "pagoda.notebook"),
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
