"""`endpoints.yaml`: the ports that were chosen and where the platform's services answer, as part of the settings."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pagoda.errors import ConfigError
from pagoda.settings import ENDPOINTS_FILE, SETTINGS_FILE, Settings, load_settings
from pagoda.standalone.ports import ports_chosen
from pagoda.standalone.servers.service import Service
from pagoda.storage.atomic import make_folder, write_atomic
from pagoda.storage.copies import local_path

_HIGHEST_PORT = 65_535


def recorded(home: Path) -> dict[str, Any]:
    """What the platform recorded at an earlier start; empty before the first."""
    path = home / ENDPOINTS_FILE
    content = yaml.safe_load(path.read_text()) if path.exists() else None
    return content if isinstance(content, dict) else {}


def ports_of(home: Path, names: Sequence[str]) -> dict[str, int]:
    """The port of each name, as set or recorded; 0 before it was chosen.

    Raises:
        ConfigError: A port is set for a name that there is not, out of range, or for two names.
    """
    # What an earlier release recorded for a server that has no port any more is no mistake of anybody's.
    gone = recorded(home).get("standalone", {}).get("ports", {}).keys() - set(names)
    ports = {name: port for name, port in load_settings(home).standalone.ports.items() if name not in gone}
    _check(ports, names)
    return {name: ports.get(name, 0) for name in names}


@contextmanager
def missing_ports_chosen(
    home: Path, names: Sequence[str], preferred: Mapping[str, int] | None = None
) -> Iterator[None]:
    """Choose and record a free port for every name that has none yet; see `pagoda.standalone.ports.ports_chosen`.

    No other platform chooses the same ones until the block ends, by when their servers listen.
    """
    ports = ports_of(home, names)
    missing = [name for name, port in ports.items() if not port]
    with ports_chosen(missing, ports.values(), preferred) as chosen:
        if missing:
            with changed(home) as content:
                content["standalone"] = {"ports": ports | chosen}
        yield


def own(services: Sequence[Service], home: Path) -> list[Service]:
    """Those services that the backends need, and that the settings do not say are somebody else's servers."""
    settings, record = load_settings(home), recorded(home)
    return [
        service
        for service in services
        if all(of(settings, key) == value for key, value in service.only.items())
        and all(of(settings, key) in ("", _in(record, key), url) for key, url in service.endpoints.items())
    ]


def record_endpoints(home: Path, services: Sequence[Service]) -> None:
    """Record where these services answer and what follows from it, so that `load_settings` says so.

    What is recorded of others stays.
    """
    with changed(home) as content:
        for service in services:
            for key, value in {**service.endpoints, **service.settings}.items():
                section, name = key.split(".")
                content.setdefault(section, {})[name] = value


def settle_dataset(settings: Settings, dataset: str) -> str:
    """Have events filed into the dataset that an update has learned, where nothing names another; words for people.

    Whoever imports elsewhere than into `HOME/dataset` would otherwise have events that nobody files.
    """
    place, filed = _place(dataset), _place(settings.events_dataset)
    if place == filed:
        return ""
    if not settings.events.dataset and not Path(filed).exists():
        with changed(settings.home) as content:
            # Another update may have been first.
            filed = content.setdefault("events", {}).setdefault("dataset", place)
    if place == filed:
        return f"Events are filed into {place} from now on (events.dataset in {settings.home}/{ENDPOINTS_FILE})."
    told = f"Events are filed into {filed}, and this update learned {place}"
    return f"{told}. To have them in one, set events.dataset in {settings.home}/{SETTINGS_FILE} and start anew."


def _place(dataset: str) -> str:
    """What is the same for the same dataset, however it is named."""
    path = local_path(dataset)
    return dataset.rstrip("/") if path is None else str(path.resolve())


def _check(ports: Mapping[str, int], names: Sequence[str]) -> None:
    for name, port in ports.items():
        if name not in names:
            raise ConfigError(f"standalone.ports.{name}: there is no such port; there are {', '.join(names)}")
        if not 1 <= port <= _HIGHEST_PORT:
            raise ConfigError(f"standalone.ports.{name}: {port} is no port number")
        if others := [other for other, value in ports.items() if value == port and other != name]:
            raise ConfigError(f"standalone.ports: {port} is set for both {name} and {others[0]}")


@contextmanager
def changed(home: Path) -> Iterator[dict[str, Any]]:
    """What is recorded, to be changed in the block: by one process at a time, or one would undo another's change."""
    lock = home / "locks" / "endpoints.lock"
    make_folder(lock.parent)
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        content = recorded(home)
        yield content
        write_atomic(home / ENDPOINTS_FILE, yaml.safe_dump(content, sort_keys=True).encode())


def of(settings: Settings, key: str) -> str:
    """The value of `section.name`, as text."""
    section, name = key.split(".")
    return str(getattr(getattr(settings, section), name))


def _in(record: Mapping[str, Any], key: str) -> str:
    section, name = key.split(".")
    return str((record.get(section) or {}).get(name, ""))
