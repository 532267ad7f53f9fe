"""Processes end with whoever started them, however that ends; those that work together, with the first that fails."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pagoda.processes import together
from pagoda.processes.together import Command, run_together

ROOT = Path(__file__).parents[2]
POOL = """
import os, time
from pagoda.processes.dealing import worker_pool
if __name__ == "__main__":
    pool = worker_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""
TOGETHER = """
import sys
from pathlib import Path
from pagoda.processes.together import Command, run_together
WAITS = "from pagoda.processes.together import end_with_input; end_with_input(); "
SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
waits = Command([sys.executable, "-c", WAITS + SLEEPS], {})
run_together([waits, waits], Path(__file__).with_name("said"), lambda line: print(line, flush=True))
"""
SLEEPS = "import time; time.sleep(600)"
FAILS = "import sys; sys.exit(3)"


@pytest.mark.parametrize("program", [POOL, TOGETHER], ids=["pool", "together"])
def test_a_process_does_not_outlive_who_started_it_and_was_killed(tmp_path: Path, program: str) -> None:
    (tmp_path / "program.py").write_text(program)
    started = subprocess.Popen(
        [sys.executable, tmp_path / "program.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with started as running:
        assert running.stdout is not None
        worker = os.pidfd_open(int(running.stdout.readline()))
        running.kill()
        ended, _, _ = select.select([worker], [], [], 60)
    os.close(worker)
    assert ended


def run(said: Path, *scripts: str, heard: Callable[[str], None] = lambda _: None) -> dict[int, int]:
    commands = [Command([sys.executable, "-c", script], {"PLACE": str(i)}) for i, script in enumerate(scripts)]
    return run_together(commands, said, heard)


def test_the_first_is_heard_line_by_line_and_the_others_are_kept(tmp_path: Path) -> None:
    heard: list[str] = []
    speaks = "import os, sys; print(os.environ['PLACE']); print('end', file=sys.stderr)"
    assert run(tmp_path / "said", speaks, speaks, heard=heard.append) == {0: 0, 1: 0}
    assert heard == ["0\n"]
    assert sorted((tmp_path / "said").read_text().split()) == ["1", "end", "end"]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(("script", "status"), [(FAILS, 3), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_the_others_end_with_the_first_that_fails(tmp_path: Path, place: int, script: str, status: int) -> None:
    scripts = [SLEEPS, SLEEPS]
    scripts[place] = script
    assert run(tmp_path / "said", *scripts) == {place: status}


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_does_not_end_when_asked_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(together, "_GRACE_SECONDS", 0.2)
    deaf = str(tmp_path / "deaf")
    fails = f"import os, time\nwhile not os.path.exists({deaf!r}): time.sleep(0.01)\n{FAILS}"
    scripts = [fails, fails]
    scripts[place] = f"import signal; signal.signal(15, signal.SIG_IGN); open({deaf!r}, 'w').close(); {SLEEPS}"
    assert run(tmp_path / "said", *scripts) == {1 - place: 3}


def test_nobody_goes_on_when_who_listens_fails(tmp_path: Path) -> None:
    def fails(line: str) -> None:
        raise ValueError(line)

    before = psutil.Process().children()
    with pytest.raises(ValueError, match="said"):
        run(tmp_path / "said", f"print('said', flush=True); {SLEEPS}", SLEEPS, heard=fails)
    assert psutil.Process().children() == before
