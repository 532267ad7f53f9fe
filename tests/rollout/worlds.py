"""A log in memory, servers that only remember, and metrics that say what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.errors import ConflictError, UnavailableError
from pagoda.generations.arms import ARMS
from pagoda.generations.manifest import MILVUS, Artifact, Manifest, Mixture, SegmentRef, generation_id
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionRecord
from pagoda.rollout.backends.base import BackendStatus, Readiness, Target
from pagoda.rollout.driver import Driver
from pagoda.rollout.measures.base import ArmMeasure, Measures, Requests, UserSums
from pagoda.rollout.measures.offline_evidence import OfflineEvidence, RecallRows, VectorReport
from pagoda.rollout.policy import RolloutPolicy, Step

START = datetime(2026, 11, 22, tzinfo=UTC)
WINDOW = Window(start=START - timedelta(days=2), end=START - timedelta(days=1))
SPEC = FeatureSpec()


class Clock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MemoryStore:
    """Records that are created once."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        if name in self.blobs:
            raise ConflictError(name)
        self.blobs[name] = content

    def read(self, names: Sequence[str]) -> list[bytes]:
        found = []
        for name in names:
            if name not in self.blobs:
                break
            found.append(self.blobs[name])
        return found


def add_full(
    log: ReleaseLog,
    version: int,
    tags: dict[str, str] | None = None,
    mixture: Mixture | None = None,
    *,
    backend: str = MILVUS,
) -> str:
    """Register a full version and record its generation."""
    _register(log, version, None, None, tags or {})
    artifact = Artifact(uri=f"/versions/{version}", checksum="xxh3:0")
    manifest = Manifest(
        id=generation_id(version),
        full_version=version,
        base=artifact,
        tower=artifact.model_copy(update={"uri": f"s3://towers/{version}"}),
        item_vectors=artifact,
        mixture=mixture,
        collection=f"recall_v{version}",
        backend=backend,
        dim=8,
        item_count=100,
        spec=SPEC,
        window=WINDOW,
        created_at=log.now(),
    )
    log.append("generation", manifest.model_dump(mode="json"))
    return manifest.id


def add_incremental(log: ReleaseLog, version: int, base: int, onto: str) -> str:
    """Register an incremental version on `base` and record its generation over generation `onto`."""
    _register(log, version, base, None)
    segment = SegmentRef(version=version, uri=f"/versions/{version}", checksum="xxh3:1", rows=3)
    below = log.state().generation(onto)
    manifest = below.model_copy(
        update={
            "id": generation_id(base, version),
            "incremental_version": version,
            "segments": (segment, *below.segments),
        }
    )
    log.append("generation", manifest.model_dump(mode="json"))
    return manifest.id


def _register(
    log: ReleaseLog, version: int, base: int | None, parent: int | None, tags: dict[str, str] | None = None
) -> None:
    record = VersionRecord(
        key=f"key:{version}",
        update="full" if base is None else "incremental",
        base=base,
        parent=parent,
        window=WINDOW,
        version=version,
        uri=f"/versions/{version}",
        checksum="xxh3:0",
        files={},
        registered_at=log.now(),
        tags=tags or {},
    )
    log.append("registered", record.model_dump(mode="json"))


class Servers:
    """A backend whose servers only remember; each generation takes `patience` looks to load."""

    def __init__(self, patience: int = 1) -> None:
        self.patience = patience
        self.loaded: dict[str, int] = {}
        self.capacity: dict[str, int] = {}
        self.percent = 0
        self.applied = 0
        self.down = False
        self.missing: list[str] = []
        self.hook: Callable[[str], None] = lambda _: None

    def preflight(self, _target: Target) -> list[str]:
        return list(self.missing)

    def apply(self, target: Target) -> None:
        self._reach("before apply")
        if target.record < self.applied:
            raise ConflictError(f"record {self.applied} was applied already")
        self.applied = target.record
        needed = {manifest.id for manifest in target.generations}
        for id_ in needed:
            self.loaded[id_] = self.loaded.get(id_, 0) + 1
        self.loaded = {id_: looks for id_, looks in self.loaded.items() if id_ in needed}
        if target.stable:
            self.capacity[target.stable.id] = 100
        if target.candidate:
            known = max(self.capacity.get(target.candidate.id, 0), target.capacity)
            self.capacity[target.candidate.id] = known
        self.percent = target.percent
        self._reach("after apply")

    def status(self, _target: Target) -> BackendStatus:
        self._reach("status")
        return BackendStatus({id_: self._readiness(id_) for id_ in self.loaded})

    def bring(self, id_: str) -> None:
        """Have a generation there at once."""
        self.loaded.setdefault(id_, 100)
        self.capacity.setdefault(id_, 100)

    def settled(self, state: ReleaseState) -> bool:
        """Whether the stable generation is whole, and nothing else is kept."""
        return set(self.loaded) == {state.stable} and self.whole(state.stable or "")

    def whole(self, id_: str) -> bool:
        """Whether a generation can answer."""
        return self.loaded.get(id_, 0) > self.patience

    def _readiness(self, id_: str) -> Readiness:
        if not self.whole(id_):
            return Readiness(missing=(f"{id_} is loading",))
        return Readiness(self.capacity.get(id_, 0))

    def _reach(self, place: str) -> None:
        if self.down:
            raise UnavailableError("the servers are down")
        self.hook(place)


