"""What may be deleted: nothing that serves, that a rollback needs, or that training goes on from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from pagoda.append_log.records import Draft
from pagoda.generations.live import GRACE, live, seconds
from pagoda.generations.manifest import order_of, versions_in
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionRecord
from pagoda.registry.base import Registry
from pagoda.storage import copies


class RetentionPolicy(BaseModel):
    """How much of the past is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    full_versions: int = Field(3, ge=2)
    """Full versions that a rollback can return to, the stable one included; of each, the last generation that was
    stable. As many of the newest full versions keep their artifacts in any case."""
    grace: timedelta = GRACE
    """How long a generation stays live after it served."""


@dataclass(frozen=True)
class Removals:
    """What a policy lets go."""

    generations: tuple[str, ...]
    """To be retired."""
    collections: tuple[str, ...]
    versions: tuple[int, ...]
    """Whose artifacts and step outputs go; their lineage stays."""

    def __bool__(self) -> bool:
        return bool(self.generations or self.collections or self.versions)


def plan_retention(
    state: ReleaseState, now: datetime, policy: RetentionPolicy, collections: Collection[str] = ()
) -> Removals:
    """What could be removed now; nothing is changed.

    Args:
        state: What the log says.
        now: The present.
        policy: How much of the past is kept.
        collections: Names of the collections that exist; others than those of generations are never removed.
    """
    kept = _kept_generations(state, now, policy)
    needed = _needed_versions(state, kept, policy)
    # Incrementals share the collection of their base.
    ours = {state.generations[id_].collection for id_ in state.generations if versions_in(id_)[1] is None}
    in_use = {state.generations[id_].collection for id_ in kept}
    return Removals(
        generations=tuple(id_ for id_ in state.generations if id_ not in kept and id_ not in state.retired),
        collections=tuple(sorted(ours.intersection(collections) - in_use)),
        versions=tuple(n for n in state.versions if n not in needed and not state.versions[n].pruned),
    )


def carry_out_retention(
    log: ReleaseLog,
    registry: Registry,
    policy: RetentionPolicy,
    *,
    collections: Callable[[], Collection[str]],
    drop: Callable[[str], None],
    step_outputs: Callable[[VersionRecord], str],
) -> Removals:
    """Remove what can be removed. Killed anywhere, the next run goes on.

    First the log says that a generation is retired, so that nobody can publish it any more; only then its parts go.

    Args:
        log: The release log.
        registry: Where the versions' artifacts are.
        policy: How much of the past is kept.
        collections: Gives the names of the collections that exist.
        drop: Removes one; nothing happens if it is gone.
        step_outputs: Gives the URL of what the steps of a version's update left.

    Returns:
        What was removed.
    """
    existing = collections()
    planned = plan_retention(log.state(), log.now(), policy, existing)
    for id_ in planned.generations:
        _retire(log, id_, policy)
    # Another process may have asked for a generation meanwhile, which then was not retired.
    state = log.state()
    removals = plan_retention(state, log.now(), policy, existing)
    for name in removals.collections:
        drop(name)
    for number in removals.versions:
        registry.delete_artifacts(number)
        copies.delete(step_outputs(state.versions[number]))
    if removals.versions:
        log.append("pruned", {"versions": list(removals.versions)})
    retired = tuple(id_ for id_ in planned.generations if id_ in state.retired)
    return Removals(retired, removals.collections, removals.versions)


def sizes(registry: Registry, versions: Iterable[int], step_outputs: Callable[[VersionRecord], str]) -> int:
    """Bytes that the artifacts and step outputs of `versions` take."""
    total = 0
    for number in versions:
        record = registry.get(number)
        total += sum(copies.size(uri) for uri in (record.uri, record.state_uri, step_outputs(record)) if uri)
    return total


def _retire(log: ReleaseLog, id_: str, policy: RetentionPolicy) -> None:
    def decide(state: ReleaseState) -> Draft | None:
        if id_ in _kept_generations(state, log.now(), policy) or id_ in state.retired:
            return None
        return Draft(kind="retired", body={"generation": id_})

    log.commit(decide)


def _kept_generations(state: ReleaseState, now: datetime, policy: RetentionPolicy) -> set[str]:
    """Live ones, the last stable one of each full version that a rollback may return to, candidates, and what channels
    of these ask."""
    stable = order_of(state.stable) if state.stable else (0, 0)
    latest = {versions_in(id_)[0]: id_ for id_ in state.trail}  # later ones replace earlier ones
    targets = list(latest.values())[-policy.full_versions :]
    kept = {*targets, *(id_ for id_ in state.generations if order_of(id_) > stable)}
    # Live ones are there with what they ask; that asks nothing itself.
    return {*live(state, now, policy.grace), *kept, *seconds(state, kept)} - state.retired


def _needed_versions(state: ReleaseState, kept: set[str], policy: RetentionPolicy) -> set[int]:
    newest = [number for number, record in state.versions.items() if record.update == "full"][-policy.full_versions :]
    needed = set(newest)
    for id_ in kept:
        manifest = state.generations[id_]
        needed |= {manifest.full_version, *(segment.version for segment in manifest.segments)}
    # An incremental that no generation has yet goes on from its parents' segments.
    offered = {versions_in(id_)[1] for id_ in state.generations}
    for number, record in state.versions.items():
        if record.base in needed and number not in offered:
            link: VersionRecord | None = record
            while link is not None and link.version not in needed:
                needed.add(link.version)
                link = state.versions[link.parent] if link.parent else None
    return needed
