"""The reconcile loop: read the log, look at the world, decide, write one record, carry it out.

The log comes before the servers. A record is written only when what it needs is ready (capacity for a step's share,
every part of a generation before it is promoted), and the servers are brought to what the log says afterwards, and
again at every later look. So a crash between any two of these loses nothing: the next look finds the log ahead of the
servers, or the servers ready for a record that is not written yet. Of two drivers one writes the next record; the
other's attempt is refused, and whatever it would do to the servers follows from an older record, which backends
refuse.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Event as Signal

from pagoda.errors import ConflictError, GateError, IntegrityError, PagodaError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import Backend, Readiness, Target
from pagoda.rollout.decide import Decision, View, decide
from pagoda.rollout.gate_results import GateResult, Verdict, held
from pagoda.rollout.gates.offline import judge_offline
from pagoda.rollout.measures.base import Measures, Metrics
from pagoda.rollout.measures.compared_channels import measured_channels
from pagoda.rollout.measures.offline_evidence import OfflineEvidence
from pagoda.rollout.state.log_reading import draft_of, rollout_of
from pagoda.rollout.state.machine import Phase, Rollout
from pagoda.rollout.target import target_of

Offline = Callable[[Manifest, Manifest | None], OfflineEvidence]
"""Measures a candidate against its champion (None: there is none) before it serves.

Raises `IntegrityError` or `GateError` when a part is damaged, any other `PagodaError` to be asked again later."""

_AGAIN = timedelta(seconds=30)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one reconcile step saw and did."""

    rollout: Rollout | None
    decision: Decision
    readiness: Readiness | None = None
    lost: bool = False
    """Another writer was first, so nothing was done; look again."""
    trouble: tuple[str, ...] = ()
    """Servers that did not answer."""


class Driver:
    """Drives the rollouts of one log. Any number of them may run; it keeps no state that matters."""

    def __init__(
        self, log: ReleaseLog, backend: Backend, metrics: Metrics, offline: Offline, caution: str = ""
    ) -> None:
        """Nothing is read or written yet. A `caution` stands in what is measured of every candidate; it holds none."""
        self._log, self._backend, self._metrics, self._offline = log, backend, metrics, offline
        self._cautions = [GateResult(gate="preflight", verdict=Verdict.PASSED, detail=caution)] if caution else []
        self._judged: _Judged | None = None

    def reconcile(self) -> Look:
        """Do the next thing, if there is one. Safe to call at any time, from any number of processes.

        Raises:
            IntegrityError: The log is damaged.
            UnavailableError: The log cannot be read.
        """
        state = self._log.state()
        rollout, now = rollout_of(state), self._log.now()
        trouble: list[str] = []
        view = self._look(state, rollout, now, trouble)
        decision = decide(state, view, now)
        try:
            if decision.acts:
                state = self._write(state, decision, now)
            self._backend.apply(target_of(state, decision.capacity))
        except ConflictError as error:
            _log.info("another driver was first: %s", error)
            undone = replace(decision, event=None, retire=None, offer=None, holds=None)
            return Look(rollout, undone, view.candidate, lost=True)
        except UnavailableError as error:
            trouble.append(str(error))
        return Look(rollout_of(state), decision, view.candidate, trouble=tuple(trouble))

    def run(
        self,
        stop: Signal,
        *,
        every_seconds: float = 2.0,
        watch: Callable[[Look], None] | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """Reconcile until `stop` is set; at once again after something was done.

        Args:
            stop: Ends it.
            every_seconds: Between looks.
            watch: Is told of each look.
            leads: Whether this driver, of several, is the one to act.
        """
        while not stop.is_set():
            try:
                if not leads():
                    stop.wait(every_seconds)
                    continue
                look = self.reconcile()
            except UnavailableError as error:
                _log.warning("%s", error)
                stop.wait(every_seconds)
                continue
            if watch:
                watch(look)
            if not look.decision.acts:
                stop.wait(every_seconds)

    def _write(self, state: ReleaseState, decision: Decision, now: datetime) -> ReleaseState:
        if decision.event:
            draft = draft_of(state, decision.event, now)
            self._log.append(draft.kind, draft.body, state.head)
        elif decision.holds:
            draft = decision.holds.draft()
            self._log.append(draft.kind, draft.body, state.head)
        elif decision.retire:
            self._log.append("retired", {"generation": decision.retire}, state.head)
        else:
            self._log.append("offered", {"generation": decision.offer}, state.head)
        return self._log.state()

    def preview(self) -> Look:
        """What `reconcile` would decide now, without doing it; the offline gates are not measured for it.

        Raises:
            IntegrityError: The log is damaged.
            UnavailableError: The log cannot be read.
        """
        state = self._log.state()
        rollout, now = rollout_of(state), self._log.now()
        trouble: list[str] = []
        view = self._look(state, rollout, now, trouble, judge=False)
        return Look(rollout, decide(state, view, now), view.candidate, trouble=tuple(trouble))

    def _look(
        self, state: ReleaseState, rollout: Rollout | None, now: datetime, trouble: list[str], *, judge: bool = True
    ) -> View:
        if rollout is None or not rollout.active:
            return View()
        seen = View()
        if rollout.phase is Phase.REGISTERED and judge:
            seen = replace(seen, offline=self._judge(state, rollout, now, trouble))
        try:
            seen = replace(seen, candidate=self._backend.status(target_of(state)).of(rollout.candidate))
        except UnavailableError as error:
            trouble.append(str(error))
        try:
            return replace(seen, measures=self._measure(state, rollout, now))
        except UnavailableError as error:
            trouble.append(str(error))
        return seen

    def _measure(self, state: ReleaseState, rollout: Rollout, now: datetime) -> Measures | None:
        if rollout.phase not in (Phase.VERIFIED, Phase.SHADOW, Phase.CANARY) or rollout.previous is None:
            return None
        # By what the log says of the arms: each service tells of those that it has come to by then.
        channels = measured_channels(state.generations[rollout.previous], state.generations[rollout.candidate])
        gates = rollout.policy.online
        return self._metrics.measure(rollout.id, rollout.since, now, rollout.limit_ms, gates, channels=channels)

    def _judge(
        self, state: ReleaseState, rollout: Rollout, now: datetime, trouble: list[str]
    ) -> Sequence[GateResult] | None:
        """The offline gates: measured once for each candidate, and again from time to time while one holds."""
        if self._judged and self._judged.stands(rollout.candidate, now):
            return self._judged.results
        champion = state.generations[rollout.previous] if rollout.previous else None
        candidate = state.generations[rollout.candidate]
        try:
            if blocked := self._backend.preflight(Target(state.head, champion, candidate)):
                return [GateResult(gate="preflight", verdict=Verdict.HELD, detail=problem) for problem in blocked]
            results = [*self._cautions, *judge_offline(rollout.policy.offline, self._offline(candidate, champion))]
        except (IntegrityError, GateError) as error:
            results = [GateResult(gate="parts", verdict=Verdict.FAILED, detail=str(error))]
        except PagodaError as error:  # A dataset that was moved, say, is nothing that the candidate lacks.
            trouble.append(str(error))
            return None
        self._judged = _Judged(rollout.candidate, results, now)
        return results


@dataclass(frozen=True)
class _Judged:
    """What the offline gates said of a candidate."""

    candidate: str
    results: Sequence[GateResult]
    at: datetime

    def stands(self, candidate: str, now: datetime) -> bool:
        """Whether measuring again would tell nothing new: parts do not change, but the log of feedback grows."""
        return self.candidate == candidate and (not held(self.results) or now - self.at < _AGAIN)
