"""Commands that run beside each other, and end with the first that fails."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from typing import IO, NamedTuple

_GRACE_SECONDS = 10.0
"""Until who was asked to end is killed: by itself each ends at once, but for one that is stopped."""


class Command(NamedTuple):
    """What a process runs."""

    words: Sequence[str]
    environment: Mapping[str, str]
    """Beside that of the process that starts it."""


def run_together(commands: Sequence[Command], said: Path, heard: Callable[[str], None]) -> dict[int, int]:
    """Run commands beside each other until all have ended; once one has failed, the others are ended.

    Args:
        commands: Each has a pipe as its standard input, by which it knows when it is alone: see `end_with_input`.
        said: A file for all that they write, but for the first one's standard output.
        heard: Gets each line of that, in this thread. What it raises is raised, and all are killed.

    Returns:
        Exit status by place, of those that ended by themselves; negative: by that signal.
    """
    started: list[subprocess.Popen[str]] = []
    with said.open("w") as rest, ThreadPoolExecutor(len(commands) + 1) as threads, ExitStack() as running:
        for command in commands:
            started.append(running.enter_context(_start(command, rest if started else subprocess.PIPE, rest)))
            running.callback(started[-1].kill)  # In front of its own exit, which waits.
        ended = threads.submit(_end_together, started, threads)
        for line in started[0].stdout or ():
            heard(line)
        return ended.result()


def _start(command: Command, output: int | IO[str], errors: IO[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, **command.environment}
    return subprocess.Popen(
        command.words, stdin=subprocess.PIPE, stdout=output, stderr=errors, text=True, env=environment
    )


def _end_together(started: Sequence[subprocess.Popen[str]], threads: ThreadPoolExecutor) -> dict[int, int]:
    ends = {threads.submit(one.wait): place for place, one in enumerate(started)}
    found: dict[int, int] = {}
    for end in as_completed(ends):
        found[ends[end]] = end.result()
        if end.result():
            break
    for one in started:
        one.terminate()
    for end in wait(ends, _GRACE_SECONDS).done:
        if end.result() != -SIGTERM:  # Else it was asked to end, and did.
            found.setdefault(ends[end], end.result())
    for one in started:
        one.kill()
    return found


def end_with_input() -> None:
    """End this process, which `run_together` started, as soon as who called that is gone, however they ended."""
    threading.Thread(target=_wait_for_end_of_input, daemon=True).start()


def _wait_for_end_of_input() -> None:
    os.read(0, 1)  # Nobody writes there; Python's own `stdin` has a lock that a process which ends would wait for.
    os._exit(1)
