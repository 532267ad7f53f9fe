"""What became of a version: the generation that it made, and where that serves."""

from __future__ import annotations

from typing import Any

from pagoda.generations.arms import ARMS
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionRecord


def standing_of(state: ReleaseState, record: VersionRecord) -> tuple[str | None, str]:
    """The generation that a version made, None before it made one; and its arms, `champion`, `retired`, `pruned` or
    nothing."""
    increment = record.version if record.update == "incremental" else None
    ids = [build.id for build in state.builds(record.full_version, increment)]
    if not ids:
        return None, "pruned" if record.pruned else ""
    id_ = next((id_ for id_ in ids if id_ in state.arms.serving), ids[-1])
    if arms := [arm for arm in ARMS if state.arms.of(arm) == id_]:
        return id_, ", ".join(arms)
    if state.champion == record.version:
        return id_, "champion"  # An incremental on it is stable.
    return id_, "pruned" if record.pruned else "retired" if id_ in state.retired else ""


def as_json(state: ReleaseState, record: VersionRecord) -> dict[str, Any]:
    """A version and what became of it, for scripts and pages."""
    id_, standing = standing_of(state, record)
    shown = record.model_dump(mode="json", exclude={"files", "state_files"})
    return {**shown, "generation": id_, "standing": standing}
