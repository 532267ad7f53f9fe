"""The driver's loop, and what it says: behind `pagoda rollout drive`, and beside the workers of a small machine."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import partial
from threading import Event

from pagoda.errors import PagodaError
from pagoda.rollout.curves.recorder import GateRecorder
from pagoda.rollout.curves.samples import GateSamples
from pagoda.rollout.driver import Driver, Look
from pagoda.rollout.factory import leading, tell_humans
from pagoda.rollout.telemetry import silent_unless, tell
from pagoda.settings import Settings

EVERY_SECONDS = 2.0
"""Between looks."""
_log = logging.getLogger(__name__)


def drive(driver: Driver, settings: Settings, backend: str, every_seconds: float, stop: Event) -> None:
    """Reconcile until `stop` is set; a step that is under way then ends first.

    Raises:
        IntegrityError: The log is damaged.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # It would tell of every question to the tower.
    said: list[str] = []
    recorder = GateRecorder(GateSamples(settings.log_url), partial(datetime.now, UTC))

    def watch(look: Look) -> None:
        tell(look)
        recorder.take(look)
        _say(look, said)
        try:
            tell_humans(settings, look)
        except PagodaError as error:
            _log.warning("the champion's alias was not written: %s", error)

    _log.info("driving the rollouts of %s", settings.log_url)
    with leading(settings, backend) as leads:
        driver.run(stop, every_seconds=every_seconds, watch=watch, leads=partial(silent_unless, leads))
    _log.info("stopped")


def _say(look: Look, said: list[str]) -> None:
    """Log what happened, and what is waited for when that changed."""
    rollout, decision = look.rollout, look.decision
    if rollout is None:
        return
    about = f"{rollout.id} of {rollout.candidate}: "
    if decision.event:
        _log.info("%s%s %s", about, decision.event.kind.replace("_", " "), decision.event.reason)
    if decision.retire:
        _log.info("%s%s is retired", about, decision.retire)
    waits = [*decision.waits, *look.trouble]
    kinds = [re.sub(r"[\d.,+%-]+", "", wait) for wait in waits]
    if waits and kinds != said:
        _log.info("%swaits: %s", about, "; ".join(waits))
    said[:] = kinds
