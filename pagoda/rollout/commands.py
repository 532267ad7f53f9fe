"""What operators and pipelines do to rollouts: each is one record, decided anew when somebody else's came first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pagoda.append_log.records import Draft
from pagoda.data.layout import features_of
from pagoda.errors import ConfigError, ConflictError, GateError, RequestError
from pagoda.generations.manifest import require_backend
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.registry.publish import Check, publish
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.gates.offline import INTEGRITY
from pagoda.rollout.policy import FULL, INCREMENTAL, RolloutPolicy
from pagoda.rollout.state import events as ev
from pagoda.rollout.state.events import Event
from pagoda.rollout.state.log_reading import draft_of, rollout_of
from pagoda.rollout.state.machine import BEFORE_ARM, Phase, Rollout


def start(log: ReleaseLog, candidate: str, *, policy: RolloutPolicy | None = None, by: str) -> Rollout:
    """Begin the rollout of generation `candidate`; a driver carries it out.

    Args:
        log: The release log.
        candidate: ID of a generation that is not stable.
        policy: None: the short one if only user rows differ from the stable generation, else the full one.
        by: Who asks, for the record.

    Raises:
        RequestError: There is no such generation.
        GateError: It is retired, is stable already, is an incremental older than the stable one, or is searched by
            another backend than that.
        ConfigError: The policy names an outcome that no event can have.
        ConflictError: Another rollout has not finished.
    """

    def decide(state: ReleaseState) -> Event:
        _check_candidate(state, candidate)
        chosen = policy or (INCREMENTAL if rows_only(state, candidate) else FULL)
        _check_outcomes(state, candidate, chosen)
        # Where there is a stable generation, gates compare the candidate with that.
        reason = "" if state.stable else state.warning_of(candidate)
        return ev.Started(candidate=candidate, previous=state.stable, policy=chosen, by=by, reason=reason)

    return _commit(log, decide)


def pause(log: ReleaseLog, *, by: str, reason: str = "") -> Rollout:
    """Stay at the present step until resumed; gates still roll back.

    Raises:
        ConflictError: There is nothing to pause.
    """
    return _commit(log, lambda _: ev.Paused(by=by, reason=reason))


def resume(log: ReleaseLog, *, by: str) -> Rollout:
    """Go on.

    Raises:
        ConflictError: Nothing is paused.
    """
    return _commit(log, lambda _: ev.Resumed(by=by))


def abort(log: ReleaseLog, *, by: str, reason: str = "") -> Rollout:
    """Take all traffic from the candidate, at once; within the grace also after its promotion.

    Raises:
        ConflictError: There is no rollout to abort, or nothing to return to.
    """
    return _commit(log, lambda _: ev.RolledBack(by=by, reason=reason or f"aborted by {by}"))


def force(log: ReleaseLog, *, by: str, reason: str = "") -> Rollout:
    """Promote without waiting for gates that measure quality, as soon as every part is whole and ready.

    Raises:
        ConflictError: There is no rollout before its promotion.
    """
    return _commit(log, lambda _: ev.Forced(by=by, reason=reason))


def overruled(gates: Iterable[GateResult]) -> list[GateResult]:
    """Those of `gates` that would keep a candidate from going on, and that `force` does not wait for."""
    return [one for one in gates if one.verdict is not Verdict.PASSED and one.gate not in INTEGRITY]


def deliver(
    log: ReleaseLog,
    generation: str,
    *,
    policy: RolloutPolicy = INCREMENTAL,
    by: str,
    checks: Sequence[Check] = (),
) -> str:
    """Bring an incremental version's generation to its users, in the way that the moment asks for.

    Without a rollout it gets its own, with the short policy. While a full rollout runs, it goes to the arm of its base
    at once, without a canary of its own; to a candidate that has no arm yet, it is the candidate from now on.

    Returns:
        One sentence about which of these was done.

    Raises:
        ConflictError: The rollout of another incremental has not finished, or no arm has its base. Try again later.
        GateError: It is retired, older than what the arm has, or did not pass a check.
    """
    state = log.state()
    rollout = rollout_of(state)
    if rollout is None or not rollout.active:
        started = start(log, generation, policy=policy, by=by)
        return f"rollout {started.id} of {generation} began"
    if rollout.previous and _kin(state, rollout.candidate, rollout.previous):
        raise ConflictError(f"rollout {rollout.id} of {rollout.candidate} is {rollout.phase}; {generation} must wait")
    if rollout.phase in BEFORE_ARM and _kin(state, generation, rollout.candidate):
        # A shadow gets copies from the record on; before it, servers need not run yet, and the driver waits for them.
        for check in checks if rollout.phase is Phase.SHADOW else ():
            check(state.generation(generation))
        _commit(log, lambda _: ev.Refreshed(candidate=generation))
        return f"{generation} is the candidate of rollout {rollout.id} now"
    # Both arms go on learning: without that the older deltas of one would be held against the other.
    publish(log, generation, checks=checks, reason=f"incremental during rollout {rollout.id}")
    return f"{generation} answers the arm of its base"


def _check_candidate(state: ReleaseState, candidate: str) -> None:
    manifest = state.generation(candidate)
    if candidate in state.retired:
        raise GateError(f"generation {candidate} is retired: its collection and tables may be gone")
    if candidate == state.stable:
        raise GateError(f"generation {candidate} is stable already")
    if state.stable:
        require_backend(manifest, state.generations[state.stable].backend, f"that of {state.stable}, which is stable,")
    if rows_only(state, candidate) and state.stable and manifest.order < state.generations[state.stable].order:
        raise GateError(f"generation {candidate} is older than {state.stable}; `pagoda rollback --to` goes back")


def _check_outcomes(state: ReleaseState, candidate: str, policy: RolloutPolicy) -> None:
    """Refuse an outcome that cannot come in: events are checked against the stable generation's declaration."""
    by = state.stable or candidate
    spec = state.generation(by).spec
    numbers = [one.name for one in features_of(spec, "interactions") if one.kind == "numeric"]
    numbers += [spec.positive_weight] if spec.positive_weight else []
    for gate in policy.online.outcomes:
        if gate.event not in {None, *spec.known_events}:
            known, key = ", ".join(sorted(spec.known_events)), "`events`"
            said = f"event {gate.event!r}"
        elif gate.column not in {None, *numbers}:
            known, key = ", ".join(numbers) or "none", "`positive_weight`, or as a numeric feature of the context,"
            said = f"column {gate.column!r}"
        else:
            continue
        raise ConfigError(
            f"policy: online.outcomes: {said} is not declared in the features.yaml that generation {by} was made with "
            f"(there: {known}); declare it in {key} and release a full version with it, or name another one"
        )


def rows_only(state: ReleaseState, candidate: str) -> bool:
    """Whether a candidate differs from the stable generation in rows of users alone."""
    return state.stable is not None and _kin(state, candidate, state.stable)


def _kin(state: ReleaseState, one: str, other: str) -> bool:
    return state.generation(one).full_version == state.generation(other).full_version


def _commit(log: ReleaseLog, decide: Callable[[ReleaseState], Event]) -> Rollout:
    def draft(state: ReleaseState) -> Draft:
        return draft_of(state, decide(state), log.now())

    log.commit(draft)
    rollout = rollout_of(log.state())
    if rollout is None:
        raise RequestError("there is no rollout")
    return rollout
