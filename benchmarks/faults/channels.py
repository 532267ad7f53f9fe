"""A dead channel costs its items and nothing else: recall by all channels, one of which is damaged or gone.

A table is read when recall starts, and is mapped from then on. So each fault has a recall service of its own, which
starts with it; the first one has none, to compare with.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from redis import Redis

from benchmarks.faults.events import EventSender, lost
from benchmarks.online.channels import KINDS, write_mixture
from benchmarks.online.installation import Installation, process, wait_ready
from pagoda.access.tokens import token_of
from pagoda.channels.factory import TABLES
from pagoda.load_test.outcomes import ANSWERED, OK, SHED, Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.report import report_of
from pagoda.load_test.sending import send
from pagoda.standalone.ports import choose_ports
from serving.users.keys import EXPLORED

_SECONDS, _PATIENCE_SECONDS = 8.0, 30.0
_WHOLE = "channels: none dead"


@dataclass(frozen=True)
class ChannelFault:
    """What is wrong with one channel when recall starts."""

    name: str
    cause: Callable[[Path, Installation], None]
    """Is told the folder of all tables."""
    end: Callable[[Path, Installation], None] | None = None
    """Nothing ends it, where None: no file of a generation changes, and recall reads what is damaged once."""


def _nothing(tables: Path, installation: Installation) -> None:
    """Nothing is wrong."""


def _damage(kind: str) -> Callable[[Path, Installation], None]:
    def cause(tables: Path, _: Installation) -> None:
        for path in (tables / kind).iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    return cause


def _renamed(name: str, other: str) -> Callable[[Path, Installation], None]:
    def cause(tables: Path, _: Installation) -> None:
        (tables / name).rename(tables / other)

    return cause


def _spoil_counts(_: Path, installation: Installation) -> None:
    redis = Redis.from_url(installation.settings.redis.url)
    redis.delete(EXPLORED)
    redis.set(EXPLORED, "no counts")


def _delete_counts(_: Path, installation: Installation) -> None:
    Redis.from_url(installation.settings.redis.url).delete(EXPLORED)


CHANNEL_FAULTS = (
    ChannelFault(_WHOLE, _nothing),
    *(ChannelFault(f"channels: {kind} damaged", _damage(kind)) for kind in KINDS[1:]),
    *(
        ChannelFault(f"channels: {kind} gone", _renamed(kind, f"{kind}.gone"), _renamed(f"{kind}.gone", kind))
        for kind in ("item_to_item", "explore")
    ),
    ChannelFault("channels: counts of explore unreadable", _spoil_counts, _delete_counts),
)


@dataclass
class _Channels(Outcomes):
    """Also counts the items of each channel."""

    items: Counter[str] = field(default_factory=Counter)

    def read(self, status: int, content: bytes) -> tuple[str, bool]:
        """See `Outcomes.read`."""
        if status == OK:
            (prediction,) = orjson.loads(content)["predictions"]
            self.items.update(name for item in prediction["items"] for name in item["channels"])
        return super().read(status, content)


@dataclass
class DeadChannels:
    """Measures what a dead channel costs."""

    installation: Installation
    folder: Path
    rate: float

    def measure(self, fault: ChannelFault) -> dict[str, Any]:
        """A recall service that starts with a fault, under load; the row of `faults.json`, with items by channel."""
        shutil.rmtree(own := self.folder / "channels", ignore_errors=True)
        path, port = write_mixture(self.installation.world, own), choose_ports(["it"], [])["it"]
        home, arguments = self.installation.settings.home, [str(path), str(port)]
        fault.cause(own / TABLES, self.installation)
        with process("benchmarks.online.channels", *arguments, home=home, log=self.folder / "channels.log"):
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            self._send(url, 2.0)
            row = self._under_load(fault.name, url)
            began = time.monotonic()
            if fault.end is not None:
                fault.end(own / TABLES, self.installation)
                while any(self._send(url, 0.5).degraded) and time.monotonic() - began < _PATIENCE_SECONDS:
                    pass
                row["recovery_seconds"] = round(time.monotonic() - began, 2)
        return row

    def _under_load(self, name: str, url: str) -> dict[str, Any]:
        settings, world = self.installation.settings, self.installation.world
        token = token_of(settings.tokens_folder, "events")
        events = EventSender(url, token, len(world.users), self.installation.manifest.item_count)
        found = self._send(url, _SECONDS)
        events.close()
        report = report_of(self._plan(_SECONDS), found, url, 256)
        shed = found.kinds.count(f"HTTP {SHED}")
        return {
            "fault": name,
            "requests": len(found.kinds),
            "errors_5xx": len(found.kinds) - found.kinds.count(ANSWERED) - shed + events.errors_5xx,
            "shed": shed,
            "degraded": sum(found.degraded),
            "events_lost": lost(events.acknowledged, settings.redis.url, world.dataset.path),
            "recovery_seconds": None,
            "fault_seconds": _SECONDS,
            "events": len(events.acknowledged),
            "degraded_by": dict(found.marks),
            "latency_ms": {quantile: report.latency_ms[quantile] for quantile in ("p50", "p99")},
            "items_by_channel": {kind: round(found.items[kind] / len(found.kinds), 1) for kind in KINDS},
        }

    def _plan(self, seconds: float) -> LoadPlan:
        return LoadPlan(range(len(self.installation.world.users)), self.rate, seconds)

    def _send(self, url: str, seconds: float) -> _Channels:
        token, outcomes = token_of(self.installation.settings.tokens_folder, "ask"), _Channels()
        send(self._plan(seconds), url, connections=256, timeout_seconds=20, token=token, outcomes=outcomes)
        return outcomes
