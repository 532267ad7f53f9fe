"""What the records of the release log say, taken together: a pure fold, the same in every process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, takewhile
from typing import TypeVar

from pagoda.append_log.records import Record
from pagoda.errors import RequestError
from pagoda.generations.arms import ARMS, Arm, Arms, ArmsChange
from pagoda.generations.fold import ReleaseFold
from pagoda.generations.manifest import Manifest, generation_id
from pagoda.generations.parsed import Parsed, generations_of, versions_of
from pagoda.generations.versions import WARNING, VersionRecord

_Key = TypeVar("_Key", bound=int | str)


@dataclass(frozen=True, slots=True)
class ReleaseState:
    """The state after the record numbered `head`. Never changed; `apply` makes another."""

    head: int = 0
    versions: Mapping[int, VersionRecord] = field(default_factory=lambda: versions_of({}))
    keys: Mapping[str, int] = field(default_factory=dict)
    """Key of an update -> its version."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Key of an update -> the MLflow run that registers it."""
    generations: Mapping[str, Manifest] = field(default_factory=lambda: generations_of({}))
    offers: Mapping[str, datetime] = field(default_factory=dict)
    """When each generation was made, or last asked for, so that hosts bring it before it serves."""
    retired: frozenset[str] = frozenset()
    """Generations that can never serve again: their parts may be gone."""
    arms: Arms = field(default_factory=Arms)
    releases: tuple[ArmsChange, ...] = ()
    """Every change of the arms, oldest first."""
    trail: tuple[str, ...] = ()
    """Generations that were stable, oldest first, without those that a rollback left; the last one is stable."""
    others: tuple[Record, ...] = ()
    """Records of kinds that others define, in order; of rollouts (`rollout.…`, `gates.…`), those of the latest."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> ReleaseState:
        """The state after `records`, the first of which is number 1.

        Raises:
            IntegrityError: A record is out of order or contradicts those before it.
        """
        return cls().apply(records)

    def apply(self, records: Iterable[Record]) -> ReleaseState:
        """The state after further records; this one stays as it is.

        Raises:
            IntegrityError: A record is out of order or contradicts those before it.
        """
        fold = ReleaseFold(
            head=self.head,
            versions=dict(_bodies(self.versions)),
            keys=dict(self.keys),
            runs=dict(self.runs),
            generations=dict(_bodies(self.generations)),
            offers=dict(self.offers),
            retired=set(self.retired),
            arms=self.arms,
            releases=list(self.releases),
            trail=list(self.trail),
            others=list(self.others),
        )
        for record in records:
            fold.add(record)
        return ReleaseState(
            **{
                **vars(fold),
                "versions": versions_of(fold.versions),
                "generations": generations_of(fold.generations),
                "retired": frozenset(fold.retired),
                "releases": tuple(fold.releases),
                "trail": tuple(fold.trail),
                "others": tuple(fold.others),
            }
        )

    @property
    def stable(self) -> str | None:
        """The generation that answers when no rollout says otherwise."""
        return self.arms.stable

    @property
    def champion(self) -> int | None:
        """The full version that is stable; the next full update starts from it."""
        return self.generations[self.arms.stable].full_version if self.arms.stable else None

    @property
    def previous(self) -> str | None:
        """The generation that a rollback returns to."""
        return self.trail[-2] if len(self.trail) > 1 else None

    def warning_of(self, id_: str) -> str:
        """What is bad of what a generation's full version was found to be worth; empty where nothing is."""
        return self.versions[self.generation(id_).full_version].tags.get(WARNING, "")

    def by_key(self, key: str) -> VersionRecord | None:
        """The version registered under `key`."""
        number = self.keys.get(key)
        return None if number is None else self.versions[number]

    def version(self, number: int) -> VersionRecord:
        """One version.

        Raises:
            RequestError: There is none of that number.
        """
        try:
            return self.versions[number]
        except KeyError:
            raise RequestError(f"version {number} is unknown; there are {_listing(self.versions)}") from None

    def generation(self, id_: str) -> Manifest:
        """One generation's manifest.

        Raises:
            RequestError: There is none of that name.
        """
        try:
            return self.generations[id_]
        except KeyError:
            raise RequestError(f"generation {id_} is unknown; there are {_listing(self.generations)}") from None

    def builds(self, full_version: int, incremental_version: int | None = None) -> list[Manifest]:
        """The generations of these versions, which differ in their collections; the one that was built last is last."""
        ids = (generation_id(full_version, incremental_version, build) for build in count(1))
        return [self.generations[id_] for id_ in takewhile(self.generations.__contains__, ids)]

    def arm_of(self, full_version: int) -> Arm | None:
        """The arm that a generation of this full version answers, None when none does."""
        for arm in ARMS:
            id_ = self.arms.of(arm)
            if id_ and self.generations[id_].full_version == full_version:
                return arm
        return None


def _bodies(models: Mapping[_Key, object]) -> Mapping[_Key, bytes]:
    if not isinstance(models, Parsed):
        raise TypeError("only a state that came from records can take in more of them")
    bodies: Mapping[_Key, bytes] = models.bodies
    return bodies


def _listing(names: Iterable[int | str], most: int = 8) -> str:
    last = [str(name) for name in names][-most:]
    return ", ".join(last) or "none yet"
