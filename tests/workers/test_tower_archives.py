"""A follower on the host of a recall process that computes by itself: archives come, stay whole, and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.registry.publish import publish
from serving.workers.follower import Follower
from serving.workers.tower_archives import TowerArchives
from serving.workers.tower_host import LocalTowers

from .conftest import Host


class InProcessHost(Host):
    """No server holds the models."""

    def start(self) -> None:
        towers = LocalTowers(TowerArchives(self.towers, self.folder), self.seconds)
        self.follower = Follower(self.log, self.folder, towers, monotonic=self.seconds)

    @property
    def towers(self) -> Path:
        return self.folder / "towers"

    def files(self) -> list[str]:
        return sorted(path.name for path in self.towers.iterdir())


@pytest.mark.parametrize("restarted", [False, True])
def test_archives_follow_the_log(tmp_path: Path, restarted: bool) -> None:
    host = InProcessHost(tmp_path)
    host.world.serve_chain(host.registry, host.log, 0)
    publish(host.log, "g1", "stable")
    host.follower.step()
    host.world.generation(host.log, host.registry.register(host.world.full(1, parent=1)).version)
    publish(host.log, "g2", "stable")
    host.follower.step()
    assert host.files() == ["pagoda-1.mar", "pagoda-2.mar"]
    host.clock.forward(hours=2)
    if restarted:
        host.follower.close()
        (host.towers / ".pagoda-3.mar.0a1b").write_bytes(b"half")  # what a killed one leaves
        host.start()
    host.follower.step()
    assert host.files() == ["pagoda-2.mar"]
    for harm in (lambda path: path.write_bytes(b"archive of 3"), Path.unlink):
        harm(host.towers / "pagoda-2.mar")
        host.clock.forward(seconds=10)
        host.follower.step()
        assert (host.towers / "pagoda-2.mar").read_bytes() == b"archive of 2"
    host.follower.close()


def test_what_is_on_its_way_out_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may ask while it goes, for which a server takes its time."""
    host = InProcessHost(tmp_path)
    (first,) = host.world.serve_chain(host.registry, host.log, 0)
    towers, said = LocalTowers(TowerArchives(host.towers, host.folder)), list[bool]()
    towers.ensure(first.full_version, first.tower)
    said.append(towers.holds(first.full_version))
    monkeypatch.setattr(TowerArchives, "retire", lambda _, version: said.append(towers.holds(version)))
    towers.keep(set())
    assert said == [True, False]
    host.follower.close()
