"""`pagoda versions | publish | rollback | history | retention`, as people and scripts use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import GateError
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from pagoda.rollout import commands
from pagoda.rollout.curves.samples import GateSamples, StageSamples
from pagoda.rollout.policy import RolloutPolicy
from serving.workers.follower import Follower
from serving.workers.tower_host import NoTowers

from .worlds import World


class Installation:
    """A home without servers: versions in a folder, and a follower that is asked to look."""

    def __init__(self, home: Path, log: ReleaseLog | None = None) -> None:
        self.home = home
        self.log = log or ReleaseLog(str(home / "log"))
        self.registry = FolderRegistry(home / "versions", self.log)
        self.world = World(home / "made")

    def follow(self) -> None:
        follower = Follower(self.log, self.home / "tables", NoTowers())
        follower.step()
        follower.close()

    def run(self, *words: str, answer: str | None = None, width: int = 160) -> Result:
        command = [*words, "--home", str(self.home)]
        return CliRunner().invoke(app, command, input=answer, env={"COLUMNS": str(width)})

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)


@pytest.fixture
def home(tmp_path: Path) -> Installation:
    """g1, g1.2 and g1.3 are made and held; nothing serves."""
    installation = Installation(tmp_path)
    installation.world.serve_chain(installation.registry, installation.log, 2)
    installation.follow()
    return installation


def test_an_empty_installation_says_so(tmp_path: Path) -> None:
    empty = Installation(tmp_path)
    assert "No version is registered yet." in empty.run("versions").output
    assert "Nothing was published yet." in empty.run("history").output
    assert "Nothing to delete." in empty.run("retention").output
    assert empty.json("versions") == [] == empty.json("history")


def test_versions_show_lineage_and_standing(home: Installation) -> None:
    home.run("publish", "g1.2", "--yes")
    lines = home.run("versions").output.splitlines()
    assert lines[0].split()[:5] == ["version", "update", "parent", "learned", "up"]
    assert lines[1].split() == ["1", "full", "2026-11-02", "00:00", "0.2500", "g1", "champion"]
    assert lines[2].split() == ["2", "incremental", "2026-11-11", "00:10", "2", "g1.2", "stable"]
    assert lines[3].split() == ["3", "incremental", "2", "2026-11-11", "00:20", "2", "g1.3"]
    assert max(map(len, lines)) <= 80, "nothing is cut on a narrow terminal"
    assert len(home.run("versions", "--full").output.splitlines()) == 2
    [last] = home.json("versions", "-n", "1")
    assert (last["version"], last["generation"], last["base"], last["rows"]) == (3, "g1.3", 1, 2)


def test_publish_shows_what_will_change_and_asks(home: Installation) -> None:
    home.run("publish", "g1", "--yes")
    result = home.run("publish", "g1.3", answer="n\n")
    assert result.exit_code == 1
    rows = [line.split() for line in result.output.splitlines()]
    assert ["stable", "generation", "g1", "g1.3"] in rows
    assert ["stable", "incremental", "version", "-", "3"] in rows
    assert "2 segments, 4 rows" in result.output
    assert "collection" not in result.output  # it stays the same
    assert home.log.state().stable == "g1"
    result = home.run("publish", "g1.3", answer="y\n")
    assert result.exit_code == 0 and "g1.3 answers now, by record" in result.output
    assert home.log.state().stable == "g1.3"


def test_publishing_what_serves_changes_nothing(home: Installation) -> None:
    home.run("publish", "g1", "--yes")
    head = home.log.state().head
    result = home.run("publish", "g1")
    assert result.exit_code == 0 and "g1 answers already; nothing changes." in result.output
    assert home.json("publish", "g1")["record"] is None
    assert home.log.state().head == head


def test_rollback_and_history(home: Installation) -> None:
    for id_ in ("g1", "g1.2", "g1.3"):
        home.run("publish", id_, "--yes")
    answer = home.json("rollback", "--yes")
    assert answer["arms"] == {"stable": "g1.2", "canary": None}
    assert home.run("rollback", "--to", "g1", "--yes").exit_code == 0
    assert [entry["stable"] for entry in home.json("history")] == ["g1", "g1.2", "g1.3", "g1.2", "g1"]
    lines = home.run("history", "-n", "2").output.splitlines()
    assert len(lines) == 3
    stable, canary, served, reason = lines[2].split()[3:]
    assert (stable, canary, reason) == ("g1", "-", "rollback")
    assert served.startswith("0:0"), "it has served for minutes at most"


@pytest.mark.parametrize("width", [80, 100])
def test_history_is_whole_on_a_narrow_terminal(home: Installation, width: int) -> None:
    reason = "rollout r995: the first generation. Worse than popularity: Recall@50 is 0.80 (0.75 to 0.86) of it"
    home.log.append("released", {"arms": {"stable": "g1.2", "canary": "g1.3"}, "reason": reason})
    head, *lines = home.run("history", width=width).output.splitlines()
    assert max(map(len, lines)) <= width and ("for" in head.split() or width == 80)
    assert lines[0].split()[3:5] == ["g1.2", "g1.3"]
    assert " ".join(line[head.index("reason") :].strip() for line in lines) == reason


def test_a_generation_that_no_host_holds_is_not_published(home: Installation) -> None:
    home.world.serve_chain(home.registry, home.log, 0, day_number=1)
    result = home.run("publish", "g4", "--yes", "--wait", "0")
    assert isinstance(result.exception, GateError) and "is not held" in str(result.exception)
    assert home.log.state().stable is None


def test_retention_shows_before_it_deletes(tmp_path: Path, log: ReleaseLog) -> None:
    home = Installation(tmp_path, log)  # whose clock stood still two days ago
    home.world.serve_chain(home.registry, home.log, 2)
    for number in range(1, 4):
        home.world.serve_chain(home.registry, home.log, 0, day_number=number)
        if number == 1:
            rollout = commands.start(home.log, "g4", policy=RolloutPolicy(), by="test").id
            GateSamples(str(tmp_path / "log")).write(rollout, "step-1", StageSamples())
        publish(home.log, f"g{number + 3}", "stable")
    places = [registered.key.replace(":", "/") for registered in map(home.registry.get, (1, 5))]
    copies = [tmp_path / "work" / place for place in ("versions/1", places[0], "versions/5", places[1])]
    for copy in copies:  # what updates fetched
        copy.mkdir(parents=True)
    shown = home.json("retention", "--full-versions", "2")
    assert (shown["generations"], shown["versions"]) == (["g1", "g1.2", "g1.3", "g4"], [1, 2, 3, 4])
    assert shown["deleted"] is False and shown["bytes"] > 0 and shown["gate_samples"] == [rollout]
    assert "Would delete (--delete does it)" in home.run("retention", "--full-versions", "2").output
    assert Path(home.registry.get(1).uri).exists()
    done = home.json("retention", "--full-versions", "2", "--delete")
    assert {**done, "deleted": False} == shown
    assert not Path(home.registry.get(1).uri).exists() and Path(home.registry.get(5).uri).exists()
    assert [copy.exists() for copy in copies] == [False, False, True, True]
    assert "Nothing to delete." in home.run("retention", "--full-versions", "2").output
    assert "pruned" in home.run("versions").output
