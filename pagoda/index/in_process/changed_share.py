"""How much of a collection each search compares one by one, because it changed since the build."""

from __future__ import annotations

import logging

from prometheus_client import Gauge

from pagoda.index.in_process.snapshot import Snapshot

MANY, MUCH = 50_000, 0.1
"""Items, and share of an index, from which on people are told. 100,000 changed items of 64 numbers take a search 2.2
ms, 300,000 take 22: measured in one thread of a machine that others used, too."""
_SHARE = Gauge(
    "pagoda_index_changed_share",
    "Items that changed since a collection was built, as a share of those that it was built with.",
    ("collection",),
)
_log = logging.getLogger(__name__)


def tell(name: str, snapshot: Snapshot, before: Snapshot | None) -> None:
    """Let Prometheus know, and people when it has become much."""
    _SHARE.labels(name).set(snapshot.changed / max(1, len(snapshot.items)))
    if _is_much(snapshot) and not (before and _is_much(before)):
        _log.warning(
            "collection %s: %d of %d items changed since it was built, and each search compares them one by one; the "
            "next full update builds them into an index",
            name,
            snapshot.changed,
            len(snapshot.items),
        )


def _is_much(snapshot: Snapshot) -> bool:
    return snapshot.changed >= max(MANY, MUCH * len(snapshot.items))


def forget(name: str) -> None:
    """It is not searched any more."""
    _SHARE.remove(name)
