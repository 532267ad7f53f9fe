"""Stand-ins for the servers behind recall, for what cannot be provoked in real ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from pagoda.append_log.records import Record
from pagoda.data.spec import FeatureSpec
from pagoda.errors import NotHeldError
from pagoda.generations.arms import Arms
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.item_vectors.filter import Filter
from pagoda.rollout.measures.outcomes import TakenEvent
from pagoda.rollout.online_gates import OnlineGates
from pagoda.rollout.policy import RolloutPolicy, ShadowStep, Step
from pagoda.rollout.state import events as ev
from pagoda.rollout.state.split import Split
from serving.http.fields import PastItems
from serving.recall.api import Prediction, RecalledItem
from serving.recall.request.arm_timing import ArmTiming
from serving.recall.servers.tower import UserVectors
from serving.users.keys import Key
from serving.users.online_store import StoredUser

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
    others: tuple[Record, ...] = ()

    def state(self) -> ReleaseState:
        """What the log says now."""
        generations = {one.id: one for one in self.manifests}
        return ReleaseState(generations=generations, arms=self.arms, others=self.others)

    def try_out(self, percent: int, *, shadow: bool = False, online: OnlineGates | None = None) -> None:
        """A rollout of g4 has got to its canary step of `percent`, or to its shadow; 0: it is verified."""
        policy = RolloutPolicy(
            steps=(Step(percent=1 if shadow else percent or 1),),
            shadow=ShadowStep(percent=percent) if shadow else None,
            online=online or OnlineGates(),
        )
        events: list[ev.Event] = [ev.Started(candidate="g4", previous="g3", policy=policy, by="test"), ev.Verified()]
        if percent:
            events.append(ev.Shadowed() if shadow else ev.Stepped(step=0))
        self.arms = Arms(stable="g3", canary="g4" if percent and not shadow else None)
        self.others = tuple(_record(number, event) for number, event in enumerate(events, 7))

    def as_log(self) -> ReleaseLog:
        """For those who want the real type."""
        return cast(ReleaseLog, SimpleNamespace(state=self.state))


def _record(number: int, event: ev.Event) -> Record:
    body = event.model_dump(mode="json", exclude={"kind"})
    return Record(number=number, kind=ev.PREFIX + event.kind, at=datetime(2026, 1, 1, tzinfo=UTC), token="", body=body)


@dataclass
class FakeLedger:
    """Remembers."""

    timings: list[tuple[ArmTiming, Sequence[Prediction] | None]] = field(default_factory=list)

    def take(self, timing: ArmTiming, predictions: Sequence[Prediction] | None = None) -> None:
        """As the real one."""
        self.timings.append((timing, predictions))

    def note(self, split: Split, events: Sequence[TakenEvent]) -> None:
        """As the real one."""


async def _at_once(_: str) -> None:
    pass


@dataclass
class FakeStore:
    """Knows the users it is given."""

    users: dict[Key, StoredUser] = field(default_factory=dict)

    async def read(self, users: Sequence[tuple[Key, bool]], *_: FeatureSpec) -> list[StoredUser]:
        """As Redis would."""
        return [self.users.get(user, StoredUser({}, PastItems(), ())) for user, _ in users]


@dataclass
class FakeTower:
    """Holds some generations; a user's vector names the generation, so that mixtures show."""

    held: set[str]
    asked: list[tuple[int, str, list[dict[str, Any]]]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    wait: Callable[[str], Awaitable[None]] = _at_once
    """Told the generation; may take its time, or fail."""

    async def vectors(
        self, full_version: int, generation: str, instances: Sequence[dict[str, Any]]
    ) -> list[UserVectors]:
        """As the tower's server would."""
        self.before()
        await self.wait(generation)
        self.asked.append((full_version, generation, list(instances)))
        if generation not in self.held:
            raise NotHeldError(f"generation {generation} is not held")
        return [UserVectors(([float(full_version), 0.0],), one["user_id"] != 404) for one in instances]


@dataclass
class FakeIndex:
    """Gives two items whose IDs name the collection and the vector's generation."""

    asked: list[tuple[str, Filter, tuple[int, ...]]] = field(default_factory=list)
    """Collection, filter and the items that must not come back."""
    queries: list[list[float]] = field(default_factory=list)
    held: dict[int, list[float]] = field(default_factory=dict)
    """Vectors of items, by ID."""
    items: int = 2
    ids: Sequence[int] = ()
    """Given instead, where there are some."""

    async def search(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        k: int,
        *,
        wanted: Filter,
        excluded: tuple[int, ...],
        **_: bool,
    ) -> list[list[RecalledItem]]:
        """As a backend would."""
        self.asked.append((collection, wanted, excluded))
        self.queries.extend(map(list, vectors))
        if self.ids:
            return [[{"item_id": item, "score": 0.5} for item in self.ids[:k]] for _ in vectors]
        count = range(min(k, self.items))
        return [[{"item_id": f"{collection}/{vector[0]:.0f}", "score": 0.5} for _ in count] for vector in vectors]

    async def vectors(self, _: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """As a backend would."""
        return {item: self.held[item] for item in ids if item in self.held}


class FakeText:
    """Searches words: finds what it is told, or fails."""

    def __init__(self, *found: tuple[int, float]) -> None:
        self.found, self.error, self.asked = found, None, list[Any]()

    error: Exception | None

    async def __call__(
        self, collection: str, text: str, k: int, *, wanted: Filter, excluded: tuple[int, ...], keys: bool
    ) -> list[RecalledItem]:
        self.asked.append((collection, text, k, wanted, excluded, keys))
        if self.error:
            raise self.error
        return [{"item_id": item, "score": score} for item, score in self.found]
