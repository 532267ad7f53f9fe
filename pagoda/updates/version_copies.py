"""This machine's copies of versions: what updates fetched, and keep for the updates after them."""

from __future__ import annotations

import shutil

from pagoda.generations.state import ReleaseState
from pagoda.settings import Settings
from pagoda.updates.incremental import scratch_of


def forget_pruned(settings: Settings, state: ReleaseState) -> None:
    """Remove the copies of versions whose artifacts retention has deleted, also in a run before this one."""
    for version, record in state.versions.items():
        if record.pruned:
            shutil.rmtree(scratch_of(settings, version), ignore_errors=True)
            shutil.rmtree(settings.home / "work" / record.key.replace(":", "/"), ignore_errors=True)
