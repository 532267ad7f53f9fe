"""A server killed at any step of a publish: the old generation serves, and the next run completes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from demos.client import RecallClient
from pagoda.access.tokens import token_for
from pagoda.errors import PagodaError
from pagoda.registry.checks import checks_of
from pagoda.registry.generations import add_incremental
from pagoda.registry.open import open_registry
from pagoda.registry.publish import publish, write_aliases
from pagoda.registry.store import FolderStore
from pagoda.registry.versions import VersionDraft

from .homes import Home, healthy, kill, wait_for
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
    with RecallClient(home.settings.recall.url, token_for(home.settings, "ask")) as client:
        try:
            return str(client.recall([1], 10)[0]["generation"])
        except Exception:
            return ""


@pytest.mark.parametrize(
    ("victim", "first", "stride"),
    [
        # Of 18 steps, the 15th records the generation that the host is to bring.
        ("follower", 15, 1000),
        ("worker", 15, 1000),
        *(pytest.param(victim, 1, 1, marks=pytest.mark.long) for victim in SERVICE),
    ],
)
def test_killed_at_a_step(served: Home, tmp_path: Path, victim: str, first: int, stride: int) -> None:
    for step in itertools.count(first, stride):
        before = served.state()
        draft = served.draft(tmp_path / str(step), USERS)
        with pytest.MonkeyPatch.context() as patch, Traffic(served.settings, USERS, rate=5) as traffic:
            steps = Steps(patch, step, lambda: kill(served.platform, SERVICE[victim], PART.get(victim, "")))
            try:
                publish_all(served, draft)
            except PagodaError:
                assert victim != "follower"
        assert steps.count >= first, "nothing was killed: no publish has so many steps"
        # Requests need neither the follower nor the registry.
        assert not traffic.problems or victim in ("worker", "torchserve")
        state = served.state()
        made = state.by_key(draft.key)
        allowed = {before.stable, made and f"g{made.base}.{made.version}"}
        assert state.stable in allowed
        assert wait_for(lambda: answers(served)) in allowed
        wait_for(lambda: healthy(served.platform, SERVICE[victim]))
        publish_all(served, draft)
        state = served.state()
        made = state.by_key(draft.key)
        assert made is not None and state.stable == f"g{made.base}.{made.version}"
        assert len(state.versions) == len(before.versions) + 1
        wait_for(lambda: answers(served) == served.state().stable)
        if step > steps.count or stride > steps.count:
            return
