"""The user tower in recall's own process, over what a follower brings to its host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.embeddings.tables import TablesWriter
from pagoda.errors import IntegrityError, NotHeldError, NotHereYetError, RequestError, UnavailableError
from pagoda.generations.manifest import Artifact
from pagoda.storage.checksums import SHA256, checksum_file
from serving.http.fields import PastItems
from serving.recall.servers import in_process_tower
from serving.recall.servers.in_process_tower import InProcessTower
from serving.tower.archive import archive_name, package
from serving.tower.archive_trust import write_checksums
from serving.tower.bodies import read_instances
from serving.tower.program import load_program
from serving.tower.runtime import TowerRuntime
from serving.workers.tower_archives import TowerArchives
from serving.workers.tower_host import LocalTowers
from tests.serving.fakes import manifest
from tests.serving.worlds import NOW_US, World

ASKED: list[dict[str, Any]] = [
    {"user_id": user, "timestamp": NOW_US, "profile": {"age": 30.0}, "context": {}, "history": ()}
    for user in (1, 7, 4000)
]


class Host:
    """A machine with the tables of version 3, its tower's archive, and a recall process's tower."""

    def __init__(self, world: World, folder: Path) -> None:
        self.tables = folder / "tables"
        shutil.copytree(world.tables, self.tables)
        archive = package(world.folder, 3, folder / "archives")
        artifact = Artifact(uri=str(archive), checksum=checksum_file(archive, SHA256))
        write_checksums(self.tables, {3: artifact.checksum})
        self.manifest = manifest(3).model_copy(update={"tower": artifact})
        self.now = 0.0
        self.archives = TowerArchives(self.tables / "towers", self.tables)
        self.follower = LocalTowers(self.archives, lambda: self.now)
        self.tower = InProcessTower(self.tables / "towers", self.tables)

    @property
    def archive(self) -> Path:
        """Where the process finds it."""
        return self.tables / "towers" / archive_name(3)

    async def open(self) -> None:
        """What is done when a generation is about to be warmed up."""
        await self.tower.open(self.manifest)


@pytest.fixture
def host(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    # tests/serving/tower/test_program.py has it done in a process of its own, which imports PyTorch each time.
    monkeypatch.setattr(in_process_tower, "load_small", load_program)
    made = Host(world, tmp_path)
    made.follower.ensure(3, made.manifest.tower)
    return made


async def test_each_generation_is_answered_as_the_runtime_answers(host: Host, runtime: TowerRuntime) -> None:
    await host.open()
    for generation in ("g3", "g3.5"):
        answer = runtime.predict(read_instances(ASKED), generation)
        found = await host.tower.vectors(3, generation, ASKED)
        np.testing.assert_allclose([one.vectors[0] for one in found], answer.vectors, atol=1e-6)
        assert [one.known for one in found] == [True, True, False]
    assert (await host.tower.vectors(3, "g3", ASKED))[0] != found[0]  # g3.5 has another row of user 1


async def test_what_is_not_held_is_said_and_what_is_wrong_is_named(host: Host) -> None:
    with pytest.raises(NotHeldError, match="version 3 of the user tower is not open"):
        await host.tower.vectors(3, "g3", ASKED)
    await host.open()
    with pytest.raises(NotHeldError, match=r"g3\.9"):
        await host.tower.vectors(3, "g3.9", ASKED)
    with pytest.raises(RequestError, match="feature 'age'"):
        await host.tower.vectors(3, "g3", [{"user_id": 1, "profile": {"age": "old"}}])
    with pytest.raises(RequestError, match=r"instances\.0\.history\.0\.item_id: must be an integer of 64 bits"):
        await host.tower.vectors(3, "g3", [{"user_id": 1, "history": ({"item_id": 1 << 70, "timestamp": 5},)}])
    with pytest.raises(RequestError, match=r"history\.item_id: must be an integer of 64 bits"):
        await host.tower.vectors(3, "g3", [{"user_id": 1, "history": PastItems((1 << 70,), (5,))}])


async def test_what_the_follower_has_not_brought_is_on_its_way(host: Host) -> None:
    host.follower.keep(set())
    with pytest.raises(NotHereYetError, match="has not brought"):
        await host.open()
    host.follower.ensure(3, host.manifest.tower)
    for opened in (False, True):
        with pytest.raises(NotHereYetError, match=r"g3\.9"):
            await host.tower.open(host.manifest.model_copy(update={"id": "g3.9"}))
        if not opened:
            await host.open()


async def test_nothing_is_opened_but_what_the_manifest_says(host: Host) -> None:
    content = bytearray(host.archive.read_bytes())
    content[len(content) // 2] ^= 1
    host.archive.write_bytes(content)
    with pytest.raises(IntegrityError, match="its checksum is sha256:"):
        await host.open()
    host.now = 10.0
    host.follower.repair()
    await host.open()
    assert (await host.tower.vectors(3, "g3", ASKED))[0].known


async def test_it_lets_go_of_what_the_follower_took_away_and_takes_it_up_again(host: Host) -> None:
    await host.open()
    host.follower.keep(set())
    await host.tower.look()
    assert (await host.tower.vectors(3, "g3", ASKED))[0].known  # its tables are still there: it may be a mishap
    host.follower.ensure(3, host.manifest.tower)
    shutil.move(host.tables / "generations", host.tables / "away")
    host.follower.keep(set())
    await host.tower.look()
    with pytest.raises(NotHeldError, match="not open"):
        await host.tower.vectors(3, "g3", ASKED)
    shutil.move(host.tables / "away", host.tables / "generations")
    host.follower.ensure(3, host.manifest.tower)
    await host.tower.look()
    assert (await host.tower.vectors(3, "g3", ASKED))[0].known


async def test_damaged_tables_are_a_tower_that_is_down_and_taken_away_one_that_does_not_hold_it(host: Host) -> None:
    await host.open()
    segment = next((host.tables / "segments").glob("xxh3-*"))
    (segment / "rows.npy").write_bytes(b"short")
    with pytest.raises(UnavailableError, match=r"rows\.npy"):
        await host.tower.vectors(3, "g3.5", ASKED)
    assert TablesWriter(host.tables).discard(segment) == ("g3.5",)
    with pytest.raises(NotHeldError, match=r"g3\.5"):
        await host.tower.vectors(3, "g3.5", ASKED)
    assert (await host.tower.vectors(3, "g3", ASKED))[0].known
