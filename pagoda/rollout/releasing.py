"""How updates end: with a rollout where a driver runs, and at once where none does or somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from pagoda.errors import GateError
from pagoda.generations.arms import ARMS
from pagoda.generations.manifest import Manifest, versions_in
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.registry.factory import open_registry
from pagoda.registry.publish import Check, publish, write_aliases
from pagoda.rollout import commands
from pagoda.rollout.policy import FULL, INCREMENTAL, RolloutPolicy, parse_policy, read_policy
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import BEFORE_ARM, Rollout
from pagoda.rollout.target import target_of
from pagoda.settings import Settings
from pagoda.settings.rollout import ON_CLUSTERS
from pagoda.updates import full_steps, incremental_steps
from pagoda.updates.full import FullUpdate
from pagoda.updates.incremental import IncrementalUpdate, Nothing
from pagoda.updates.incremental_steps import Done
from pagoda.updates.readiness import PATIENCE_SECONDS, checks_of


class Release(StrEnum):
    """How a generation gets its traffic."""

    AUTO = "auto"
    """By a rollout where a driver runs (`rollout.backend`), else at once; incrementals by `rollout.incremental`."""
    ROLLOUT = "rollout"
    NOW = "now"


def full_policy(settings: Settings) -> RolloutPolicy:
    """The policy of full versions' rollouts.

    Raises:
        ConfigError: Its file cannot be read or is wrong.
    """
    return _read(settings.rollout.full_policy, "rollout.full_policy", FULL)


def policy_for(settings: Settings, state: ReleaseState, candidate: str) -> RolloutPolicy:
    """This installation's policy for a rollout of `candidate`, by what differs from the stable generation.

    Raises:
        ConfigError: Its file cannot be read or is wrong.
    """
    return incremental_policy(settings) if commands.rows_only(state, candidate) else full_policy(settings)


def incremental_policy(settings: Settings) -> RolloutPolicy:
    """The policy of incremental versions' rollouts.

    Raises:
        ConfigError: Its file cannot be read or is wrong.
    """
    return _read(settings.rollout.incremental_policy, "rollout.incremental_policy", INCREMENTAL)


def release_checks(settings: Settings, state: ReleaseState, patience_seconds: float = PATIENCE_SECONDS) -> list[Check]:
    """What must be true of a generation that is released at once."""
    checks = checks_of(settings, state, patience_seconds)
    return [_tower_runs(state), *checks] if settings.rollout.backend == "kserve" else checks


def _tower_runs(state: ReleaseState) -> Check:
    """On KServe each full version has a predictor of its own, which the driver starts in a rollout alone."""
    target = target_of(state)
    running = {one.full_version for one in (target.stable, target.candidate, *target.held) if one}

    def check(manifest: Manifest) -> None:
        if manifest.full_version not in running:
            raise GateError(
                f"generation {manifest.id}: no predictor runs full version {manifest.full_version}, so it cannot "
                f"answer at once; `pagoda rollout start {manifest.id}` starts one and leads users over"
            )

    return check


def release_full(update: FullUpdate, catch_up: str = "", how: Release = Release.AUTO) -> Manifest:
    """Make the generation of a full update whose other steps are done, and release it or begin its rollout.

    The first generation of all is released at once, since there is nothing to compare it with; on a cluster the
    driver does that, which knows when the tower's pods hold it. Run again, it does nothing twice.

    Args:
        update: The full update.
        catch_up: See `full_steps.caught_up`.
        how: By a rollout, or at once.

    Returns:
        The generation that serves or is being rolled out.

    Raises:
        ConflictError: Another rollout has not finished.
        GateError: It was rolled back before and nobody says how it is to come back, or a check was not passed.
    """
    settings, log = update.settings, open_log(update.settings)
    # A scheduler makes the same key of the same window and parent again, and would bring back what people left.
    if how is Release.AUTO:
        _refuse_left(log.state(), update.version().version)
    own, state = full_steps.offer(update), log.state()
    rollout = _active(state)
    if rollout and state.generations[rollout.candidate].full_version == own.full_version:
        return state.generations[rollout.candidate]
    if state.champion != own.full_version:
        newest = full_steps.caught_up(update, catch_up)
        first = state.stable is None and settings.rollout.backend not in ON_CLUSTERS
        if first or not _by_rollout(settings, how):
            warning = state.warning_of(newest.id) if state.stable is None else ""
            reason = f"publish. {warning}" if warning else "publish"
            publish(log, newest.id, "stable", checks=release_checks(settings, log.state()), reason=reason)
        else:
            commands.start(log, newest.id, policy=full_policy(settings), by="full update")
            return newest
    write_aliases(log, open_registry(settings))
    return full_steps.newest(update)


def update_users(
    settings: Settings, dataset: str, now: datetime | None = None, how: Release = Release.AUTO
) -> dict[int, Done | Nothing]:
    """Bring what users did since the last update into every full version that serves or is about to.

    Without a rollout in progress each gets its own, with the short policy, or is published at once; see `Release`.
    During one of a full version, deltas go to both arms at once, each on its own base; a candidate without an arm goes
    on as its newer self.

    Returns:
        By the number of the full version.

    Raises:
        PagodaError: A step of one failed. Running it again finishes the job.
    """
    if not _by_rollout(settings, how):
        return incremental_steps.run_all(settings, dataset, now)
    state = open_log(settings).state()
    rollout = _active(state)
    # A quiet machine never has the requests that a rollout asks for: each delta would be trained and rolled back.
    if rollout is None and how is Release.AUTO and settings.rollout.incremental == "now":
        return incremental_steps.run_all(settings, dataset, now)
    if rollout and _is_incremental(state, rollout):
        reason = f"rollout {rollout.id} of {rollout.candidate} is {rollout.phase}; the next update learns this too"
        return {state.generations[rollout.candidate].full_version: Nothing(reason)}
    deliver = partial(_deliver, settings)
    return {base: incremental_steps.run(settings, dataset, base, now, deliver) for base in _bases(state, rollout)}


def tried(state: ReleaseState) -> tuple[list[datetime], list[datetime]]:
    """Until when full versions have learned that are being rolled out, were let go, or were left by a rollback, and
    until when the candidate of the rollout in progress has."""
    rollout = _active(state)
    gone = {versions_in(id_)[0] for id_ in state.retired} | _left(state)
    if rollout is None:
        return [state.versions[version].window.end for version in gone], []
    candidate = state.generations[rollout.candidate]
    versions = {*gone, candidate.full_version}
    return [state.versions[version].window.end for version in versions], [candidate.window.end]


def _refuse_left(state: ReleaseState, version: int) -> None:
    if version in _left(state):
        raise GateError(
            f"full version {version} (g{version} and what builds on it) was rolled back and is not released again by "
            f"itself; `pagoda publish g{version}` or `pagoda rollout start g{version}` brings it back"
        )


def _left(state: ReleaseState) -> set[int]:
    """Full versions that somebody rolled back from: stable once, and not what the champion or a candidate grew from."""
    rollout = _active(state)
    kept = [state.champion, state.generations[rollout.candidate].full_version if rollout else None]
    once = {versions_in(release.arms.stable)[0] for release in state.releases if release.arms.stable}
    return once.difference(*(_lineage(state, version) for version in kept))


def _lineage(state: ReleaseState, version: int | None) -> Iterator[int]:
    while version is not None:
        yield version
        version = state.versions[version].parent


def _deliver(settings: Settings, _update: IncrementalUpdate, manifest: Manifest) -> str:
    log = open_log(settings)
    checks, policy = checks_of(settings, log.state()), incremental_policy(settings)
    told = commands.deliver(log, manifest.id, policy=policy, by="incremental update", checks=checks)
    return "" if manifest.id in log.state().arms.serving else told


def _bases(state: ReleaseState, rollout: Rollout | None) -> list[int]:
    """Full versions that have an arm, and the one that waits for it."""
    ids = [id_ for arm in ARMS if (id_ := state.arms.of(arm))]
    if rollout and rollout.phase in BEFORE_ARM:
        ids.append(rollout.candidate)
    return list(dict.fromkeys(state.generations[id_].full_version for id_ in ids))


def _is_incremental(state: ReleaseState, rollout: Rollout) -> bool:
    previous = rollout.previous
    return previous is not None and (
        state.generations[previous].full_version == state.generations[rollout.candidate].full_version
    )


def _active(state: ReleaseState) -> Rollout | None:
    rollout = rollout_of(state)
    return rollout if rollout and rollout.active else None


def _read(said: str, key: str, otherwise: RolloutPolicy) -> RolloutPolicy:
    """The policy that a setting names, or, where pods share no files, is."""
    if said.lstrip().startswith("{"):
        return parse_policy(said, key)
    return read_policy(Path(said)) if said else otherwise


def _by_rollout(settings: Settings, how: Release) -> bool:
    return how is Release.ROLLOUT or (how is Release.AUTO and bool(settings.rollout.backend))
