"""Publishing and rolling back: checks first, then one record that changes the arms, then names for humans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pagoda.append_log.records import Draft, Record
from pagoda.errors import ConflictError, GateError
from pagoda.generations.arms import Arm, Arms
from pagoda.generations.live import GRACE, live
from pagoda.generations.manifest import Manifest, require_backend
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.registry.base import CHAMPION, Registry

Check = Callable[[Manifest], None]
"""Returns when a generation may serve; raises `GateError` or `UnavailableError` when it may not."""


@dataclass(frozen=True)
class Plan:
    """A change of the arms that nobody has made yet."""

    generation: Manifest
    before: Arms
    after: Arms
    reason: str

    @property
    def changes(self) -> bool:
        """Whether anything would change."""
        return self.before != self.after

    def draft(self) -> Draft | None:
        """The record that makes the change."""
        if not self.changes:
            return None
        return Draft(kind="released", body={"arms": self.after.model_dump(), "reason": self.reason})


def plan_publish(state: ReleaseState, id_: str, arm: Arm | None = None, reason: str = "publish") -> Plan:
    """What publishing generation `id_` would change.

    Args:
        state: Now.
        id_: The generation.
        arm: Whose generation it becomes. None: the arm that its full version answers already.
        reason: Kept in the record.

    Raises:
        RequestError: There is no such generation.
        GateError: It is retired, older than what the arm has, or searched by another backend.
        ConflictError: No arm serves its full version any more, or there is no canary.
    """
    manifest = _usable(state, id_)
    _check_backend(state, manifest)
    arm = arm or state.arm_of(manifest.full_version)
    if arm is None:
        raise ConflictError(f"generation {id_}: no arm serves full version {manifest.full_version}; name the arm")
    now = state.arms.of(arm)
    if now is None and arm == "canary":
        raise ConflictError("there is no canary; `pagoda rollout start` makes one")
    if now is not None:
        _check_newer(manifest, state.generations[now], arm)
    after = state.arms.model_copy(update={arm: id_})
    if arm == "stable" and state.arms.canary == id_:
        after = after.model_copy(update={"canary": None})
    return Plan(manifest, state.arms, after, reason)


def plan_rollback(state: ReleaseState, to: str | None = None) -> Plan:
    """What going back to generation `to` (None: the one that was stable before) would change; a canary ends.

    Raises:
        RequestError: There is no such generation.
        GateError: It is retired, or nothing was stable before, or it is searched by another backend.
    """
    id_ = to or state.previous
    if id_ is None:
        raise GateError("there is nothing to roll back to: no earlier stable generation is kept")
    manifest = _usable(state, id_)
    _check_backend(state, manifest)
    return Plan(manifest, state.arms, Arms(stable=id_), "rollback")


def plan_move(state: ReleaseState, id_: str) -> Plan:
    """What it would change that generation `id_` answers, the stable one but for the backend of its collection.

    Raises:
        RequestError: There is no such generation.
        GateError: It is retired, or an incremental was published meanwhile.
        ConflictError: There is a canary, or another full version is stable.
    """
    manifest, stable = _usable(state, id_), state.generation(state.stable or "")
    if state.arms.canary or stable.full_version != manifest.full_version:
        raise ConflictError(
            f"the arms are {state.arms}; {id_} can take the place of full version "
            f"{manifest.full_version} alone, while nothing is rolled out"
        )
    _check_newer(manifest, stable, "stable")
    return Plan(manifest, state.arms, Arms(stable=id_), "index rebuild")


def publish(
    log: ReleaseLog, id_: str, arm: Arm | None = None, *, checks: Sequence[Check] = (), reason: str = "publish"
) -> Record | None:
    """Check generation `id_` and let it answer `arm`, by one record; None when it does so already.

    When another record comes first, it is planned anew; see `plan_publish` for what is then refused, and for errors.

    Raises:
        GateError: A check was not passed. Nothing was changed.
    """
    _prepare(log, plan_publish(log.state(), id_, arm, reason), checks)
    return log.commit(lambda state: plan_publish(state, id_, arm, reason).draft())


def carry_out(log: ReleaseLog, plan: Plan, *, checks: Sequence[Check] = ()) -> Record | None:
    """Make exactly the change that somebody looked at; None when it is made already.

    Raises:
        GateError: A check was not passed. Nothing was changed.
        ConflictError: The arms are no longer what they were in the plan. Nothing was changed.
    """
    _prepare(log, plan, checks)

    def decide(state: ReleaseState) -> Draft | None:
        # Made already: by a run that was killed after its record, say.
        if state.arms == plan.after:
            return None
        if state.arms != plan.before:
            raise ConflictError(f"the arms are now {state.arms}, no longer {plan.before}; look again")
        _usable(state, plan.generation.id)
        return plan.draft()

    return log.commit(decide)


def write_aliases(log: ReleaseLog, registry: Registry) -> None:
    """Let the champion's alias follow what is stable: for humans, after the fact, safe to repeat."""
    champion = log.state().champion
    if champion is not None:
        registry.set_alias(CHAMPION, champion)


def offer(log: ReleaseLog, id_: str) -> None:
    """Ask all hosts to bring a generation that is not serving; making one has asked already.

    Raises:
        RequestError: There is no such generation.
        GateError: It is retired.
    """
    _usable(log.state(), id_)
    log.append("offered", {"generation": id_})


def _prepare(log: ReleaseLog, plan: Plan, checks: Sequence[Check]) -> None:
    """Have hosts bring the generation if they may have dropped it, and pass the checks."""
    if not plan.changes:
        return
    id_ = plan.generation.id
    # Half of it, so that no host lets it go between this look and the record.
    if id_ not in live(log.state(), log.now(), GRACE / 2):
        offer(log, id_)
    for check in checks:
        check(plan.generation)


def _usable(state: ReleaseState, id_: str) -> Manifest:
    manifest = state.generation(id_)
    if id_ in state.retired:
        raise GateError(f"generation {id_} is retired: its collection and tables may be gone")
    return manifest


def _check_backend(state: ReleaseState, manifest: Manifest) -> None:
    if state.stable:
        require_backend(manifest, state.generations[state.stable].backend, f"that of {state.stable}, which is stable,")


def _check_newer(new: Manifest, now: Manifest, arm: Arm) -> None:
    if new.full_version == now.full_version:
        # The applied segments must lie unchanged below the new ones.
        newer = new.segments[len(new.segments) - len(now.segments) :] == now.segments
    else:
        newer = new.full_version > now.full_version
    if not newer:
        raise GateError(
            f"generation {new.id} is older than {now.id}, which is {arm}, or does not build on it; "
            f"`pagoda rollback --to {new.id}` goes back"
        )
