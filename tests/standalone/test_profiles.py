"""The profile of a home: recorded once, kept, and refused where what serves is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.errors import ConfigError, ConflictError
from pagoda.generations.release_log import open_log
from pagoda.settings import load_settings
from pagoda.standalone.endpoints import recorded
from pagoda.standalone.layout import Layout
from pagoda.standalone.platform import Platform
from pagoda.standalone.profiles import profile_chosen, profile_of
from pagoda.standalone.servers.services import declared
from tests.rollout.worlds import add_full


def choose(home: Path, profile: str) -> None:
    with profile_chosen(home, profile):
        pass


def test_a_home_keeps_its_profile_and_runs_what_that_needs(tmp_path: Path) -> None:
    home = tmp_path.resolve()
    assert profile_of(load_settings(home)) == "full"
    choose(home, "compact")
    settings = load_settings(home)
    assert (settings.index.backend, settings.tower.runtime, profile_of(settings)) == (
        "in_process",
        "in_process",
        "compact",
    )
    names = [service.name for service in declared(Layout(home))]
    assert names == ["mlflow", "redis", "recall", "workers"]
    platform = Platform(home)
    assert platform.log("sink") == platform.log("workers"), "whoever looks for one worker finds it among them"
    choose(home, "full")
    assert recorded(home) == {}, "an earlier release can read it"
    assert {"milvus", "torchserve"} < {service.name for service in declared(Layout(home))}


def test_what_people_said_stands_above_a_profile(tmp_path: Path) -> None:
    (tmp_path / "pagoda.yaml").write_text("index: {backend: in_process}")
    assert profile_of(load_settings(tmp_path)) == ""
    with pytest.raises(
        ConfigError, match=r"--profile full: .*pagoda\.yaml or the environment says index\.backend: in_process"
    ):
        choose(tmp_path, "full")
    with pytest.raises(ConfigError, match="there are full and compact"):
        choose(tmp_path, "small")


def test_another_profile_is_refused_while_its_backend_lacks_what_serves(tmp_path: Path) -> None:
    log = open_log(load_settings(tmp_path))
    add_full(log, 1)
    log.append("released", {"arms": {"stable": "g1"}, "reason": "the first"})
    platform = Platform(tmp_path)
    with pytest.raises(ConflictError, match=r"serves g1, .* 'milvus', .*`pagoda index rebuild --profile compact`"):
        platform.up(profile="compact", attached=True)
    assert profile_of(load_settings(tmp_path)) == "full" and not platform.down()
