"""The supervisor's guardian: `python -m pagoda.standalone.supervision.guardian HOME`.

The supervisor runs it and starts it again, and it becomes the supervisor when that one dies or hangs: whichever of the
two is killed, the other goes on. It also asks every service whether it answers, and kills what hangs; the service's
keeper then ends, and the supervisor starts both again.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pagoda.errors import ConflictError, PagodaError, UnavailableError
from pagoda.standalone.layout import Layout
from pagoda.standalone.supervision.keeper import Kept
from pagoda.standalone.supervision.processes import SUPERVISOR, end_processes, processes_of
from pagoda.standalone.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from pagoda.standalone.supervision.pulse import Pulse

_LOOK_SECONDS = 1.0
_SERVICE_LOOK_SECONDS = 2.0
"""Each look is a request; more of them would be felt on a small machine."""
_HUNG_SECONDS = 10.0
_PATIENCE_SECONDS = 15.0
_SUCCESSIONS, _SUCCESSIONS_SECONDS = 5, 60.0
"""So many supervisors in so short a time do not die by accident, and all is ended."""


class Guardian:
    """Guards the supervisor of one home until it is itself told to end, or becomes it."""

    def __init__(self, layout: Layout, owner: Kept | None) -> None:
        self._layout, self._owner = layout, owner
        self._supervisor = Supervisor(layout)
        self._pid = self._supervisor.pid()

    def guard(self) -> None:
        """Look after everything."""
        threading.Thread(target=self._watch_services, daemon=True).start()
        if alive := self._supervisor_alive():
            self._start_wanted()
            self._until_it_dies(alive)
        if self._owner and not self._owner.alive():
            self._end_all("whoever started the platform has ended, and the supervisor with it")
        elif not self._supervisor.leaving:
            self._succeed()

    def _supervisor_alive(self) -> int | None:
        """A descriptor that tells of the supervisor's death; None when it is dead."""
        alive = os.pidfd_open(os.getppid())
        return alive if os.getppid() == self._pid else None

    def _start_wanted(self) -> None:
        """Have a new supervisor's keepers adopt the services that its predecessor ran."""
        try:
            states = self._supervisor.states()
            for name in sorted(self._supervisor.wanted() & states.keys()):
                if states[name].state == "STOPPED":
                    self._supervisor.start_service(name)
        except UnavailableError as error:
            self._say(str(error))

    def _until_it_dies(self, alive: int) -> None:
        poll = select.poll()
        poll.register(alive, select.POLLIN)
        answered = time.monotonic()
        while not poll.poll(_LOOK_SECONDS * 1000):
            if self._owner and not self._owner.alive():
                self._say("whoever started the platform has ended; so does it")
                signal.pidfd_send_signal(alive, signal.SIGTERM)
                poll.poll(_PATIENCE_SECONDS * 1000)
                return
            if self._supervisor.answers() or self._supervisor.leaving:
                answered = time.monotonic()
            elif time.monotonic() - answered > _HUNG_SECONDS:
                self._say(f"supervisor {self._pid} does not answer; it is killed")
                signal.pidfd_send_signal(alive, signal.SIGKILL)

    def _succeed(self) -> None:
        try:
            self._supervisor.lock.acquire()
        except ConflictError:
            # Somebody started the platform meanwhile.
            return
        if self._too_many():
            self._end_all(f"{_SUCCESSIONS} supervisors died within {_SUCCESSIONS_SECONDS:.0f} s")
            return
        self._say(f"supervisor {self._pid} died; {os.getpid()} takes its place")
        self._supervisor.become()

    def _too_many(self) -> bool:
        past = self._layout.run / "successions"
        now = time.time()
        times = [float(word) for word in past.read_text().split()] if past.exists() else []
        recent = [moment for moment in times if now - _SUCCESSIONS_SECONDS < moment <= now]
        past.write_text(" ".join(str(moment) for moment in [*recent, now]))
        return len(recent) >= _SUCCESSIONS

    def _end_all(self, reason: str) -> None:
        self._say(f"{reason}; everything is ended")
        self._supervisor.leave()
        end_processes(processes_of(self._layout.home, SUPERVISOR), 0)
        others = [process for process in processes_of(self._layout.home) if process.pid != os.getpid()]
        end_processes(others, _PATIENCE_SECONDS)

    def _watch_services(self) -> None:
        # Half a second of imports, for which the supervisor's death should not wait.
        from pagoda.standalone.servers.services import declared
        from pagoda.standalone.supervision.pulse import Pulse

        try:
            pulses = [Pulse(service) for service in declared(self._layout)]
        except PagodaError as error:
            self._say(f"no service is asked whether it answers: {error}")
            return
        for pulse in pulses:
            threading.Thread(target=self._watch, args=(pulse,), daemon=True).start()

    def _watch(self, pulse: Pulse) -> None:
        while True:
            time.sleep(_SERVICE_LOOK_SECONDS)
            process = self._supervisor.process(pulse.name)
            if process is None or pulse.name not in self._supervisor.wanted():
                continue
            if reason := pulse.look(process):
                self._say(f"{pulse.name} (pid {process.pid}) hangs: {reason}; it is killed and started again")
                self._kill(process)

    def _kill(self, process: Kept) -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _say(self, text: str) -> None:
        # The supervisor turns its log over by itself, so the file is opened for each line.
        with self._layout.log(SUPERVISOR).open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} guardian: {text}\n")


def main() -> None:
    """Guard the supervisor of the platform in HOME."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--owner", default="", help="PID:START of the process that the platform ends with")
    given = parser.parse_args()
    owner = Kept(*(int(word) for word in given.owner.split(":"))) if given.owner else None
    Guardian(Layout(given.home), owner).guard()


if __name__ == "__main__":
    main()
