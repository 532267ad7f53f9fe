"""The steps of a full update, each keyed by window and parent version and safe to kill and run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.mirror import open_local_or_mirrored
from pagoda.data.window import Window, parse_moment
from pagoda.errors import ConfigError, ConflictError, DataError, GateError
from pagoda.generations.manifest import require_backend
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionRecord, full_key
from pagoda.index.factory import require_words
from pagoda.registry.factory import open_registry
from pagoda.settings import Settings
from pagoda.storage.atomic import build_folder
from pagoda.storage.copies import download, local_path
from pagoda.updates.step_outputs import StepOutputs, open_outputs
from pagoda.version_files.full import FullVersionFiles

MODEL, PARENT = "model", "parent"
"""Folders of a full update: what it trained, and what that starts from."""


@dataclass(frozen=True)
class FullUpdate:
    """One full update: this dataset, this window, from this parent.

    A step that is done already returns what it made; so the whole update can be run again after a crash.
    """

    settings: Settings
    dataset: str
    """Folder or URL."""
    window: Window
    parent: int | None
    shards: int = 1
    """Parts in which the item vectors are exported, on a cluster each by a pod of its own."""

    @classmethod
    def resolve(cls, settings: Settings, dataset: str, window_end: str, shards: int = 1) -> FullUpdate:
        """The update from the champion's window end to `window_end` (empty: to the last interaction).

        When the champion ends there already, it is the champion's own update, all of whose steps are done.

        Raises:
            DataError: There is nothing after the champion's window, or before `window_end` at all.
            GateError: The version that this makes is there already, and was let go; or what serves is in another search
                backend than the settings'.
            ConfigError: `window_end` is no moment with a zone, there is no shard, or `index.text` is set and the
                search backend's server searches no words.
            UnavailableError: With `index.text`, that server does not answer.
        """
        if shards < 1:
            raise ConfigError(f"export_shards {shards}: must be at least 1")
        require_words(settings)
        data = open_local_or_mirrored(dataset, settings.home / "datasets")
        span = data.span()
        end = parse_moment(window_end, "window_end") if window_end else span.end
        state = open_log(settings).state()
        if state.champion is None:
            if end <= span.start:
                raise DataError(
                    f"nothing to learn: the first interaction is of {span.start.isoformat()}, and the window would end "
                    f"at {end.isoformat()}"
                )
            return cls(settings, dataset, Window(start=span.start, end=end), None, shards)
        require_backend(state.generation(state.stable or ""), settings.index.backend, "and this update would build")
        champion = state.versions[state.champion]
        if champion.window.end == end:
            return cls(settings, dataset, champion.window, champion.parent, shards)
        if champion.window.end > end:
            raise DataError(
                f"nothing to learn: version {champion.version} has learned up to {champion.window.end.isoformat()}, "
                f"and the window would end at {end.isoformat()}"
            )
        window = Window(start=champion.window.end, end=end)
        data.require(window, events=data.spec.positives)
        update = cls(settings, dataset, window, champion.version, shards)
        _refuse_retired(state, update.key)
        return update

    @classmethod
    def of(cls, settings: Settings, description: Mapping[str, Any]) -> FullUpdate:
        """The update that `describe` described, in another process."""
        window = Window(start=description["start"], end=description["end"])
        parent = int(description["parent"]) or None
        return cls(settings, str(description["dataset"]), window, parent, int(description.get("shards", 1)))

    def describe(self) -> dict[str, str]:
        """What another process needs to go on, as strings that any artifact's metadata can hold."""
        return {
            "dataset": self.dataset if local_path(self.dataset) is None else str(self.data.path.resolve()),
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "parent": str(self.parent or 0),
            "shards": str(self.shards),
            "key": self.key,
        }

    def processes_here(self, config: TrainConfig) -> int:
        """How many processes share what a step does beside training: those that train, unless a job's pods do."""
        return 1 if self.settings.training.jobs else config.distributed.processes

    @property
    def key(self) -> str:
        """What makes two runs the same update."""
        return full_key(self.window, self.parent)

    @cached_property
    def outputs(self) -> StepOutputs:
        """What the steps make."""
        return open_outputs(f"{self.settings.artifacts_url}/{self._place}", self.scratch)

    @property
    def scratch(self) -> Path:
        """A folder of this machine alone."""
        return self.settings.home / "work" / self._place

    @property
    def _place(self) -> str:
        return self.key.replace(":", "/")

    @cached_property
    def data(self) -> Dataset:
        """The opened dataset."""
        return open_local_or_mirrored(self.dataset, self.settings.home / "datasets")

    def version(self) -> VersionRecord:
        """The registered version.

        Raises:
            ConflictError: The update is not registered yet.
        """
        record = open_log(self.settings).state().by_key(self.key)
        if record is None:
            raise ConflictError(f"{self.key} is not registered yet; run its register step first")
        return record

    def files(self) -> FullVersionFiles:
        """What training made.

        Raises:
            ConflictError: The version is not trained yet.
        """
        folder = self.outputs.get(MODEL)
        return FullVersionFiles(folder / "version", folder / "state")

    def parent_files(self) -> FullVersionFiles | None:
        """The version that training starts from, its files fetched once."""
        if self.parent is None:
            return None
        registry, folder = open_registry(self.settings), self.scratch / PARENT
        return FullVersionFiles(
            registry.fetch(self.parent, folder / "version"), registry.fetch_state(self.parent, folder / "state")
        )

    def step(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of a step, which `make` fills, at most once."""

        def build(folder: Path) -> None:
            with build_folder(folder) as aside:
                make(aside)

        return self.outputs.make(name, build)

    def fetched(self, name: str, place: str) -> Path:
        """A file from elsewhere, path or URL, on this machine."""
        path = local_path(place)
        if path is None:
            download(place, path := self.scratch / name)
        return path


def _refuse_retired(state: ReleaseState, key: str) -> None:
    """One window from one parent makes one version; once that was let go, all steps would end in no generation."""
    version = state.by_key(key)
    own = {id_ for id_, one in state.generations.items() if version and one.full_version == version.version}
    if version and own and own <= state.retired:
        raise GateError(
            f"nothing to learn: version {version.version} has learned this window, was rolled back and is retired; "
            "run the update again when there are newer interactions, or with another window_end"
        )
