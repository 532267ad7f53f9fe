"""How each kind of record changes what the release log says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from pydantic import ValidationError

from pagoda.append_log.records import Record
from pagoda.errors import IntegrityError, explain
from pagoda.generations.arms import Arms, ArmsChange

_LONGEST_TRAIL = 100
"""Steps back that are remembered; what serves is found in it at every release, so it must not grow with the years."""


@dataclass
class ReleaseFold:
    """The state while records are added to it; what its fields mean is said at `ReleaseState`."""

    head: int = 0
    versions: dict[int, bytes] = field(default_factory=dict)
    """JSON of what was registered."""
    keys: dict[str, int] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    generations: dict[str, bytes] = field(default_factory=dict)
    """JSON of manifests, or of what they add to others."""
    offers: dict[str, datetime] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    arms: Arms = field(default_factory=Arms)
    releases: list[ArmsChange] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)
    others: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take in the next record.

        Raises:
            IntegrityError: It is out of order or contradicts those before it.
        """
        if record.number != self.head + 1:
            raise IntegrityError(f"release log: record {record.number} follows record {self.head}")
        try:
            _STEPS.get(record.kind, ReleaseFold._other)(self, record)
        except ValidationError as error:
            raise IntegrityError(explain(error, f"release log: {record.name} ({record.kind})")) from error
        except KeyError as error:
            raise IntegrityError(f"release log: {record.name} ({record.kind}): {error} is missing") from error
        self.head = record.number

    def _registering(self, record: Record) -> None:
        self.runs[record.body["key"]] = record.body["run"]

    def _registered(self, record: Record) -> None:
        key, number = record.body["key"], record.body["version"]
        _expect(key not in self.keys, record, f"key {key} is version {self.keys.get(key)}")
        _expect(number not in self.versions, record, f"version {number} is registered already")
        for role in ("base", "parent"):
            other = record.body.get(role)
            _expect(other is None or other in self.versions, record, f"its {role}, version {other}, is not registered")
        self.versions[number] = _json(record.body)
        self.keys[key] = number

    def _generation(self, record: Record) -> None:
        body = record.body
        _expect(body["id"] not in self.generations, record, f"generation {body['id']} is there already")
        if "onto" in body:
            self._usable(record, body["onto"])
        parts = [body.get("full_version"), body.get("incremental_version"), *(s["version"] for s in body["segments"])]
        for number in parts:
            _expect(number is None or number in self.versions, record, f"version {number} is not registered")
        self.generations[body["id"]] = _json(body)
        self.offers[body["id"]] = record.at

    def _offered(self, record: Record) -> None:
        self.offers[self._usable(record, record.body["generation"])] = record.at

    def _released(self, record: Record) -> None:
        arms = Arms.model_validate(record.body["arms"])
        for id_ in arms.serving:
            self._usable(record, id_)
        if arms.stable and arms.stable != self.arms.stable:
            if arms.stable in self.trail:
                del self.trail[self.trail.index(arms.stable) + 1 :]
            else:
                self.trail = [*self.trail[1 - _LONGEST_TRAIL :], arms.stable]
        self.arms = arms
        self.releases.append(ArmsChange(record.number, record.at, arms, str(record.body.get("reason", record.kind))))

    def _retired(self, record: Record) -> None:
        id_ = self._usable(record, record.body["generation"])
        _expect(id_ not in self.arms.serving, record, f"generation {id_} is serving")
        self.retired.add(id_)
        self.trail = [other for other in self.trail if other != id_]

    def _pruned(self, record: Record) -> None:
        for number in record.body["versions"]:
            _expect(number in self.versions, record, f"version {number} is not registered")
            gone = {"files": {}, "state_files": {}, "pruned": True}
            self.versions[number] = _json({**orjson.loads(self.versions[number]), **gone})

    def _other(self, record: Record) -> None:
        if record.kind == "rollout.started":
            # Earlier rollouts are history; with their evidence they would fill memory.
            self.others = [other for other in self.others if not other.kind.startswith(("rollout.", "gates."))]
        self.others.append(record)
        if "arms" in record.body:  # A rollout moves traffic and its own state in one record.
            self._released(record)

    def _usable(self, record: Record, id_: str) -> str:
        _expect(id_ in self.generations, record, f"generation {id_} is unknown")
        _expect(id_ not in self.retired, record, f"generation {id_} is retired")
        return id_


_STEPS: Mapping[str, Callable[[ReleaseFold, Record], None]] = {
    "registering": ReleaseFold._registering,
    "registered": ReleaseFold._registered,
    "generation": ReleaseFold._generation,
    "offered": ReleaseFold._offered,
    "released": ReleaseFold._released,
    "retired": ReleaseFold._retired,
    "pruned": ReleaseFold._pruned,
}


def _expect(condition: bool, record: Record, reason: str) -> None:
    if not condition:
        raise IntegrityError(f"release log: {record.name} ({record.kind}): {reason}")


def _json(body: Mapping[str, object]) -> bytes:
    return bytes(memoryview(orjson.dumps(body)))  # orjson's own buffer keeps eight times the room
