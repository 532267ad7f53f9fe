"""A full update by several processes writes the version of one, goes on after a kill, and says what it lacks."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from typing_extensions import override

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.erasure.pending import NOBODY
from pagoda.errors import ConfigError, GateError, UnavailableError
from pagoda.storage.checksums import checksum_file
from pagoda.training.distributed.job import SharedUpdate
from pagoda.training.distributed.one_machine import beside_each_other
from pagoda.training.distributed.refusals import refuse_more_than_there_is
from pagoda.training.distributed.update import update_by_processes
from pagoda.training.full.loop import Silent
from pagoda.training.torchrun import ENGINE
from pagoda.version_files.full import FullVersionFiles
from tests.serving.torchserve import free_port
from tests.training.worlds import config, hours, make
from tests.waiting import wait_for

torchrec = pytest.mark.skipif(
    find_spec("torchrec") is None, reason="TorchRec is not installed: see requirements/distributed.txt"
)
NOTHING_DROPPED = {"item": 0, "profile": 0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("world") / "data")


def by(processes: int, **changes: Any) -> TrainConfig:
    how = {"bootstrap_epochs": 2, "shuffle_rows": 300, "dropout": NOTHING_DROPPED, **changes}
    return config(distributed={"processes": processes}, **how)


@dataclass
class Counts(Silent):
    """Counts positives, and calls somebody after so many steps."""

    positives: int = 0
    steps: int = 0
    after: int = -1
    then: Callable[[], None] = lambda: None
    resumed: int = 0

    @override
    def begin(self, positives: int, epochs: int, done: int = 0) -> None:
        self.resumed = done

    @override
    def advance(self, positives: int, loss: float) -> None:
        self.positives, self.steps = self.positives + positives, self.steps + 1
        if self.steps == self.after:
            self.then()


@torchrec
def test_two_processes_write_the_version_of_one(dataset: Dataset, tmp_path: Path) -> None:
    first = update_by_processes(dataset, hours(0, 40), None, by(1), tmp_path / "first")
    alone = update_by_processes(dataset, hours(40, 50), first, by(1), tmp_path / "one")
    listening: set[str] = set()
    counted = Counts(after=1, then=lambda: listening.update(_listening()))
    shared = update_by_processes(dataset, hours(40, 50), first, by(2), tmp_path / "two", progress=counted)
    assert listening and all(ip_address(address).is_loopback for address in listening), "others can reach no port"
    assert counted.positives == alone.metrics()["positives"]
    assert _names(shared) == _names(alone)
    for table in ("users", "items"):
        of_shared, of_alone = getattr(shared, table), getattr(alone, table)
        assert np.array_equal(of_shared.ids, of_alone.ids)
        assert np.abs(of_shared.rows - of_alone.rows).max() < 1e-4
        assert np.allclose(shared.squares(table), alone.squares(table), atol=1e-4)
        assert np.array_equal(shared.seen(table), alone.seen(table))
    assert _histories(shared) == _histories(alone)
    assert not list(tmp_path.glob(".*")), "nothing is left beside the versions"


def _listening() -> set[str]:
    """Addresses where the processes that train, and what they have started, listen."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(ENGINE in one.cmdline() for one in (process, *process.parents())):
                sockets = process.connections("inet")
                found |= {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    return found


def _names(files: FullVersionFiles) -> set[str]:
    return {str(path.relative_to(root)) for root in (files.folder, files.state) for path in root.rglob("*")}


def _histories(files: FullVersionFiles) -> list[Any]:
    history = files.history()
    assert history is not None
    users = np.arange(60)
    past = history.read(users, np.full(len(users), files.lineage.window.end_us)).padded()
    return [past.items.tolist(), past.times_us.tolist()]


REFUSED = {
    "learn is sequences": {"learn": "sequences", "negatives": {"in_batch": False, "uniform": 16}},
    "negatives.queue is 2": {"negatives": {"queue": 2}},
    "negatives.rejected is set": {"negatives": {"rejected": 2}},
    "validation is declared": {"validation": {"hours": 3}},
    "table_memory is 0.5": {"optimiser": {"table_memory": 0.5}},
    "rows of 6 numbers": {"model": {"dim": 6}},
}


@pytest.mark.parametrize("named", REFUSED)
def test_what_one_process_trains_alone_is_refused_by_name(dataset: Dataset, tmp_path: Path, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        update_by_processes(dataset, hours(0, 40), None, by(2, **REFUSED[named]), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@torchrec
@pytest.mark.long
def test_what_stops_one_process_is_what_is_raised(dataset: Dataset, tmp_path: Path) -> None:
    wild = {"table_learning_rate": 1e30, "dense_learning_rate": 1.0}
    with pytest.raises(GateError, match="the loss is"):
        update_by_processes(dataset, hours(0, 40), None, by(2, optimiser=wild), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("users", "items", "named"), [(0, 100, "no user of the window"), (3, 35, "too few to share")])
def test_no_process_is_without_users_or_items(users: int, items: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        refuse_more_than_there_is(users, items, processes=7)


@torchrec
@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_and_all_go_on_to_the_same_bits(dataset: Dataset, tmp_path: Path, rank: int) -> None:
    how = by(2, checkpoint_seconds=0.0, dropout={})
    whole = update_by_processes(dataset, hours(0, 40), None, how, tmp_path / "whole")
    out, checkpoints = tmp_path / "out", tmp_path / "checkpoints"
    dies = Counts(after=7, then=lambda: _kill(rank))
    with pytest.raises(UnavailableError, match="run the same again"):
        update_by_processes(dataset, hours(0, 40), None, how, out, progress=dies, checkpoints=checkpoints)
    assert not out.exists()
    again = Counts()
    files = update_by_processes(dataset, hours(0, 40), None, how, out, progress=again, checkpoints=checkpoints)
    assert again.resumed > 0
    assert _checksums(files) == _checksums(whole)
    assert not checkpoints.exists()


@torchrec
@pytest.mark.long
def test_a_pod_of_a_job_trains_by_torchrun_to_the_same_bits(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = update_by_processes(dataset, hours(0, 40), None, by(2), tmp_path / "here")
    pod = {"NNODES": "1", "NODE_RANK": "0", "NPROC_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**pod, "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(f"PET_{name}", value)
    counted = Counts()
    there = update_by_processes(dataset, hours(0, 40), None, by(2), tmp_path / "there", progress=counted)
    assert _checksums(there) == _checksums(here)
    assert counted.steps


@torchrec
@pytest.mark.long
def test_a_process_that_waits_for_the_others_ends_with_who_started_it(dataset: Dataset, tmp_path: Path) -> None:
    told: dict[str, Any] = {"data": dataset.path, "window": hours(0, 40), "parent": None, "config": by(2).to_yaml()}
    job = SharedUpdate(**told, out=tmp_path / "out", checkpoints=None, forgotten=0).write(tmp_path, NOBODY)
    words, environment = beside_each_other(2, ENGINE, str(job), folder=tmp_path)[0]
    with subprocess.Popen(words, env={**os.environ, **environment}, stdin=subprocess.PIPE) as alone:
        try:
            wait_for(Path(words[-1]).exists)
            alone.communicate(timeout=60)
        finally:
            alone.kill()
    assert alone.returncode == 1


def _kill(rank: int) -> None:
    for process in psutil.Process().children(recursive=True):
        if ENGINE in process.cmdline() and process.environ().get("RANK") == str(rank):
            process.send_signal(signal.SIGKILL)


def _checksums(files: FullVersionFiles) -> dict[str, str]:
    root = files.folder.parent
    paths = (path for kind in ("npy", "safetensors") for path in root.rglob(f"*.{kind}"))
    return {str(path.relative_to(root)): checksum_file(path) for path in paths}
