"""Stand-ins for the servers behind recall, for what cannot be provoked in real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from pagoda.data.spec import FeatureSpec
from pagoda.errors import NotHeldError
from pagoda.registry.arms import Arms
from pagoda.registry.log import ReleaseLog
from pagoda.registry.manifest import Artifact, Manifest
from pagoda.registry.state import ReleaseState
from serving.recall.api import RecalledItem
from serving.recall.store import Key, StoredUser
from serving.recall.tower import UserVector

from .worlds import WINDOW, make_spec

NOTHING = Artifact(uri="nowhere", checksum="xxh3:0")


def manifest(full: int, spec: FeatureSpec | None = None) -> Manifest:
    """A manifest whose parts exist only in name."""
    return Manifest(
        id=f"g{full}",
        full_version=full,
        base=NOTHING,
        tower=NOTHING,
        item_vectors=NOTHING,
        collection=f"items_{full}",
        dim=2,
        item_count=3,
        spec=spec or make_spec(),
        window=WINDOW,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@dataclass
class FakeLog:
    """A release log whose state a test sets."""

    manifests: list[Manifest]
    arms: Arms = field(default_factory=Arms)

    def state(self) -> ReleaseState:
        """What the log says now."""
        return ReleaseState(generations={one.id: one for one in self.manifests}, arms=self.arms)

    def as_log(self) -> ReleaseLog:
        """For those who want the real type."""
        return cast(ReleaseLog, SimpleNamespace(state=self.state))


@dataclass
class FakeStore:
    """Knows the users it is given."""

    users: dict[Key, StoredUser] = field(default_factory=dict)

    async def read(self, users: Sequence[tuple[Key, bool]], *_: FeatureSpec) -> list[StoredUser]:
        """As Redis would."""
        return [self.users.get(user, StoredUser({}, (), ())) for user, _ in users]


@dataclass
class FakeTower:
    """Holds some generations; a user's vector names the generation, so that mixtures show."""

    held: set[str]
    asked: list[tuple[int, str, list[dict[str, Any]]]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVector]:
        """As the tower's server would."""
        self.before()
        self.asked.append((full_version, generation, list(instances)))
        if generation not in self.held:
            raise NotHeldError(f"generation {generation} is not held")
        return [UserVector([float(full_version), 0.0], one["user_id"] != 404) for one in instances]


@dataclass
class FakeIndex:
    """Gives two items whose IDs name the collection and the vector's generation."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    selective: list[bool] = field(default_factory=list)
    items: int = 2

    async def search(
        self, collection: str, vector: Sequence[float], k: int, *, expression: str, selective: bool, **_: bool
    ) -> list[RecalledItem]:
        """As Milvus would."""
        self.asked.append((collection, expression))
        self.selective.append(selective)
        return [{"item_id": f"{collection}/{vector[0]:.0f}", "score": 0.5}] * min(k, self.items)