@dataclass
class Said:
    """Metrics that say what a test wants."""

    requests: int = 10_000
    users: int = 1_000
    error_rate: float = 0.0
    slow_rate: float = 0.0
    click_rate: float = 0.1
    short_rate: float = 0.0
    fallback_rate: float = 0.0
    windows: int = 10
    down: bool = False
    asked: list[tuple[str, datetime, float | None]] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    """That were asked about last."""

    def measure(
        self,
        rollout: str,
        since: datetime,
        _until: datetime,
        limit_ms: float | None,
        _gates: object = None,
        *,
        channels: tuple[str, ...] = (),
    ) -> Measures:
        if self.down:
            raise UnavailableError("no metrics now")
        self.asked.append((rollout, since, limit_ms))
        self.channels = channels
        bad = {"stable": Said(requests=self.requests, users=self.users), "canary": self}
        return {arm: bad[arm].arm() for arm in ARMS}

    def arm(self) -> ArmMeasure:
        each = np.full(self.windows, self.requests // self.windows, np.int64)
        counts = Requests(each, _part(each, self.error_rate), _part(each, self.slow_rate), 10.0)
        n = np.full(self.users, self.requests / self.users)
        rates = (self.click_rate, self.short_rate, self.fallback_rate)
        return ArmMeasure(counts, *(UserSums.of(n, n * rate) for rate in rates))


def _part(counts: np.ndarray, rate: float) -> np.ndarray:
    return np.round(counts * rate).astype(np.int64)


def evidence(candidate_recall: float = 0.5, champion_recall: float | None = 0.5) -> OfflineEvidence:
    """Offline measures of a candidate that is fine unless its recall says otherwise."""
    users = np.arange(2_000)
    rng = np.random.default_rng(0)
    draws = rng.random(len(users))
    recall = None
    if champion_recall is not None:
        recall = RecallRows(users, (draws < candidate_recall) * 1.0, (draws < champion_recall) * 1.0)
    return OfflineEvidence(0.99, 100, 100, VectorReport(100, 0, 1e-6, 0.9), recall, {"tower": ("a", "a")})


def quick(**changes: object) -> RolloutPolicy:
    """Two steps of ten seconds."""
    step = {"minimum_seconds": 10, "maximum_seconds": 100, "minimum_requests": 1_000}
    steps = (Step(percent=10, **step), Step(percent=50, **step))
    return RolloutPolicy(steps=steps, grace_seconds=60, drain_seconds=10, prepare_seconds=300).model_copy(
        update=changes
    )


class Stage:
    """A log with a stable generation `g1` and a candidate `g2`, and everything that drives them."""

    def __init__(self, *, stable: bool = True) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.servers = Servers()
        self.metrics = Said()
        self.evidence = evidence()
        self.log = self.open()
        for version in (1, 2):
            add_full(self.log, version)
        if stable:
            self.log.append("released", {"arms": {"stable": "g1"}, "reason": "the first"})
        self.driver = self.drive()

    def open(self) -> ReleaseLog:
        return ReleaseLog("memory", store=self.store, clock=self.clock)

    def drive(self) -> Driver:
        """Another driver, as a process of its own would be."""
        return Driver(self.open(), self.servers, self.metrics, lambda *_: self.evidence)

    def turn(self, times: int = 1, seconds: float = 1.0) -> None:
        """Reconcile, with time passing in between."""
        for _ in range(times):
            self.driver.reconcile()
            self.clock.forward(seconds)
