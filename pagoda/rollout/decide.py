"""What to do next with a rollout: a pure function of the log, of what was measured, and of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pagoda.generations.live import GRACE, live, seconds
from pagoda.generations.manifest import order_of, versions_in
from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import Readiness
from pagoda.rollout.gate_results import GateResult, failed, held
from pagoda.rollout.gates.offline import INTEGRITY
from pagoda.rollout.gates.online import judge_online, latency_limit
from pagoda.rollout.measures.base import ArmMeasure, Measures
from pagoda.rollout.policy import Stay
from pagoda.rollout.state import events as ev
from pagoda.rollout.state.events import Event
from pagoda.rollout.state.held_gates import Held, held_gates, held_of, last_held
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import BEFORE_ARM, Phase, Rollout

_EVERYTHING = 100


@dataclass(frozen=True)
class View:
    """What one look at the world showed; None where it could not be seen."""

    offline: Sequence[GateResult] | None = None
    """Results of the offline gates; looked at only while the rollout is registered."""
    candidate: Readiness | None = None
    measures: Measures | None = None
    """Of both arms since the phase began."""


@dataclass(frozen=True)
class Decision:
    """At most one thing to do; without any it is to wait, for the reasons given."""

    event: Event | None = None
    retire: str | None = None
    """A generation that will never serve again."""
    offer: str | None = None
    """A generation that hosts would soon let go although it is needed."""
    holds: Held | None = None
    """What the offline gates found and wait for, where the log does not say so yet."""
    capacity: int = 0
    """What the candidate must have ready, in percent of the stable arm's, before it can go on."""
    waits: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()
    due: datetime | None = None
    """Before this moment nothing but a rollback can happen."""

    @property
    def acts(self) -> bool:
        """Whether there is something to do."""
        return bool(self.event or self.retire or self.offer or self.holds)


def decide(state: ReleaseState, view: View, now: datetime) -> Decision:
    """The next step of the latest rollout."""
    rollout = rollout_of(state)
    if rollout is None or not rollout.active:
        return Decision()
    if rollout.superseded:
        return Decision(ev.RolledBack(reason=f"the arms were changed outside of the rollout, by {rollout.superseded}"))
    if unloaded := _soon_unloaded(state, rollout, now):
        return Decision(offer=unloaded, capacity=rollout.percent)
    return _LOOKS[rollout.phase](_Look(state, rollout, view, now))


def _soon_unloaded(state: ReleaseState, rollout: Rollout, now: datetime) -> str | None:
    """A generation without an arm that the rollout needs, but that hosts will let go within half their grace."""
    if rollout.phase in BEFORE_ARM:
        needed = rollout.candidate
    elif rollout.phase is Phase.PROMOTED and rollout.previous:
        needed = rollout.previous
    else:
        return None
    return None if needed in state.retired or needed in live(state, now + GRACE / 2) else needed


_UNJUDGED = "the offline gates have not been measured yet; where a driver runs, it does that next"
"""Only the driver measures them, since that takes long: whoever else looks reads in the log what it found."""
_SAY_AGAIN = timedelta(minutes=5)
"""After which what holds a rollout is recorded with its new figures; rows that are counted change them all the time."""


