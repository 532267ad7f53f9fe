"""The embedded platform: real servers on this machine, supervised, on loopback, with their state below one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from pagoda.access.curl_files import write_curl_files
from pagoda.access.permissions import OTHERS, close
from pagoda.access.secret_files import kept_secret
from pagoda.access.tokens import make_tokens
from pagoda.errors import ConfigError, ConflictError, UnavailableError
from pagoda.settings import Settings, load_settings
from pagoda.standalone.endpoints import missing_ports_chosen, record_endpoints
from pagoda.standalone.layout import Layout
from pagoda.standalone.ports import require_free
from pagoda.standalone.profiles import profile_chosen, require_served_backend
from pagoda.standalone.servers.service import Service
from pagoda.standalone.servers.services import PORT_NAMES, PREFERRED_PORTS, SECRETS, SERVICES, declared
from pagoda.standalone.signing_key import ensure_signing_key
from pagoda.standalone.startup import Report, bring_up, gave_up
from pagoda.standalone.status import Health, ServiceStatus, statuses
from pagoda.standalone.supervision.keeper import Kept
from pagoda.standalone.supervision.lock import HomeLock
from pagoda.standalone.supervision.processes import GUARDIAN, SUPERVISOR, end_processes, processes_of, wait_ended
from pagoda.standalone.supervision.supervisor import Supervisor

_WATCH_SECONDS = 2.0
_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.2


class Platform:
    """The platform of one home folder, running or not."""

    def __init__(self, home: Path) -> None:
        self.layout = Layout(home.resolve())
        self._supervisor = Supervisor(self.layout)
        self._lock = HomeLock(
            self.layout.run / "up.lock", "another `pagoda up` (pid {pid}) starts or runs the platform in {home}"
        )
        self._child: subprocess.Popen[bytes] | None = None
        self.closed: list[Path] = []
        """What other users could read when it was started; now they cannot."""

    @property
    def home(self) -> Path:
        """The folder with all state."""
        return self.layout.home

    def up(
        self,
        services: Collection[str] | None = None,
        *,
        profile: str | None = None,
        attached: bool = False,
        report: Report | None = None,
    ) -> Settings:
        """Start the platform and wait until the services are healthy.

        Args:
            services: Names; default all but those for which another server is set. `start` adds some later.
            profile: `full` or `compact`; None: the one that the home has had, at first `full`.
            attached: Whether everything ends when this process does, however it ends.
            report: Told the services' states, several times a second.

        Returns:
            The settings, which now say where the services answer.

        Raises:
            ConflictError: The platform is up already, another `up` is at work, or recall would search in another
                backend than the collection of what serves is in.
            UnavailableError: A port is taken or a service does not come up. Everything was stopped again.
            ConfigError: There is no such service, port or profile.
        """
        os.umask(OTHERS)
        self.layout.prepare()
        self.closed = close(self.home)
        self._lock.acquire()
        try:
            self._take_supervision()
        except ConflictError:
            self._lock.release()
            raise
        try:
            with profile_chosen(self.home, profile) as settings:
                if services is None or "recall" in services:
                    require_served_backend(settings)
            self._start(services, report or _silent, attached=attached)
        except BaseException:
            self.down()
            raise
        if not attached:
            self._lock.release()
        return load_settings(self.home)

    def start(self, services: Collection[str], *, report: Report | None = None) -> Settings:
        """Start more services of the running platform and wait until they are healthy.

        Raises:
            UnavailableError: The platform is not up, a port is taken, or one does not come up; the others go on.
        """
        states = self._supervisor.states()
        idle = [service for service in _chosen(declared(self.layout), services) if not states[service.name].pid]
        self._bring_up(idle, report or _silent)
        return load_settings(self.home)

    def stop(self, services: Collection[str]) -> None:
        """Stop some services of the running platform and wait until they have ended."""
        for service in _chosen(declared(self.layout), services):
            self._supervisor.stop_service(service.name)

    def require_down(self, what: str) -> None:
        """Refuse to go on while the platform is up, or half of it.

        Raises:
            ConflictError: Some of its processes run; the message says `what` needs it down.
        """
        if processes_of(self.home):
            raise ConflictError(f"{what}: the platform in {self.home} is up; `pagoda down` first")

    def status(self) -> list[ServiceStatus]:
        """Every service that this platform runs, or would run, as it is now."""
        try:
            states = self._supervisor.states()
        except UnavailableError:
            states = {}
        return statuses(declared(self.layout), states)

    def down(self) -> bool:
        """Stop everything and wait until no process is left, whatever state the platform is in.

        Returns:
            Whether there was anything to stop.
        """
        self._supervisor.leave()
        found = processes_of(self.home)
        supervisors = processes_of(self.home, SUPERVISOR)
        if supervisors:
            try:
                self._supervisor.shut_down()
                longest = max((service.stop_seconds for service in declared(self.layout)), default=0)
                wait_ended(supervisors, longest + _PATIENCE_SECONDS)
            except UnavailableError:
                # It is on its way down or hangs; either way the next lines end it.
                pass
        self._end(_PATIENCE_SECONDS)
        return bool(found)

    def kill(self) -> None:
        """Kill everything at once. State survives: every server recovers what it had acknowledged."""
        self._supervisor.leave()
        self._end(0)

    def log(self, service: str) -> Path:
        """The log of a service.

        Raises:
            ConfigError: There is no such service.
        """
        if service not in (*SERVICES, SUPERVISOR):
            raise ConfigError(f"there is no service {service!r}; there are {', '.join((*SERVICES, SUPERVISOR))}")
        return self.layout.log(next((one.name for one in declared(self.layout) if service in one.parts), service))

    def url(self, service: str, *, opening: bool = False) -> str:
        """Where a service answers; if `opening`, with what opens it in a browser.

        Raises:
            ConfigError: There is no such service, it is a worker, which nobody calls, or it never was started.
        """
        services = declared(self.layout)
        if any(service in (each.name, *each.further) and 0 in each.ports.values() for each in services):
            raise ConfigError(f"{service} has no address yet; the first `pagoda up` chooses one")
        if url := next((each.further[service] for each in services if service in each.further), ""):
            return url  # A listener of its own, of another service: that of item changes is recall's.
        (found,) = _chosen(services, [service])
        if not found.url:
            raise ConfigError(f"{service} has no address: nobody calls it")
        return found.link() if opening and found.link else found.url

    def watch(self, report: Report) -> None:
        """Report the services' states until somebody stops the platform.

        Raises:
            UnavailableError: The supervisor died and none took its place, or it gave a service up.
        """
        while True:
            try:
                current = statuses(declared(self.layout), self._supervisor.states())
            except UnavailableError as error:
                if not self._on_its_way(error):
                    return
                time.sleep(_POLL_SECONDS)
                continue
            report(current)
            for status in current:
                if status.health == Health.FAILED:
                    raise gave_up(self.layout, status)
            time.sleep(_WATCH_SECONDS)

    def _start(self, names: Collection[str] | None, report: Report, *, attached: bool) -> None:
        with missing_ports_chosen(self.home, PORT_NAMES, PREFERRED_PORTS):
            self._make_secrets()
            ensure_signing_key(self.home)
            services = declared(self.layout)
            chosen = _chosen(services, names)
            # What a platform that was killed left behind would hold its ports and files.
            end_processes(processes_of(self.home), _PATIENCE_SECONDS)
            owner = Kept.now(os.getpid()) if attached else None
            self._child = self._supervisor.start(services, owner)
            self._bring_up(chosen, report)

    def _make_secrets(self) -> None:
        for service in SECRETS:
            kept_secret(self.layout.secret(service))
        settings = load_settings(self.home)
        if not settings.access.tokens:
            make_tokens(settings.tokens_folder)
        write_curl_files(settings.tokens_folder, self.home / "curl")

    def _end(self, patience_seconds: float) -> None:
        # The supervisor first: it would start the others again, and the guardian it.
        for service in (GUARDIAN, SUPERVISOR, None):
            end_processes(processes_of(self.home, service), patience_seconds)
        if self._child is not None:
            # Collect it, if it was ours.
            self._child.poll()
        shutil.rmtree(self.layout.sockets, ignore_errors=True)
        self._supervisor.lock.release()
        self._lock.release()

    def _on_its_way(self, error: UnavailableError) -> bool:
        """Whether a supervisor that does not answer still runs; False when all was stopped, raises when it was not."""
        if processes_of(self.home, SUPERVISOR):
            return True
        if processes_of(self.home) and not self._supervisor.leaving:
            log = self.layout.log(SUPERVISOR)
            raise UnavailableError(f"the supervisor died, and none took its place; its log: {log}") from error
        return False

    def _bring_up(self, services: Sequence[Service], report: Report) -> None:
        record_endpoints(self.home, services)
        for service in services:
            require_free(service.ports)
            service.folder.mkdir(parents=True, exist_ok=True)
            service.prepare()
        bring_up(self._supervisor, self.layout, services, report)

    def _take_supervision(self) -> None:
        """Take the supervisor's lock; one that runs and does not answer is ended.

        Raises:
            ConflictError: The platform is up.
        """
        try:
            self._supervisor.states()
        except UnavailableError:
            self._supervisor.leave()
            for service in (GUARDIAN, SUPERVISOR):
                end_processes(processes_of(self.home, service), _PATIENCE_SECONDS)
        self._supervisor.lock.acquire()


def _chosen(declared: Sequence[Service], names: Collection[str] | None) -> list[Service]:
    known = {name for service in declared for name in (service.name, *service.parts)}
    for name in names or ():
        if name not in SERVICES:
            raise ConfigError(f"there is no service {name!r}; there are {', '.join(SERVICES)}")
        if name not in known:
            raise ConfigError(f"service {name!r} is not run here: the settings name another server or backend")
    return [service for service in declared if names is None or {service.name, *service.parts}.intersection(names)]


def _silent(current: list[ServiceStatus]) -> None:
    """Report to nobody."""
