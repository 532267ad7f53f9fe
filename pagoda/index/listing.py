"""Every collection that the search backend holds, and what it is for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypedDict

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.arms import ARMS, Arm
from pagoda.generations.live import live
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.index.base import CollectionFacts, Collections
from pagoda.index.factory import open_collections
from pagoda.item_changes.log import ItemLog, item_log_url
from pagoda.item_changes.positions import read_positions
from pagoda.settings import Settings, require_parts


@dataclass(frozen=True)
class ListedCollection:
    """One collection: what the backend says of it, and who uses it."""

    name: str
    facts: CollectionFacts | None
    """None: the backend could not say; `trouble` tells why."""
    trouble: str
    arm: Arm | None
    """That a generation of it answers now."""
    live: bool
    """Whether it must be loaded: it serves, a rollback may need it, or it is about to serve."""
    generations: tuple[str, ...]
    """Those that it was built for and that may serve yet, oldest first."""
    retired: tuple[str, ...]
    """Those of it that never serve again; where there are no others, retention drops it."""
    item_count: int | None
    """Of the build, as its generations say; None: it is in none."""
    applied: int | None
    """The item log's last record whose changes are in it, as the item worker last said; None: it said nothing of it."""
    behind: int | None
    """Records of the item log that came after that one."""

    @property
    def orphan(self) -> bool:
        """Whether it is in no generation: another program's, being built, or left by a build that was killed."""
        return not self.generations and not self.retired


def list_collections(settings: Settings) -> list[ListedCollection]:
    """All collections in the search backend of the settings, by name, whoever made them. Nothing is changed or loaded.

    Raises:
        ConfigError: There is no search backend.
        IntegrityError: A log is damaged.
        UnavailableError: The backend, or a store of the logs, does not answer.
    """
    require_parts(settings, "the list of collections", "index")
    log, collections = open_log(settings), open_collections(settings)
    try:
        found = {name: _asked(collections, name) for name in collections.names()}
    finally:
        collections.close()
    state, now = log.state(), log.now()
    manifests = defaultdict[str, list[Manifest]](list)
    for manifest in state.generations.values():
        if manifest.backend == settings.index.backend:
            manifests[manifest.collection].append(manifest)
    head, applied = _item_changes(settings)
    return [
        ListedCollection(
            name=name,
            facts=facts,
            trouble=trouble,
            **_uses(state, now, manifests[name]),
            applied=(last := applied.get(name)),
            behind=None if last is None else head - last,
        )
        for name, (facts, trouble) in found.items()
    ]


def collection_as_json(one: ListedCollection) -> dict[str, Any]:
    """A collection as plain values, what the backend says of it among them; null where it does not."""
    about = asdict(one) | {"orphan": one.orphan}
    facts = about.pop("facts") or dict.fromkeys(("loaded", "rows", "dim", "metric", "kind"))
    return {"name": about.pop("name"), **facts, **about}


def _asked(collections: Collections, name: str) -> tuple[CollectionFacts | None, str]:
    # One that goes meanwhile, is there in part, or does not answer now keeps no other from the list.
    try:
        return collections.facts(name), ""
    except (IntegrityError, UnavailableError) as error:
        return None, str(error)


def _item_changes(settings: Settings) -> tuple[int, Mapping[str, int]]:
    """The number of the item log's last record, and of the last one in each collection."""
    url = item_log_url(settings)
    if (said := read_positions(url)) is None:
        return 0, {}
    # From where the worker was, which may be down since, and not from the beginning: the log may be long.
    later = ItemLog(url, key=settings.signing_key).records(said.head)
    return max((record.number for record in later), default=said.head), said.applied


class _Uses(TypedDict):
    arm: Arm | None
    live: bool
    generations: tuple[str, ...]
    retired: tuple[str, ...]
    item_count: int | None


def _uses(state: ReleaseState, now: datetime, manifests: Sequence[Manifest]) -> _Uses:
    ids = [manifest.id for manifest in manifests]
    return _Uses(
        arm=next((arm for arm in ARMS if state.arms.of(arm) in ids), None),
        live=not set(ids).isdisjoint(live(state, now)),
        generations=tuple(id_ for id_ in ids if id_ not in state.retired),
        retired=tuple(id_ for id_ in ids if id_ in state.retired),
        item_count=manifests[0].item_count if manifests else None,
    )
