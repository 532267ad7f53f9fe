"""A server killed or a file damaged at any step of a publish: the old generation serves, the next run completes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from pagoda.append_log.store import FolderStore
from pagoda.client import Client
from pagoda.embeddings.tables import Inspection
from pagoda.errors import PagodaError
from pagoda.generations.creation import add_incremental
from pagoda.generations.holding import read_holding
from pagoda.generations.versions import VersionDraft
from pagoda.registry.factory import open_registry
from pagoda.registry.publish import publish, write_aliases
from pagoda.storage.checksums import checksum_file
from pagoda.updates.readiness import checks_of
from serving.tower.archive import archive_name
from tests.waiting import wait_for

from .homes import Home, healthy, kill
from .traffic import Traffic

pytestmark = pytest.mark.integration
SERVICE = {"worker": "torchserve", "torchserve": "torchserve", "follower": "follower", "registry": "mlflow"}
PART = {"worker": "model_service_worker"}
"""TorchServe's Python workers, without their server."""
USERS = (1, 2, 3)
STEPS = ((FolderStore, "put"), (HTTPAdapter, "send"))
"""What reaches outside while a version is registered and published: records of the log, requests to MLflow."""


class Steps:
    """Counts the steps of a publish, and does something once, before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], None]) -> None:
        self.count, self._at, self._act = 0, at, act
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name)))

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self._at:
                self._act()
            return call(*arguments, **options)

        return guarded


def publish_all(home: Home, draft: VersionDraft) -> None:
    """All of an incremental update that comes after training."""
    registry, log = open_registry(home.settings), home.log
    manifest = add_incremental(log, registry.register(draft).version)
    publish(log, manifest.id, checks=checks_of(home.settings, log.state()), reason="incremental")
    write_aliases(log, registry)


def answers(home: Home) -> str:
    """The generation that answers a request, empty while none does."""
    with Client(home=home.settings.home, patience=0) as client:
        try:
            return client.recommend(1, k=10).generation
        except Exception:
            return ""


@pytest.mark.parametrize(
    ("victim", "first", "stride"),
    [
        # Of 18 steps, the 15th records the generation that the host is to bring.
        ("follower", 15, 1000),
        *(pytest.param(victim, 1, 1, marks=pytest.mark.long) for victim in SERVICE),
    ],
)
def test_killed_at_a_step(served: Home, tmp_path: Path, victim: str, first: int, stride: int) -> None:
    def act() -> None:
        kill(served.platform, SERVICE[victim], PART.get(victim, ""))

    for step in itertools.count(first, stride):
        with Traffic(served.settings, USERS, rate=5) as traffic:
            steps = publish_disturbed(served, tmp_path / str(step), step, act, fails=victim != "follower")
        assert steps >= first, "nothing was killed: no publish has so many steps"
        # Requests need neither the follower nor the registry.
        assert not traffic.problems or victim in ("worker", "torchserve")
        wait_for(lambda: healthy(served.platform, SERVICE[victim]))
        if step > steps or stride > steps:
            return


def publish_disturbed(home: Home, folder: Path, step: int, act: Callable[[], None], *, fails: bool) -> int:
    """Publish a delta, do something before one of the steps, publish again; the number of steps that there were.

    Whatever answers meanwhile is the old generation or the new one, and in the end it is the new one.
    """
    before = home.state()
    draft = home.draft(folder, USERS)
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch, step, act)
        try:
            publish_all(home, draft)
        except PagodaError:
            assert fails
    state = home.state()
    made = state.by_key(draft.key)
    allowed = {before.stable, made and f"g{made.base}.{made.version}"}
    assert state.stable in allowed
    assert wait_for(lambda: answers(home)) in allowed
    wait_for(lambda: healthy(home.platform, SERVICE["registry"]))  # Which answers nobody, and the next run needs.
    publish_all(home, draft)
    state = home.state()
    made = state.by_key(draft.key)
    assert made is not None and state.stable == f"g{made.base}.{made.version}"
    assert len(state.versions) == len(before.versions) + 1
    wait_for(lambda: answers(home) == home.state().stable)
    return steps.count


DAMAGED = {
    "users": "tables/full/*/users/rows.npy",
    "items": "tables/full/*/items/ids.npy",
    "segment": "tables/segments/*/rows.npy",
    "record": "tables/generations/*.json",
    "archive": "archives/*.mar",
}
"""Files on the tower's host, below home."""


def damage(home: Home, part: str) -> None:
    """Overwrite the end of a file; a server that has its model in memory is started again, to read the archive."""
    path = max(home.platform.home.glob(DAMAGED[part]), key=lambda one: one.stat().st_mtime_ns)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\xff\xfe\xfd\xfc")
    if part == "archive":
        kill(home.platform, "torchserve")


@pytest.mark.parametrize(
    ("part", "first", "stride"),
    [
        ("segment", 15, 1000),
        *(pytest.param(part, 1, 1, marks=pytest.mark.long) for part in DAMAGED),
    ],
)
def test_a_file_damaged_at_a_step(served: Home, tmp_path: Path, part: str, first: int, stride: int) -> None:
    for step in itertools.count(first, stride):
        steps = publish_disturbed(served, tmp_path / str(step), step, lambda: damage(served, part), fails=True)
        assert steps >= first, "nothing was damaged: no publish has so many steps"
        wait_for(lambda: healthy(served.platform, "torchserve"))
        wait_for(lambda: whole(served))
        if step > steps or stride > steps:
            return


def whole(home: Home) -> bool:
    """Whether everything on the tower's host is again what the manifests say."""
    state, folder = home.state(), home.settings.tables_folder
    bases = {one.full_version: one.base.checksum for one in state.generations.values()}
    stable = state.generation(state.stable or "")
    archive = home.platform.home / "archives" / archive_name(stable.full_version)
    held = read_holding(folder)
    return (
        held is not None
        and stable.id in held.held
        and not Inspection(folder).look(bases)
        and archive.exists()
        and checksum_file(archive, stable.tower.checksum) == stable.tower.checksum
    )
