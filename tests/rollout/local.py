"""The local backend over a follower's word, a tower and a vector database that only remember."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pagoda.errors import UnavailableError
from pagoda.generations.holding import Holding
from pagoda.generations.live import live
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import BackendStatus, Target
from pagoda.rollout.backends.local.backend import LocalBackend
from pagoda.rollout.backends.shelving import missing_collection
from pagoda.settings import CollectionConfig


class Shelf:
    """Collections by name: on disk from the start, in memory when asked for."""

    def __init__(self, machine: Machine) -> None:
        self.disk = {f"recall_v{version}" for version in range(1, 100)}
        self.memory = {"recall_v1", "recall_v2"}
        self._machine = machine

    def exists(self, name: str) -> bool:
        self._machine.answer()
        return name in self.disk

    def loaded(self, name: str) -> bool:
        self._machine.answer()
        return name in self.memory

    def start_loading(self, name: str) -> None:
        self._machine.reach("inside apply")
        self.memory.add(name)
        self._machine.reach("inside apply")

    def release(self, name: str) -> None:
        self._machine.reach("inside apply")
        self.memory.discard(name)
        self._machine.reach("inside apply")


class Machine:
    """Stands where `worlds.Servers` does, with the real backend in the middle."""

    def __init__(self, folder: Path, log: ReleaseLog) -> None:
        self.folder, self.log, self.free = folder, log, 8 << 30
        self.down = False
        self.hook: Callable[[str], None] = lambda _: None
        self.shelf = Shelf(self)

    def process(self) -> LocalBackend:
        """The backend as another process has it."""
        return LocalBackend(
            self.shelf,
            self._probe,
            index=CollectionConfig(),
            tower_url="http://tower",
            tables=self.folder,
            memory=self.folder / "rollout" / "applied",
            state=self.log.state,
            free_bytes=lambda: self.free,
        )

    def say(self, held: tuple[str, ...], refused: dict[str, str] | None = None) -> None:
        """What a follower says."""
        Holding(head=0, current=None, held=held, refused=refused or {}).write(self.folder)

    def follow(self) -> None:
        """The follower looks at the log, and brings and takes away what that says."""
        self.say(held=tuple(sorted(live(self.log.state(), self.log.now()))) or ("g1", "g2"))

    def bring(self, _id: str) -> None:
        """What a follower does as soon as a generation is there."""
        self.follow()

    def whole(self, id_: str) -> bool:
        """Whether a generation can answer."""
        held = Holding.model_validate_json((self.folder / "follower.json").read_bytes()).held
        return id_ in held and self.log.state().generations[id_].collection in self.shelf.memory

    def settled(self, state: ReleaseState) -> bool:
        """Whether the stable generation is whole, and no collection stays of what was let go."""
        stable = state.generation(state.stable or "")
        known = {manifest.collection for manifest in state.generations.values()}
        let_go = {state.generations[id_].collection for id_ in state.retired} - {stable.collection}
        return self.whole(stable.id) and self.shelf.memory <= known - let_go

    def preflight(self, wanted: Target) -> list[str]:
        return self.process().preflight(wanted)

    def apply(self, wanted: Target) -> None:
        self.follow()
        self.reach("before apply")
        self.process().apply(wanted)
        self.follow()
        self.reach("after apply")

    def status(self, wanted: Target) -> BackendStatus:
        self.reach("status")
        return self.process().status(wanted)

    def answer(self) -> None:
        """Answer, unless the servers are down."""
        if self.down:
            raise UnavailableError("the servers are down")

    def reach(self, place: str) -> None:
        """A point at which a driver may crash, stall or find the servers down."""
        self.answer()
        self.hook(place)

    def _probe(self, manifest: Manifest, _address: str) -> list[str]:
        return missing_collection(self.shelf, manifest)
