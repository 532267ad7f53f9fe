"""A plan in words: what would serve instead of what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pagoda.generations.arms import ARMS
from pagoda.generations.manifest import Manifest
from pagoda.generations.state import ReleaseState
from pagoda.registry.publish import Plan


@dataclass(frozen=True)
class Change:
    """One thing that a plan changes; empty text is nothing."""

    arm: str
    what: str
    before: str
    after: str


def changes_of(state: ReleaseState, plan: Plan) -> list[Change]:
    """What differs between now and after the plan, arm by arm; nothing when it changes nothing."""
    found = []
    for arm in ARMS:
        before, after = plan.before.of(arm), plan.after.of(arm)
        if before == after:
            continue
        now, then = dict(_facts(state, before)), dict(_facts(state, after))
        for what in now or then:
            pair = now.get(what, ""), then.get(what, "")
            if pair[0] != pair[1]:
                found.append(Change(arm, what, *pair))
    return found


def _facts(state: ReleaseState, id_: str | None) -> Iterator[tuple[str, str]]:
    if id_ is None:
        return
    manifest = state.generations[id_]
    yield "generation", id_
    yield "full version", str(manifest.full_version)
    yield "incremental version", str(manifest.incremental_version or "")
    yield "overlay", _overlay(manifest)
    yield "collection", manifest.collection
    yield "items", f"{manifest.item_count:,}"
    yield "learned up to", f"{manifest.window.end:%Y-%m-%d %H:%M:%S}"
    yield "recall@50", f"{recall:.4f}" if (recall := _recall(state, manifest)) is not None else ""


def _overlay(manifest: Manifest) -> str:
    rows = sum(segment.rows for segment in manifest.segments)
    return f"{len(manifest.segments)} segments, {rows:,} rows"


def _recall(state: ReleaseState, manifest: Manifest) -> float | None:
    return state.versions[manifest.full_version].metrics.get("recall@50")
