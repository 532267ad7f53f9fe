"""Manifests: made once, derived from their versions, never edited."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pagoda.embeddings.tables.layout import tables_checksum
from pagoda.errors import GateError, RequestError
from pagoda.generations.creation import add_incremental
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry

from .conftest import Clock
from .worlds import World, day, minutes


def test_a_full_version_makes_the_generation_named_after_it(
    log: ReleaseLog, registry: FolderRegistry, world: World
) -> None:
    record = registry.register(world.full())
    manifest = world.generation(log, record.version)
    assert (manifest.id, manifest.full_version, manifest.incremental_version) == ("g1", 1, None)
    assert manifest.base.checksum == tables_checksum(Path(record.uri))
    assert (manifest.segments, manifest.window) == ((), day(0))


def test_making_it_again_changes_nothing(log: ReleaseLog, registry: FolderRegistry, world: World, clock: Clock) -> None:
    first = world.serve_chain(registry, log, 2)
    records = log.records()
    clock.forward(hours=1)
    assert world.generation(log, 1) == first[0]
    assert add_incremental(log, 3) == first[2]
    assert log.records() == records


def test_incrementals_lie_over_each_other_newest_first(log: ReleaseLog, registry: FolderRegistry, world: World) -> None:
    g1, g2, g3 = world.serve_chain(registry, log, 2)
    assert [m.id for m in (g1, g2, g3)] == ["g1", "g1.2", "g1.3"]
    assert [segment.version for segment in g3.segments] == [3, 2]
    assert [segment.checksum for segment in g3.segments] == [registry.get(3).segment, registry.get(2).segment]
    assert [segment.rows for segment in g3.segments] == [2, 2]
    assert g3.segments[1:] == g2.segments
    # Invariant 3: nothing but user rows differs, so all else is the base's.
    changing = {"id", "incremental_version", "segments", "window", "created_at"}
    assert g3.model_dump(exclude=changing) == g1.model_dump(exclude=changing)
    assert (g3.window.start, g3.window.end) == (day(0).start, minutes(1).end)


def test_a_chain_may_catch_up_before_any_of_it_is_a_generation(
    log: ReleaseLog, registry: FolderRegistry, world: World
) -> None:
    base = registry.register(world.full())
    g1 = world.generation(log, base.version)
    first = registry.register(world.incremental(base, 0))
    second = registry.register(world.incremental(base, 1, first))
    caught_up = add_incremental(log, second.version)
    assert [segment.version for segment in caught_up.segments] == [2 + 1, 2]
    assert caught_up.collection == g1.collection


def test_a_day_of_incrementals_does_not_grow_the_log_with_its_square(
    log: ReleaseLog, registry: FolderRegistry, world: World
) -> None:
    world.serve_chain(registry, log, 30)
    sizes = [len(record.to_json()) for record in log.records() if record.kind == "generation"]
    assert max(sizes[1:]) < 1.05 * min(sizes[1:])
    assert len(ReleaseLog("", store=log._store).state().generations["g1.31"].segments) == 30


@pytest.mark.parametrize("version", [0, 7])
def test_unknown_versions_are_refused(log: ReleaseLog, world: World, registry: FolderRegistry, version: int) -> None:
    registry.register(world.full())
    with pytest.raises(RequestError, match=f"version {version} is unknown; there are 1"):
        add_incremental(log, version)


def test_the_kind_of_version_must_fit(log: ReleaseLog, world: World, registry: FolderRegistry) -> None:
    base = registry.register(world.full())
    incremental = registry.register(world.incremental(base))
    with pytest.raises(GateError, match="version 1 is full"):
        add_incremental(log, 1)
    with pytest.raises(GateError, match="version 2 is incremental"):
        world.generation(log, incremental.version)
    with pytest.raises(GateError, match=r"no generation of its base, full version 1, .* there is none yet"):
        add_incremental(log, incremental.version)


def test_a_manifest_cannot_be_edited(log: ReleaseLog, registry: FolderRegistry, world: World) -> None:
    [manifest] = world.serve_chain(registry, log, 0)
    with pytest.raises(ValidationError, match="frozen"):
        manifest.collection = "another"  # type: ignore[misc]
