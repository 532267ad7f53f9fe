"""A writer killed at any step leaves the old generation serving, and running it again finishes the job."""

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pagoda.embeddings.tables import TablesWriter, TowerTables

from .test_tables import IDS, Source
from .worlds import assert_answers

# What changes a folder, as CPython reports it: https://docs.python.org/3/library/audit_events.html
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
KILLED = 9


def run_killed_at(step: int, work: Callable[[], object], folder: Path) -> bool:
    """Run `work` in a child that dies, as by SIGKILL, just before its `step`th touch of `folder`; was it killed?"""
    child = os.fork()
    if child == 0:
        left = step

        def die(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in EVENTS and str(arguments[0]).startswith(str(folder)):
                left -= 1
                if left == 0:
                    os._exit(KILLED)

        try:
            sys.addaudithook(die)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def publish_next(tables: Path, source: Source) -> None:
    """Everything a follower does for one publish: install, publish, switch, compact, retire the oldest."""
    writer = TablesWriter(tables)
    name = source.publish(writer, 1, 4)
    writer.set_current(name)
    writer.compact(name)
    writer.retire("g1.2")


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_a_step(tmp_path: Path, stride: int) -> None:
    (tmp_path / "source").mkdir()
    source = Source(tmp_path / "source")
    source.add_full({1: 1.0, 2: 2.0})
    for number in range(4):
        source.add_segment(1, {number: 10.0 + number})
    ready = TablesWriter(tmp_path / "ready")
    for number in (2, 3):
        ready.set_current(source.publish(ready, 1, number))

    step, finished = 1, False
    while not finished:
        tables = tmp_path / f"tables{step}"
        shutil.copytree(tmp_path / "ready", tables)
        finished = not run_killed_at(step, lambda tables=tables: publish_next(tables, source), tables)
        reader = TowerTables(tables, 1)
        assert reader.current() in ("g1.3", "g1.4")
        for name in ("g1.3", reader.current()):
            assert_answers(reader.generation(name).users, source.expected[1, int(name[-1])], IDS)

        publish_next(tables, source)
        assert TowerTables(tables, 1).held() == ["g1.3", "g1.4"]
        assert reader.current() == "g1.4"
        assert_answers(reader.generation("g1.4").users, source.expected[1, 4], IDS)
        TablesWriter(tables).sweep()
        left = [path.name for path in tables.rglob("*") if path.name.startswith(".") and path.name != ".lock"]
        assert left == []
        shutil.rmtree(tables)
        step += stride
    assert step > 40


@pytest.mark.parametrize("stride", [2, pytest.param(1, marks=pytest.mark.long)])
def test_killed_during_the_first_installation(tmp_path: Path, stride: int) -> None:
    (tmp_path / "source").mkdir()
    source = Source(tmp_path / "source")
    source.add_full({1: 1.0})
    step, finished = 1, False
    while not finished:
        tables = tmp_path / f"tables{step}"

        def work(tables: Path = tables) -> None:
            writer = TablesWriter(tables)
            writer.set_current(source.publish(writer, 1, 0))

        finished = not run_killed_at(step, work, tables)
        work()
        reader = TowerTables(tables, 1)
        assert_answers(reader.generation(reader.current()).users, {1: 1.0}, IDS)
        step += stride
    assert step > 20
