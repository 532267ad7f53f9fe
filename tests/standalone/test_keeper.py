from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pagoda.standalone.supervision import keeper
from pagoda.standalone.supervision.processes import marks, processes_of

WAITING = [sys.executable, "-c", "input()"]


def _start(marked: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(WAITING, stdin=subprocess.PIPE, env={**os.environ, **marked})


def _keep(folder: Path, command: list[str]) -> subprocess.CompletedProcess[bytes]:
    spec = {
        "command": command,
        "folder": str(folder),
        "environment": {"A": 'a "quoted" %value'},
        "marks": marks(folder, "mine"),
        "stop_seconds": 5,
        **{name: str(folder / name) for name in ("log", "record", "lock", "supervisor")},
    }
    (folder / "supervisor").write_text(str(os.getpid()))
    (folder / "mine.json").write_text(json.dumps(spec))
    keeping = [sys.executable, "-I", "-S", keeper.__file__, str(folder / "mine.json")]
    return subprocess.run(keeping, check=False, timeout=30)


def test_a_service_starts_with_its_environment_after_ending_what_its_predecessor_left(tmp_path: Path) -> None:
    left, other = _start(marks(tmp_path, "mine")), _start(marks(tmp_path, "other"))
    shown = "import os; print(os.environ['A'], os.environ['PAGODA_SERVICE'], os.getcwd()); os._exit(3)"
    try:
        assert _keep(tmp_path, [sys.executable, "-uc", shown]).returncode == 3
        assert (tmp_path / "log").read_text() == f'a "quoted" %value mine {tmp_path}\n'
        assert left.wait(10) < 0
        assert [process.pid for process in processes_of(tmp_path)] == [other.pid]
    finally:
        for process in (left, other):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("later", [0, 1])
def test_only_the_process_that_was_recorded_is_adopted_and_not_one_that_has_its_number(
    tmp_path: Path, later: int
) -> None:
    running = subprocess.Popen(["sleep", "1"])
    pid, start = keeper.Kept.now(running.pid)
    (tmp_path / "record").write_text(f"{pid} {start + later}")
    _keep(tmp_path, ["touch", str(tmp_path / "started")])
    assert (tmp_path / "started").exists() == bool(later)
    running.wait()


def test_a_service_that_cannot_be_started_says_so_in_its_log(tmp_path: Path) -> None:
    assert _keep(tmp_path, ["/no/such/program"]).returncode == 127
    assert "No such file or directory: '/no/such/program'" in (tmp_path / "log").read_text()
