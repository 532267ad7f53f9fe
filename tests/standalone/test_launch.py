from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pagoda.standalone import launch
from pagoda.standalone.processes import marks, processes_of

WAITING = [sys.executable, "-c", "input()"]


def _start(marked: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(WAITING, stdin=subprocess.PIPE, env={**os.environ, **marked})


def test_a_service_starts_with_its_environment_after_ending_what_its_predecessor_left(tmp_path: Path) -> None:
    left, other = _start(marks(tmp_path, "mine")), _start(marks(tmp_path, "other"))
    shown = "import os; print(os.environ['A'], os.environ['PAGODA_SERVICE'], os.getcwd())"
    spec = {
        "command": [sys.executable, "-c", shown],
        "folder": str(tmp_path),
        "environment": {"A": 'a "quoted" %value'},
        "marks": marks(tmp_path, "mine"),
        "bound": True,
    }
    (tmp_path / "mine.json").write_text(json.dumps(spec))
    try:
        command = [sys.executable, "-I", "-S", launch.__file__, str(tmp_path / "mine.json")]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        assert answer.stdout == f'a "quoted" %value mine {tmp_path}\n'
        assert left.wait(10) < 0
        assert [process.pid for process in processes_of(tmp_path)] == [other.pid]
    finally:
        for process in (left, other):
            process.kill()
            process.communicate()
