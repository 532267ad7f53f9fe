"""A dead channel costs its items and nothing else: recall by all channels, one of which is damaged, gone or late.

A table is read when recall starts, and is mapped from then on. So each fault has a recall service of its own, which
starts with it; the first one has none, to compare with.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.faults.channel_faults import ChannelFault, ChannelParts
from benchmarks.faults.events import EventSender, lost
from benchmarks.faults.proxy import DelayProxy
from benchmarks.online.channels import KINDS, write_mixture
from benchmarks.online.installation import Installation, process, wait_ready
from pagoda.access.tokens import token_of
from pagoda.channels.factory import TABLES
from pagoda.generations.manifest import Mixture
from pagoda.load_test.outcomes import OK, Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.report import report_of
from pagoda.load_test.sending import send
from pagoda.standalone.ports import choose_ports

_WARM_UP_SECONDS, _SECONDS, _PATIENCE_SECONDS = 3.0, 8.0, 30.0
_DEADLINE_SECONDS = 0.3
"""That an answer waits for the towers' items. Without, it would be `recall.index_seconds`, 1 s."""
_K, _CONNECTIONS = 100, 256


@dataclass
class _Channels(Outcomes):
    """Also counts the items of each channel, and answers with fewer items than were asked for."""

    items: Counter[str] = field(default_factory=Counter)
    short: int = 0

    def read(self, status: int, content: bytes) -> tuple[str, bool]:
        """See `Outcomes.read`."""
        if status == OK:
            (prediction,) = orjson.loads(content)["predictions"]
            self.items.update(name for item in prediction["items"] for name in item["channels"])
            self.short += len({item["item_id"] for item in prediction["items"]}) < _K
        return super().read(status, content)


@dataclass
class DeadChannels:
    """Measures what a dead channel costs."""

    installation: Installation
    folder: Path
    rate: float

    def measure(self, fault: ChannelFault) -> dict[str, Any]:
        """A recall service of its own under load, with a fault; the row of `faults.json`, with items by channel."""
        settings, milvus = self.installation.settings, DelayProxy(self.installation.settings.milvus.uri)
        shutil.rmtree(own := self.folder / "channels", ignore_errors=True)
        path, port = write_mixture(self.installation.world, own), choose_ports(["it"], [])["it"]
        _declare_deadline(path)
        parts = ChannelParts(own / TABLES, settings.redis.url, milvus)
        if not fault.under_way:
            fault.cause(parts)
        with closing(milvus), self._serving(path, port, milvus.stands_for("milvus", settings.milvus.uri)) as url:
            self._send(url, _WARM_UP_SECONDS)
            if fault.under_way:
                fault.cause(parts)
            row = self._under_load(fault.name, url)
            if fault.end is not None:
                fault.end(parts)
                row["recovery_seconds"] = self._recover(url)
        return row

    @contextmanager
    def _serving(self, mixture: Path, port: int, milvus: str) -> Iterator[str]:
        arguments, home = [str(mixture), str(port)], self.installation.settings.home
        log, through = self.folder / "channels.log", {"PAGODA_MILVUS__URI": milvus}
        with process("benchmarks.online.channels", *arguments, home=home, log=log, environment=through):
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            yield url

    def _recover(self, url: str) -> float:
        """Seconds until answers are whole from then on; the patience where they do not become so."""
        began = time.monotonic()
        while (took := time.monotonic() - began) < _PATIENCE_SECONDS:
            if not any(self._send(url, 0.5).degraded):
                return round(took, 2)
        return _PATIENCE_SECONDS

    def _under_load(self, name: str, url: str) -> dict[str, Any]:
        settings, world = self.installation.settings, self.installation.world
        token = token_of(settings.tokens_folder, "events")
        events = EventSender(url, token, len(world.users), self.installation.manifest.item_count)
        found = self._send(url, _SECONDS)
        events.close()
        report = report_of(self._plan(_SECONDS), found, url, _CONNECTIONS)
        return {
            "fault": name,
            "requests": report.requests,
            "errors_5xx": report.errors + events.errors_5xx,
            "shed": report.shed,
            "degraded": report.degraded,
            "events_lost": lost(events.acknowledged, settings.redis.url, world.dataset.path),
            "recovery_seconds": None,
            "fault_seconds": _SECONDS,
            "events": len(events.acknowledged),
            "degraded_by": report.degraded_by,
            "short": found.short,
            "latency_ms": {quantile: report.latency_ms[quantile] for quantile in ("p50", "p99", "max")},
            "items_by_channel": {kind: round(found.items[kind] / max(report.answered, 1), 1) for kind in KINDS},
        }

    def _plan(self, seconds: float) -> LoadPlan:
        return LoadPlan(range(len(self.installation.world.users)), self.rate, seconds, k=_K)

    def _send(self, url: str, seconds: float) -> _Channels:
        token, outcomes = token_of(self.installation.settings.tokens_folder, "ask"), _Channels()
        plan = self._plan(seconds)
        send(plan, url, connections=_CONNECTIONS, timeout_seconds=20, token=token, outcomes=outcomes)
        return outcomes


def _declare_deadline(path: Path) -> None:
    """Have the mixture in a file wait so long for its towers and no longer."""
    mixture = Mixture.model_validate_json(path.read_bytes())
    deadline = {"seconds": _DEADLINE_SECONDS}
    channels = tuple(
        channel.model_copy(update=deadline) if channel.kind == "two_tower" else channel for channel in mixture.channels
    )
    path.write_text(mixture.model_copy(update={"channels": channels}).model_dump_json())
