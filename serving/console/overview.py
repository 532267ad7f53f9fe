"""The first page: is all of it up, who answers whom, and what changed last."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pagoda.access.tokens import token_for
from pagoda.errors import PagodaError
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.settings import Settings
from pagoda.standalone.platform import Platform
from pagoda.telemetry.scrape import MetricChange, Scrape, look
from pagoda.telemetry.service_state import ServiceState, state_of

_CHANGES = 8
_APART_SECONDS = 1.5


class RecallPulse:
    """What recall does, between the last two looks at its metrics. Shared by all who look, so that they cost it one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._before: Scrape | None = None
        self._last: Scrape | None = None

    def state(self) -> ServiceState | None:
        """None: there was one look only.

        Raises:
            UnavailableError: The metrics cannot be read.
        """
        url = self._settings.recall.url
        with self._lock:
            if self._last is None or time.monotonic() - self._last.at >= _APART_SECONDS:
                self._before, self._last = self._last, look(url, token_for(self._settings, "watch", url))
            return state_of(MetricChange(self._before, self._last), url) if self._before else None


def overview(settings: Settings, log: ReleaseLog, pulse: RecallPulse) -> Mapping[str, Any]:
    """Services, arms, traffic, the rollout and the last changes, as far as each can be read.

    Raises:
        UnavailableError: The release log does not answer.
    """
    state = log.state()
    split, rollout = split_of(state), rollout_of(state)
    trouble, recall = "", None
    try:
        recall = pulse.state() if settings.recall.url else None
    except PagodaError as error:
        trouble = str(error)
    return {
        "services": [asdict(service) for service in Platform(settings.home).status()],
        "arms": state.arms.model_dump(),
        "canary_percent": split.percent if split and split.canary and not split.shadow else 0,
        "recall": recall.model_dump(mode="json") if recall else None,
        "trouble": trouble,
        "rollout": rollout.model_dump(mode="json", exclude={"policy"}) if rollout and rollout.active else None,
        "changes": [
            {"record": one.number, "at": one.at.isoformat(), **one.arms.model_dump(), "reason": one.reason}
            for one in state.releases[: -_CHANGES - 1 : -1]
        ],
    }
