"""What supervisord and the keepers are told: `run/supervisord.conf` and a `run/SERVICE.json` each."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from configparser import RawConfigParser
from pathlib import Path

from pagoda.standalone.layout import Layout
from pagoda.standalone.servers.service import Service
from pagoda.standalone.supervision import keeper
from pagoda.standalone.supervision.keeper import Kept
from pagoda.standalone.supervision.processes import GUARDIAN, KEEPER, SERVICE_MARK, SUPERVISOR, marks

GROUP = "pagoda"
_STOP_SECONDS = 5
"""More than a service's own: its keeper kills it then, and ends."""
_PRIVATE = 0o600


class Configuration:
    """Files that describe one run of the platform."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.path = layout.run / "supervisord.conf"
        self.socket = layout.sockets / "supervisor.sock"
        self.lock = layout.run / "supervisor.lock"

    def record(self, service: str) -> Path:
        """Where a service's keeper records its process."""
        return self._layout.run / f"{service}.process"

    def write(self, services: Sequence[Service], owner: Kept | None) -> None:
        """Write all of them; the platform ends with `owner`, if there is one."""
        sections = [
            f"[supervisord]\nidentifier=pagoda\nsilent=true\nlogfile={_escaped(self._layout.log(SUPERVISOR))}\n"
            f"logfile_maxbytes=1MB\nlogfile_backups=1\npidfile={_escaped(self._layout.run / 'supervisord.pid')}",
            f"[unix_http_server]\nfile={_escaped(self.socket)}\nchmod=0600",
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            # One group: its members are told to stop at once, not one after another.
            f"[group:{GROUP}]\nprograms={','.join(service.name for service in services)}",
            self._guardian(owner),
            *(self._program(service) for service in services),
        ]
        self.path.write_text("\n\n".join(sections) + "\n")

    def start_at_once(self, services: Collection[str]) -> None:
        """Have these services started with the supervisor, as its predecessor ran them."""
        parser = RawConfigParser()
        parser.read(self.path)
        for service in services:
            parser[f"program:{service}"]["autostart"] = "true"
        with self.path.open("w") as file:
            parser.write(file)

    def _guardian(self, owner: Kept | None) -> str:
        words = [sys.executable, "-m", "pagoda.standalone.supervision.guardian", str(self._layout.home)]
        if owner:
            words += ["--owner", f"{owner.pid}:{owner.start}"]
        output = self._layout.run / "guardian.out"
        # The last in order is the first to be stopped, so that it does not guard what is meant to end.
        return (
            f"[program:{GUARDIAN}]\ncommand={_command_line(words)}\nautostart=true\nautorestart=true\n"
            f'environment={SERVICE_MARK}="{GUARDIAN}"\npriority=1000\nstartsecs=0\nstopwaitsecs=2\n'
            f"redirect_stderr=true\nstdout_logfile={_escaped(output)}\nstdout_logfile_maxbytes=1MB\n"
            "stdout_logfile_backups=1"
        )

    def _program(self, service: Service) -> str:
        # Without site-packages and the caller's Python settings it starts in 20 ms.
        words = [sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(self._write_spec(service))]
        return (
            f"[program:{service.name}]\ncommand={_command_line(words)}\nautostart=false\nautorestart=true\n"
            f'environment={SERVICE_MARK}="{KEEPER}"\n'
            # It must live for 5 s to count as started; one that dies sooner, again and again, is tried after
            # 1, 2, 3 … s and given up when that has taken three minutes.
            "startsecs=5\nstartretries=20\n"
            f"stopwaitsecs={service.stop_seconds + _STOP_SECONDS}\nredirect_stderr=true\nstdout_logfile=NONE"
        )

    def _write_spec(self, service: Service) -> Path:
        path = self._layout.run / f"{service.name}.json"
        content = {
            "command": list(service.command),
            "folder": str(service.folder),
            "environment": {"PAGODA_HOME": str(self._layout.home), "PYTHONUNBUFFERED": "1", **service.environment},
            "marks": marks(self._layout.home, service.name),
            "stop_seconds": service.stop_seconds,
            "log": str(self._layout.log(service.name)),
            "record": str(self.record(service.name)),
            "lock": str(self._layout.run / f"{service.name}.lock"),
            "supervisor": str(self.lock),
        }
        # The environment may hold a password.
        path.touch(_PRIVATE)
        path.write_text(json.dumps(content, indent=1))
        return path


def _command_line(words: Sequence[str]) -> str:
    return " ".join(f'"{_escaped(word)}"' for word in words)


def _escaped(value: str | Path) -> str:
    """Text for the configuration, where % begins an expansion."""
    return str(value).replace("%", "%%")