@dataclass(frozen=True)
class _Look:
    state: ReleaseState
    rollout: Rollout
    view: View
    now: datetime

    def registered(self) -> Decision:
        patience = self.rollout.policy.prepare_seconds
        if self.view.offline is None:
            known = held_gates(self.state, self.rollout)
            return self._wait(patience, [hold.told for hold in held(known)] or [_UNJUDGED], known)
        results = tuple(self.view.offline)
        # An operator may overrule what measures quality, never what says that a part is damaged.
        binding = [result for result in results if not self.rollout.forced or result.gate in INTEGRITY]
        if failures := failed(binding):
            return self._roll_back(failures, results)
        if holds := held(binding):
            decision = self._wait(patience, [hold.told for hold in holds], results)
            return replace(decision, holds=self._news(results)) if decision.event is None else decision
        return Decision(ev.Verified(gates=results), gates=results)

    def _news(self, results: tuple[GateResult, ...]) -> Held | None:
        """What to record of gates that hold, for those who do not measure: unless the log has it, or nearly."""
        record = last_held(self.state, self.rollout)
        known = held_of(record) if record else None
        now = Held(rollout=self.rollout.id, candidate=self.rollout.candidate, held=results)
        if record is None or known is None or _verdicts(known) != _verdicts(now):
            return now
        return now if known != now and self.now >= record.at + _SAY_AGAIN else None

    def verified(self) -> Decision:
        if self.rollout.forced:
            return self._promote("forced by the operator")
        if self.rollout.previous is None:
            warning = self.state.warning_of(self.rollout.candidate)
            return self._promote(f"the first generation. {warning}" if warning else "the first generation")
        policy = self.rollout.policy
        if policy.shadow:
            limit, waits = self._limit(policy.shadow)
            event = ev.Shadowed(limit_ms=limit)
            return self._when_ready(event, policy.shadow.percent, (), waits, policy.shadow.maximum_seconds)
        return self._step(0, policy.steps[0], ())

    def on_trial(self) -> Decision:
        """Shadow and canary steps: both arms are measured.

        A step ends when its minimum time is over, both arms have answered enough and no gate holds. A gate that fails
        ends it with a rollback at once, and so does its longest wait.
        """
        rollout, policy = self.rollout, self.rollout.policy
        stay = policy.steps[rollout.step] if rollout.phase is Phase.CANARY else policy.shadow or policy.steps[0]
        results = tuple(judge_online(policy, stay, self.view.measures or {}, rollout.limit_ms))
        # An operator's word stands above what measures quality; what is damaged was refused when it was registered.
        if rollout.forced:
            return self._promote("forced by the operator", results)
        if failures := failed(results):
            return self._roll_back(failures, results)
        due = rollout.since + timedelta(seconds=stay.minimum_seconds)
        waits = [hold.told for hold in held(results)]
        if self.view.measures is None:
            waits.insert(0, "the arms cannot be measured now")
        if self.now < due:
            waits.append(f"this step lasts until {due:%H:%M:%S} at least")
        if waits:
            return self._wait(stay.maximum_seconds, waits, results, due=due, capacity=rollout.percent)
        if rollout.step + 1 == len(policy.steps):
            return self._promote("all gates passed", results)
        return self._step(rollout.step + 1, stay, results)

    def promoted(self) -> Decision:
        previous = self.rollout.previous
        due = self.rollout.since + self.rollout.policy.grace
        if previous is None:
            return Decision(ev.Finished())
        if self.now < due:
            return Decision(waits=(f"{previous} stays loaded until {due:%H:%M:%S}",), due=due)
        # An incremental's predecessor is one segment less: hosts let it go by themselves.
        return Decision(ev.Finished()) if self._same_version(previous) else self._retire(self._version_of(previous))

    def rolled_back(self) -> Decision:
        due = self.rollout.since + self.rollout.policy.drain
        if self.now < due:
            return Decision(waits=(f"{self.rollout.candidate} drains until {due:%H:%M:%S}",), due=due)
        candidate = self.rollout.candidate
        return self._retire([candidate] if self._same_version(candidate) else self._version_of(candidate))

    def _same_version(self, id_: str) -> bool:
        """Whether a generation is of the stable one's full version."""
        return self.state.stable is not None and versions_in(id_)[0] == versions_in(self.state.stable)[0]

    def _version_of(self, id_: str) -> list[str]:
        """Every generation of the full version of one: a canary gets incrementals, and goes with all of them."""
        full = versions_in(id_)[0]
        return [other for other in self.state.generations if versions_in(other)[0] == full]

    def _step(self, step: int, stay: Stay, results: tuple[GateResult, ...]) -> Decision:
        limit, waits = self._limit(stay)
        event = ev.Stepped(step=step, limit_ms=limit, gates=results)
        percent = self.rollout.policy.steps[step].percent
        return self._when_ready(event, percent, results, waits, stay.maximum_seconds)

    def _promote(self, reason: str, results: tuple[GateResult, ...] = ()) -> Decision:
        patience = self.rollout.policy.prepare_seconds
        return self._when_ready(ev.Promoted(reason=reason, gates=results), _EVERYTHING, results, [], patience)

    def _limit(self, stay: Stay) -> tuple[float | None, list[str]]:
        """The latency limit to fix for the next phase, and what that waits for."""
        gate = self.rollout.policy.online.latency
        if gate is None:
            return None, []
        known = (self.view.measures or {}).get("stable", ArmMeasure()).requests
        limit = latency_limit(gate, known, stay.minimum_requests)
        needed = f"latency: the stable arm's p99 takes {stay.minimum_requests} requests, there were {known.count}"
        return limit, [] if limit is not None else [needed]

    def _when_ready(
        self, event: Event, capacity: int, results: tuple[GateResult, ...], waits: list[str], patience: float
    ) -> Decision:
        ready = self.view.candidate
        if ready is None:
            waits.append("the servers do not answer")
        elif ready.missing or ready.capacity < capacity:
            waits.extend(ready.missing)
            waits.append(f"{self.rollout.candidate}: {ready.capacity} % of the stable capacity, needs {capacity} %")
            patience = self.rollout.policy.prepare_seconds
        if waits or self.rollout.paused:
            return self._wait(patience, waits, results, capacity=capacity)
        return Decision(event, capacity=capacity, gates=results)

    def _wait(
        self,
        patience: float,
        waits: Sequence[str],
        results: tuple[GateResult, ...] = (),
        *,
        due: datetime | None = None,
        capacity: int = 0,
    ) -> Decision:
        if self.rollout.paused:
            reasons = ("paused by the operator", *waits)
            return Decision(waits=reasons, gates=results, due=due, capacity=capacity)
        if self.now > self.rollout.waiting_since + timedelta(seconds=patience):
            reason = f"no end within {patience:g} s: {'; '.join(waits)}"
            return Decision(ev.RolledBack(reason=reason, gates=results), gates=results)
        return Decision(waits=tuple(waits), gates=results, due=due, capacity=capacity)

    def _roll_back(self, failures: Sequence[GateResult], results: tuple[GateResult, ...]) -> Decision:
        reason = "; ".join(failure.told for failure in failures)
        return Decision(ev.RolledBack(reason=reason, gates=results), gates=results)

    def _retire(self, generations: Sequence[str]) -> Decision:
        # What a channel of a live one asks stays, or of one that waits for its rollout; retention lets it go with that.
        waiting = [id_ for id_ in self.state.generations if order_of(id_) > order_of(self.state.stable or id_)]
        asked = seconds(self.state, [*live(self.state, self.now), *waiting])
        kept = {*self.state.retired, *self.state.arms.serving, *asked}
        # One record a look: the next look finds the next one, and a crash in between loses nothing.
        for id_ in generations:
            if id_ not in kept:
                return Decision(retire=id_)
        return Decision(ev.Finished())


def _verdicts(found: Held) -> list[tuple[str, str, str]]:
    return [(found.candidate, result.gate, result.verdict) for result in found.held]


_LOOKS: Mapping[Phase, Callable[[_Look], Decision]] = {
    Phase.REGISTERED: _Look.registered,
    Phase.VERIFIED: _Look.verified,
    Phase.SHADOW: _Look.on_trial,
    Phase.CANARY: _Look.on_trial,
    Phase.PROMOTED: _Look.promoted,
    Phase.ROLLED_BACK: _Look.rolled_back,
}
