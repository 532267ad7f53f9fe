"""The driver's part: from time to time it keeps what the gates say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.rollout.curves.samples import FIRST_SECONDS, GateSample, GateSamples, StageSamples, stage_name
from pagoda.rollout.driver import Look

_log = logging.getLogger(__name__)


class GateRecorder:
    """Keeps samples of what one driver's looks show. All it remembers is when to look into the file again."""

    def __init__(self, samples: GateSamples, clock: Callable[[], datetime]) -> None:
        """Nothing is read or written yet."""
        self._samples, self._clock = samples, clock
        self._stage, self._due = ("", ""), clock()
        self._warned = False

    def take(self, look: Look) -> None:
        """Keep what a look measured, if that is due. A store that does not answer costs a sample and a warning."""
        rollout, gates = look.rollout, look.decision.gates
        # What led to a record stands in it, and belongs to the stage before.
        if rollout is None or look.lost or look.decision.event or not gates:
            return
        stage, now = (rollout.id, stage_name(rollout.phase, rollout.step)), self._clock()
        if stage == self._stage and now < self._due:
            return
        self._stage, self._due = stage, now + timedelta(seconds=FIRST_SECONDS)
        try:
            self._keep(*stage, GateSample.of(now, gates))
        except UnavailableError as error:
            if not self._warned:
                _log.warning("what the gates measure is not kept for now: %s", error)
            self._warned = True
        else:
            self._warned = False

    def _keep(self, rollout: str, stage: str, sample: GateSample) -> None:
        """Read, add, write: of two drivers at once one may lose its sample, and neither harms what is there."""
        try:
            known = self._samples.read(rollout, stage)
        except IntegrityError as error:
            _log.warning("samples of gates are begun anew: %s", error)
            known = StageSamples()
        if known.due is None or known.due <= sample.at:
            known = known.and_then(sample)
            self._samples.write(rollout, stage, known)
        self._due = known.due or self._due
