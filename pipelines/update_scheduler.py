"""The scheduler of one machine: runs what the timetable says is due and the release log says is not done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pagoda.config.training import parse_config
from pagoda.errors import PagodaError
from pagoda.generations.release_log import open_log
from pagoda.rollout.releasing import Release, tried, update_users
from pagoda.settings import Settings
from pagoda.standalone.layout import Layout
from pagoda.standalone.logs import last_lines
from pagoda.updates.exclusive import exclusive
from pagoda.updates.incremental import open_dataset
from pagoda.updates.scheduler import Due, ScheduleProgress, Timetable, UpdateKind, walk
from pagoda.updates.summary import in_words
from pipelines.local import last_error, run_locally

_PROGRAM = (
    "import sys; from pathlib import Path; from pagoda.settings import load_settings; "
    "from pipelines.update_scheduler import run_full; "
    "print(run_full(load_settings(Path(sys.argv[1])), *sys.argv[2:]))"
)


class Scheduler:
    """Runs updates for one installation.

    A full update has a process of its own, so that incremental ones go on while it runs. What is due follows from the
    release log at each look: so nothing runs twice, what failed is tried again, and what was missed is learned at once.
    """

    def __init__(
        self, settings: Settings, dataset: str, timetable: Timetable, config: str, say: Callable[[str], None]
    ) -> None:
        """Nothing runs yet; `config` is a training configuration as YAML, empty for the defaults."""
        self._settings, self._dataset, self._timetable, self._config = settings, dataset, timetable, config
        self._lateness = timedelta(seconds=parse_config(config).incremental.lateness_seconds)
        self._say = say
        self._full: subprocess.Popen[bytes] | None = None
        self._full_log = Layout(settings.home).log("full-update")
        self._beginning = open_dataset(settings, dataset).span().start

    def through_data(self) -> None:
        """Go through the data's own time to its end, one update after the other.

        Raises:
            PagodaError: An update failed.
        """
        end = open_dataset(self._settings, self._dataset).span().end
        for moment in walk(self._timetable, self._progress().incremental, end):
            for due in self._due(moment):
                self._learn(due, Release.NOW)  # A rollout takes users' time, and these have none.

    def through_time(self) -> None:
        """Go on until interrupted: look now, and at every moment of the timetable."""
        while True:
            now = datetime.now(UTC)
            self.look(now)
            time.sleep(max(0.0, (self._timetable.after(now) - datetime.now(UTC)).total_seconds()))

    def look(self, now: datetime) -> None:
        """Run what is due at `now`; a failure is told, and tried again at the next look."""
        self._reap()
        for due in self._due(now):
            if due.kind is UpdateKind.FULL:
                self._start_full(due, now)
                continue
            try:
                self._learn(due, Release.AUTO)
            except PagodaError as error:
                self._say(f"{due.moment:%Y-%m-%d %H:%M} incremental update failed: {error}")

    def close(self) -> None:
        """Wait for a full update that is at work; an interrupt meanwhile ends it, and running it again goes on."""
        if self._full is None:
            return
        try:
            self._full.wait()
        except KeyboardInterrupt:
            os.killpg(self._full.pid, signal.SIGTERM)
            self._full.wait()
        self._reap()

    def _progress(self) -> ScheduleProgress:
        state = open_log(self._settings).state()
        found = ScheduleProgress.of(state, self._beginning, self._lateness)
        # What is on its way to the users, or was rolled back, is learned: the next update learns what came after it.
        full, users = (max(ends, default=self._beginning) + self._lateness for ends in tried(state))
        return ScheduleProgress(max(found.full, full), max(found.incremental, users))

    def _due(self, now: datetime) -> list[Due]:
        done = self._progress()
        return self._timetable.due(done.full, done.incremental, now)

    def _learn(self, due: Due, how: Release) -> None:
        stamp = f"{due.moment:%Y-%m-%d %H:%M}"
        if due.kind is UpdateKind.FULL:
            end = (due.moment - self._lateness).isoformat()
            generation = run_full(self._settings, self._dataset, end, self._config, due.moment.isoformat(), how=how)
            self._say(f"{stamp} full update: {generation} answers{self._warning(generation)}")
            return
        with exclusive(self._settings.home, "incremental"):
            outcomes = update_users(self._settings, self._dataset, due.moment, how)
        for base, outcome in outcomes.items():
            self._say(f"{stamp} {in_words(base, outcome)}")

    def _start_full(self, due: Due, now: datetime) -> None:
        if self._full is not None:
            self._say(f"{now:%Y-%m-%d %H:%M} the full update is still at work; nothing is started beside it")
            return
        end = (due.moment - self._lateness).isoformat()
        arguments = [str(self._settings.home), self._dataset, end, self._config, "now"]
        self._say(f"{due.moment:%Y-%m-%d %H:%M} full update begins")
        self._full_log.parent.mkdir(parents=True, exist_ok=True)
        with self._full_log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is meant for the scheduler.
            self._full = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _reap(self) -> None:
        if self._full is None or self._full.poll() is None:
            return
        last = last_lines(self._full_log, 1)
        if self._full.returncode:
            self._say(f"full update failed: {last_error(self._full_log) or last}; all it said is in {self._full_log}")
        else:
            self._say(f"full update done: {last}{self._warning(last)}")
        self._full = None

    def _warning(self, generation: str) -> str:
        state = open_log(self._settings).state()
        warning = state.warning_of(generation) if generation in state.generations else ""
        return f". Warning: {warning}" if warning else ""


def run_full(
    settings: Settings, dataset: str, window_end: str, config: str, catch_up: str, *, how: str = Release.AUTO
) -> str:
    """Run the full update pipeline on this machine, unless one is at work, and return the generation that it made.

    Raises:
        ConflictError: Another one is at work.
        PagodaError: A step failed.
    """
    from pipelines.full_update import full_update  # kfp builds it at import, which the scheduler itself can do without.

    arguments = {"dataset": dataset, "window_end": window_end, "config": config, "catch_up": catch_up}
    arguments["release"] = str(how)
    with exclusive(settings.home, "full"):
        return str(run_locally(full_update, settings, arguments))
