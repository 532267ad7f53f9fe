"""The sink as a process."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pagoda.cli.options import HomeOption
from pagoda.errors import ConfigError
from pagoda.settings import load_settings
from serving import logs
from serving.workers.run import MetricsPort, follow_until_told
from serving.workers.sink import Sink

_NICE = 10
"""Nobody waits for files as they do for answers, which may share the machine: a flood of events must not slow them."""


def main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the stream.")] = 1.0,
    metrics_port: MetricsPort = 0,
) -> None:
    """Turn the event stream into files of the dataset."""
    settings = load_settings(home)
    logs.start(settings.logs)
    if not settings.redis.url:
        raise ConfigError(f"sink: set redis.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    os.nice(_NICE)
    follow_until_told(Sink(settings.redis.url, settings.events_dataset), poll, "sink", metrics_port)
