"""What a service of the embedded platform is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pagoda.standalone.servers.health import HealthCheck


def _nothing() -> None:
    """Nothing to prepare."""


@dataclass(frozen=True)
class Service:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    healthy: HealthCheck
    """Whether it has started: `pagoda up` waits for it."""
    ready: HealthCheck
    """Whether it answers requests. Without a generation the recall service starts, but is not ready."""
    folder: Path
    """Its state, and its working folder."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """By name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside the platform's own."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Settings that say where it answers, `milvus.uri` for example. It is not run where another server is set."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Settings of backends; it is run only where they have these values."""
    settings: Mapping[str, str | int | list[str]] = field(default_factory=dict)
    """Other settings that follow from running it, unless `pagoda.yaml` or the environment says otherwise."""
    url: str = ""
    """For people."""
    link: Callable[[], str] | None = None
    """An address that opens in a browser without typing, where `url` does not: it holds a password."""
    further: Mapping[str, str] = field(default_factory=dict)
    """Other addresses of it for people, by what they take."""
    after: tuple[str, ...] = ()
    """Services that must be healthy before this one is started."""
    prepare: Callable[[], None] = _nothing
    """Called before each start by the platform: writes configuration, unpacks programs."""
    settle: Callable[[], None] = _nothing
    """Called once it is healthy, before those that come after it are started."""
    parts: tuple[str, ...] = ()
    """Services of other profiles whose work it does: whoever asks for one of them gets it."""
    start_seconds: float = 120.0
    """Longest time from its start until it is healthy."""
    stop_seconds: int = 10
    """Longest time for it to end by itself."""
