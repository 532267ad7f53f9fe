"""The follower: what is live is held, what is bad is refused, and nothing that serves is ever disturbed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest

from pagoda.embeddings.tables import Inspection, TowerTables
from pagoda.errors import IntegrityError, NotHeldError, UnavailableError
from pagoda.generations.creation import add_incremental
from pagoda.generations.holding import Holding, read_holding
from pagoda.generations.manifest import SegmentRef
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import carry_out, plan_rollback, publish
from pagoda.storage.checksums import checksum_file
from serving.tower.archive_trust import read_checksums
from serving.workers.follower import RETRY_SECONDS
from serving.workers.table_guard import LOOK_SECONDS
from tests.embeddings.test_tables_killed import run_killed_at
from tests.registry.worlds import World

from .conftest import Host


def test_a_new_generation_is_brought_before_it_serves(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    holding = host.follower.step()
    assert holding.held == ("g1", "g1.2") and holding.current is None
    assert (host.value("g1"), host.value("g1.2")) == (1.0, 10.0)
    assert host.models.versions == [1]
    publish(host.log, "g1.2", "stable")
    assert host.follower.step().current == "g1.2"
    assert read_holding(host.folder) == host.follower.step()


def test_following_a_publish_and_a_rollback(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 3)
    for id_ in ("g1", "g1.2", "g1.3", "g1.4"):
        publish(host.log, id_, "stable")
        assert host.follower.step().current == id_
    carry_out(host.log, plan_rollback(host.log.state()))
    assert host.follower.step().current == "g1.3"
    assert host.value("g1.3") == 11.0


def test_a_new_full_version_stands_beside_the_old_one_until_its_grace_is_over(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1.2", "stable")
    host.follower.step()
    host.clock.forward(hours=20)
    host.world.serve_chain(host.registry, host.log, 1, day_number=1)
    publish(host.log, "g3", "stable")
    publish(host.log, "g3.4")
    assert host.follower.step().held == ("g1.2", "g3", "g3.4")  # g1.2 is what a rollback needs
    assert host.models.versions == [1, 3]
    host.clock.forward(minutes=61)
    assert host.follower.step().held == ("g3", "g3.4")  # g3 costs nothing beside g3.4
    assert host.models.versions == [3]
    assert not (host.folder / "full/1").exists()
    with pytest.raises(NotHeldError):
        TowerTables(host.folder, 1).generation("g1.2")


def test_a_log_that_has_vanished_takes_nothing_away(host: Host, tmp_path: Path) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1.2", "stable")
    host.follower.step()
    host.follower.close()
    host.log = ReleaseLog(str(tmp_path / "not mounted"), clock=host.clock)
    host.start()
    assert host.follower.step().held == ("g1", "g1.2")
    assert host.models.versions == [1]


def test_another_log_takes_over_though_it_does_not_know_what_is_held(host: Host, tmp_path: Path) -> None:
    for day in range(2):
        host.world.serve_chain(host.registry, host.log, 0, day_number=day)
    publish(host.log, "g2", "stable")
    host.follower.step()
    host.clock.forward(hours=2)
    assert host.follower.step().held == ("g2",)
    host.log = ReleaseLog(str(tmp_path / "other"), clock=host.clock)
    registry = FolderRegistry(tmp_path / "versions of others", host.log)
    (first,) = World(tmp_path / "others").serve_chain(registry, host.log, 0)
    publish(host.log, "g1", "stable")
    Path(first.tower.uri).rename(tmp_path / "away")
    host.start()
    holding = host.follower.step()
    assert (holding.held, set(holding.refused)) == (("g2",), {"g1"})


def test_the_towers_server_is_told_which_archives_are_what_a_manifest_says(host: Host) -> None:
    manifest, _ = host.world.serve_chain(host.registry, host.log, 1)
    host.follower.step()
    assert read_checksums(host.folder) == {1: manifest.tower.checksum}
    (host.folder / "archives.json").write_text("{}")
    host.start()
    host.follower.step()
    assert read_checksums(host.folder) == {1: manifest.tower.checksum}


def damage(uri: str) -> None:
    path = Path(uri) / "rows.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def halve(uri: str) -> None:
    path = Path(uri) / "rows.npy"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(uri: str) -> None:
    (Path(uri) / "ids.npy").unlink()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(damage, "rows.npy"), (halve, "rows.npy"), (lose, "lacks ids.npy")],
    ids=["damaged", "half-copied", "incomplete"],
)
def test_a_bad_delta_is_refused_with_a_reason_and_serving_goes_on(
    host: Host, harm: Callable[[str], None], reason: str
) -> None:
    _, good = host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, good.id, "stable")
    host.follower.step()
    bad = host.registry.register(host.world.incremental(host.registry.get(1), 1, host.registry.get(2), value=99.0))
    place = f"{bad.uri}/segment"
    shutil.copytree(place, host.world.folder / "whole")
    harm(place)
    manifest = add_incremental(host.log, bad.version)
    holding = host.follower.step()
    assert list(holding.refused) == [manifest.id] and reason in holding.refused[manifest.id]
    assert holding.held == ("g1", good.id) and holding.current == good.id
    assert host.value(good.id) == 10.0
    # Once the artifact is whole again, the follower finds that out by itself.
    shutil.rmtree(place)
    shutil.copytree(host.world.folder / "whole", place)
    assert manifest.id in host.follower.step().refused
    host.clock.forward(seconds=RETRY_SECONDS)
    assert host.follower.step().refused == {}
    assert host.value(manifest.id) == 99.0


def overwrite(path: Path) -> None:
    """Change a row where it is, as a process would that has the file open."""
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x07\x07\x07\x07")


def overwrite_and_hide(path: Path) -> None:
    """The same, with the times set back."""
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def overwrite_with_its_checksum(path: Path) -> None:
    """The same, with a description that says so."""
    overwrite(path)
    description = next(file for file in path.parent.glob("*.json"))
    content = json.loads(description.read_text())
    content["files"]["rows.npy"] = checksum_file(path)
    description.write_text(json.dumps({**content, **({"checksum": ""} if "checksum" in content else {})}))


def cut(path: Path) -> None:
    """Truncate a file."""
    os.truncate(path, path.stat().st_size // 2)


def mangle(path: Path) -> None:
    """Make the description of a table or the record of a generation unreadable."""
    next(file for file in path.parent.glob("*.json")).write_text("{")


def look(host: Host) -> None:
    """Let the follower look at its tables, and act on what it saw."""
    for _ in range(2):
        host.clock.forward(seconds=LOOK_SECONDS)
        host.follower.step()
        host.follower._guard._thread.submit(int).result()
    host.follower.step()
    host.follower._background.submit(int).result()  # a compaction keeps a folder beside the segments while it runs


@pytest.mark.parametrize(
    ("place", "harm"),
    [
        *product(
            ["full/1/users", "full/1/items", "segments/*"],
            [overwrite, overwrite_and_hide, overwrite_with_its_checksum, cut, mangle],
        ),
        ("generations", mangle),
    ],
)
def test_what_is_damaged_on_the_host_is_not_served_and_fetched_again(
    host: Host, place: str, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1.2", "stable")
    look(host)
    tables = TowerTables(host.folder, 1)
    opened = tables.generation("g1.2")
    harm(next(host.folder.glob(place)) / "rows.npy")
    look(host)
    assert tables.generation("g1.2") is not opened
    assert host.value("g1.2") == 10.0 and host.value("g1") == 1.0
    assert Inspection(host.folder).look({}) == {}
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1 and ("taken away" in said[0] or "made again" in said[0])


def test_damage_whose_source_is_damaged_too_is_refused(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1.2", "stable")
    look(host)
    segment = Path(host.log.state().generation("g1.2").segments[0].uri) / "rows.npy"
    for path in (segment, next(host.folder.glob("segments/*")) / "rows.npy"):
        overwrite(path)
    look(host)
    holding = host.follower.step()
    assert holding.held == ("g1",) and "rows.npy" in holding.refused["g1.2"]
    with pytest.raises(NotHeldError):
        TowerTables(host.folder, 1).generation("g1.2")


def test_a_damaged_note_of_the_current_generation_is_written_anew(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1", "stable")
    host.follower.step()
    (host.folder / "current.json").write_text("{")
    publish(host.log, "g1.2")
    assert host.follower.step().current == "g1.2"


def put_by_hand(log: ReleaseLog, id_: str, onto: str, segments: Sequence[SegmentRef]) -> None:
    """A manifest that `add_incremental` would never write."""
    body = {"id": id_, "onto": onto, "segments": [segment.model_dump() for segment in segments]}
    log.append("generation", {**body, "created_at": log.now()})


def test_a_delta_for_another_base_or_an_older_one_is_refused(host: Host) -> None:
    _, g2, g3 = host.world.serve_chain(host.registry, host.log, 2)
    publish(host.log, g3.id, "stable")
    other = host.world.serve_chain(host.registry, host.log, 1, day_number=1)[1]
    host.follower.step()
    put_by_hand(host.log, "g1.98", g3.id, other.segments)
    put_by_hand(host.log, "g1.99", g3.id, g2.segments)
    refused = host.follower.step().refused
    assert "is for another base: version 4" in refused["g1.98"]
    assert "is older than what is applied" in refused["g1.99"]
    assert host.value(g3.id) == 11.0


def test_a_damaged_base_or_archive_is_refused(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 0)
    publish(host.log, "g1", "stable")
    host.follower.step()
    next_ = host.registry.register(host.world.full(1, parent=1))
    host.world.generation(host.log, next_.version)
    Path(host.log.state().generations["g2"].tower.uri).write_bytes(b"archive of another")
    assert "is damaged: its checksum is" in host.follower.step().refused["g2"]
    damage(f"{next_.uri}/items")
    host.clock.forward(seconds=RETRY_SECONDS)
    holding = host.follower.step()
    assert holding.held == ("g1",) and "g2" in holding.refused
    assert host.models.versions == [1]


def test_a_tower_that_is_down_delays_only_new_full_versions(host: Host) -> None:
    _, g2 = host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1", "stable")
    host.follower.step()
    host.models.down = True
    host.world.generation(host.log, host.registry.register(host.world.full(1, parent=1)).version)
    publish(host.log, g2.id)
    with pytest.raises(UnavailableError, match="user tower: does not answer"):
        host.follower.step()
    assert read_holding(host.folder) == Holding(head=host.log.state().head, current=g2.id, held=("g1", g2.id))
    host.models.down = False
    assert host.follower.step().held == ("g1", g2.id, "g3")


def test_what_a_restarted_tower_has_lost_is_brought_back(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 0)
    publish(host.log, "g1", "stable")
    host.follower.step()
    host.models.versions.clear()
    host.clock.forward(seconds=10)
    host.follower.step()
    assert host.models.calls == ["ensure 1", "ensure 1"]


def test_a_damaged_archive_keeps_no_other_version_from_coming_back(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 0)
    publish(host.log, "g1", "stable")
    host.world.generation(host.log, host.registry.register(host.world.full(1, parent=1)).version)
    host.follower.step()
    states = host.log.state().generations
    for damaged, intact in ((1, 2), (2, 1)):
        archive = Path(states[f"g{damaged}"].tower.uri)
        content = archive.read_bytes()
        archive.write_bytes(b"archive of another")
        host.models.versions.clear()
        host.clock.forward(seconds=10)
        with pytest.raises(IntegrityError, match="is damaged"):
            host.follower.step()
        assert host.models.versions == [intact]
        archive.write_bytes(content)


def test_a_restarted_follower_retires_what_it_did_not_bring_itself(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 0)
    publish(host.log, "g1", "stable")
    host.follower.step()
    host.world.generation(host.log, host.registry.register(host.world.full(1, parent=1)).version)
    publish(host.log, "g2", "stable")
    host.follower.step()
    host.clock.forward(hours=2)
    host.start()
    assert host.follower.step().held == ("g2",)
    assert host.models.calls == ["ensure 1", "ensure 2", "retire 1"]


def test_a_long_chain_is_compacted_beside_serving(host: Host) -> None:
    host.world.serve_chain(host.registry, host.log, 0)
    base, parent = host.registry.get(1), None
    for number in range(12):
        parent = host.registry.register(host.world.incremental(base, number, parent, value=float(number)))
        publish(host.log, add_incremental(host.log, parent.version).id, "stable")
        holding = host.follower.step()
        host.follower._background.submit(int).result()  # the compaction before it is over
        assert holding.current is not None
        assert len(TowerTables(host.folder, 1).generation(holding.current).users.segments) <= 3
        assert (host.value(holding.current), host.value(holding.current, user=2)) == (number, 1.0)


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_a_step(host: Host, stride: int, tmp_path: Path) -> None:
    """A day's change: a new full version with an incremental becomes stable, the old one's grace is over."""
    host.world.serve_chain(host.registry, host.log, 1)
    publish(host.log, "g1.2", "stable")
    host.follower.step()
    host.follower.close()
    host.world.serve_chain(host.registry, host.log, 1, day_number=1)
    publish(host.log, "g3.4", "stable")
    host.clock.forward(hours=2)
    before = tmp_path / "before"
    shutil.copytree(host.folder, before)
    step, killed = 1 + stride // 2, True
    while killed:
        shutil.rmtree(host.folder)
        shutil.copytree(before, host.folder)
        host.models.versions = [1]
        killed = run_killed_at(step, lambda: (host.start(), host.follower.step()), host.folder)
        current = TowerTables(host.folder, 0).current()
        assert current in ("g1.2", "g3.4")
        assert host.value(current) == {"g1.2": 10.0, "g3.4": 30.0}[current]
        host.start()
        holding = host.follower.step()
        host.follower.close()
        assert (holding.current, holding.held, holding.refused) == ("g3.4", ("g3.4",), {})
        assert sorted(path.name for path in (host.folder / "full").iterdir()) == ["3"]
        assert host.models.versions == [3]
        step += stride
