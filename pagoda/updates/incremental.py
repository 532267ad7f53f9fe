"""The incremental update of a full version's users: resolve, train, check, register, make a generation, publish."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from pagoda.data.dataset import Dataset
from pagoda.data.mirror import open_local_or_mirrored
from pagoda.data.window import Window
from pagoda.errors import GateError
from pagoda.generations.arms import ARMS
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import incremental_key
from pagoda.settings import Settings
from pagoda.updates.step_outputs import StepOutputs, open_outputs


@dataclass(frozen=True)
class IncrementalUpdate:
    """One incremental update: this dataset, this window, over this base and chain.

    A step that is done already returns what it made; so the whole update can be run again after a crash.
    """

    settings: Settings
    dataset: str
    """Folder or URL."""
    window: Window
    base: int
    parent: int | None

    @property
    def key(self) -> str:
        """What makes two runs the same update."""
        return incremental_key(self.window, self.base, self.parent)

    @cached_property
    def outputs(self) -> StepOutputs:
        """What the steps make."""
        place = self.key.replace(":", "/")
        return open_outputs(f"{self.settings.artifacts_url}/{place}", self.settings.home / "work" / place)

    @cached_property
    def data(self) -> Dataset:
        """The opened dataset."""
        return open_dataset(self.settings, self.dataset)


@dataclass(frozen=True)
class Nothing:
    """An update that has nothing to do, and why."""

    reason: str


def open_dataset(settings: Settings, dataset: str) -> Dataset:
    """The dataset at a folder or URL, as it is now."""
    return open_local_or_mirrored(dataset, settings.home / "datasets")


def resolve(
    settings: Settings, dataset: str, base: int, now: datetime | None = None, *, lateness_seconds: float
) -> IncrementalUpdate | Nothing:
    """The update of one full version from its watermark to `now` less the lateness.

    Interactions of the last minute may have others before them that are still on their way, and what comes after its
    window was learned is left to the next full update. So a window ends a minute before now, and not a minute before
    the newest interaction: where nobody has done anything since, nothing is on its way, and the first click of an
    installation would be the newest for ever. Where no `now` is given and nothing but the last minute has a positive,
    that is learned at once: whoever asks for an update then waits for just this.

    Args:
        settings: Of this installation.
        dataset: Folder or URL.
        base: The full version.
        now: The present; None: the clock's, and everything there is where that is little.
        lateness_seconds: How long interactions may be on their way.

    Raises:
        RequestError: There is no such version.
        GateError: The full version has no generation that can serve.
    """
    data = open_dataset(settings, dataset)
    tip = tip_of(open_log(settings).state(), base)
    watermark, newest = tip.window.end, data.span().end
    settled = (now or datetime.now(UTC)) - timedelta(seconds=lateness_seconds)
    ends = [settled] if now else sorted({min(settled, newest), newest})
    for end in ends:
        if end > watermark and data.count(Window(start=watermark, end=end), events=data.spec.positives):
            window = Window(start=watermark, end=end)
            return IncrementalUpdate(settings, dataset, window, base, tip.incremental_version)
    if ends[-1] <= watermark:
        return Nothing(
            f"full version {base} has learned up to {watermark.isoformat()}, and now is {ends[-1].isoformat()}"
        )
    key = Window(start=watermark, end=ends[-1]).key
    return Nothing(f"no positive ({' or '.join(data.spec.positives)}) in window {key}")


def tip_of(state: ReleaseState, base: int) -> Manifest:
    """The generation that the next incremental of a full version builds on.

    What serves decides: after a rollback the next one builds on what was gone back to. A full version that no arm
    serves is caught up from the newest of its generations.

    Raises:
        RequestError: There is no such version.
        GateError: It has no generation that can serve.
    """
    state.version(base)
    arm = state.arm_of(base)
    if arm is not None:
        return state.generations[state.arms.of(arm) or ""]
    usable = [one for id_, one in state.generations.items() if one.full_version == base and id_ not in state.retired]
    if not usable:
        raise GateError(f"full version {base} has no generation that can serve; run its full update to the end")
    return max(usable, key=lambda manifest: manifest.order)


def live_bases(state: ReleaseState) -> Iterator[int]:
    """The full versions that answer requests, the stable arm's first: each has its own chain."""
    served = (state.arms.of(arm) for arm in ARMS)
    yield from dict.fromkeys(state.generations[id_].full_version for id_ in served if id_)


def scratch_of(settings: Settings, version: int) -> Path:
    """Where this machine keeps a version's files between updates."""
    return settings.home / "work" / "versions" / str(version)


def forget_pruned(settings: Settings, state: ReleaseState) -> None:
    """Remove this machine's copies of versions that retention has deleted, also in a run before this one."""
    for version, record in state.versions.items():
        if record.pruned:
            shutil.rmtree(scratch_of(settings, version), ignore_errors=True)
            shutil.rmtree(settings.home / "work" / record.key.replace(":", "/"), ignore_errors=True)
