"""Collections that are in memory for as long as a generation may serve from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pagoda.generations.manifest import Manifest, generation_id, versions_in
from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import Target


class Shelf(Protocol):
    """The calls of `pagoda.index.base.Collections` that a rollout needs."""

    def exists(self, name: str) -> bool:
        """Whether there is a collection."""

    def loaded(self, name: str) -> bool:
        """Whether all of it is in memory."""

    def start_loading(self, name: str) -> None:
        """Ask for it in memory."""

    def release(self, name: str) -> None:
        """Take it out of memory."""


class Shelving:
    """Keeps the collections of one backend as targets say."""

    def __init__(self, shelf: Shelf, state: Callable[[], ReleaseState]) -> None:
        """Nothing is asked yet.

        Args:
            shelf: The collections.
            state: What the release log says now.
        """
        self._shelf, self._state = shelf, state
        self._let_go: set[str] = set()

    def follow(self, target: Target) -> None:
        """Load what the target names, and let go of what can never serve again.

        Raises:
            UnavailableError: The index does not answer.
        """
        for manifest in target.generations:
            if not self._shelf.loaded(manifest.collection) and self._shelf.exists(manifest.collection):
                self._shelf.start_loading(manifest.collection)
        for name in self._idle():
            if self._shelf.loaded(name):
                self._shelf.release(name)
            self._let_go.add(name)

    def _idle(self) -> list[str]:
        """Collections that can never serve again: every generation of their full version is retired."""
        state = self._state()
        alive = {versions_in(id_)[0] for id_ in state.generations if id_ not in state.retired}
        gone = {versions_in(id_)[0] for id_ in state.retired} - alive
        names = [state.generations[generation_id(version)].collection for version in sorted(gone)]
        return [name for name in names if name not in self._let_go]


def missing_collection(shelf: Shelf, manifest: Manifest) -> list[str]:
    """What keeps a generation's collection from being searched: one sentence, or none.

    Raises:
        UnavailableError: The index does not answer.
    """
    if shelf.loaded(manifest.collection):
        return []
    state = "loaded" if shelf.exists(manifest.collection) else "there"
    return [f"collection {manifest.collection} is not {state}"]
