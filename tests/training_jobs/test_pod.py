"""What a job's pods do, and how torchrun understands what they run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.run import get_args_parser

from pagoda.settings import Settings
from pagoda.training_jobs import pod
from pagoda.training_jobs.pod import PodTask
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from tests.training_jobs.steps import FOUR, update_in

JOB = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "3", "PET_MASTER_ADDR": "job-node-0-0.job", "PET_MASTER_PORT": "29500"}


class Executed(Exception):  # noqa: N818 - the process would be another
    """torchrun would have taken the process over."""


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was run: `train`, or the command of torchrun."""
    found: list[Any] = []

    def execute(_: str, command: list[str]) -> None:
        found.append(command)
        raise Executed

    monkeypatch.setattr(full_steps, "train", lambda update, *_: found.append(update.key))
    monkeypatch.setattr(os, "execv", execute)
    return found


def task_of(update: FullUpdate) -> PodTask:
    description = {"dataset": update.dataset, "start": update.window.start.isoformat(), "parent": "3"}
    return PodTask(update={**description, "end": update.window.end.isoformat()}, config=FOUR)


def test_the_first_pod_trains_as_a_step_does(tmp_path: Path, ran: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_NODE_RANK", "0")
    update = update_in(tmp_path)
    pod.run(update.settings, task_of(update))
    assert ran == [update.key]


def test_another_pod_lends_its_processes_and_reads_what_the_first_one_wrote(
    tmp_path: Path, ran: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**JOB, "PET_NODE_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    update = update_in(tmp_path)
    with pytest.raises(Executed):
        pod.run(update.settings, task_of(update))
    read = get_args_parser().parse_args(ran[0][3:])
    assert (read.nnodes, read.nproc_per_node, read.node_rank, read.master_addr) == ("2", "3", 1, "job-node-0-0.job")
    assert (read.standalone, read.module, read.training_script) == (False, True, "pagoda.training.distributed")
    assert read.rdzv_conf == "timeout=7200"
    (file,) = read.training_script_args
    assert Path(file).is_relative_to(update.scratch)


def test_nothing_is_trained_that_is_done(tmp_path: Path, ran: list[Any]) -> None:
    update = update_in(tmp_path)
    update.step("model", lambda folder: (folder / "version").mkdir())
    for rank in ("0", "1"):
        os.environ["PET_NODE_RANK"] = rank
        try:
            pod.run(update.settings, task_of(update))
        finally:
            del os.environ["PET_NODE_RANK"]
    assert ran == []


def test_a_task_comes_to_the_pod_as_it_was_sent(tmp_path: Path) -> None:
    sent = PodTask(update={"key": "full:x"}, config="seed: 1 # 'quoted' \"twice\" $HOME\n", teacher="s3://b/t")
    assert PodTask.model_validate_json(sent.command[-1]) == sent
    assert Settings(home=tmp_path).training.jobs == ""
