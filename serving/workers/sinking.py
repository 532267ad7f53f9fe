"""The sink as a process."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from pagoda.cli.options import HomeOption
from pagoda.errors import ConfigError, PagodaError
from pagoda.settings import load_settings
from serving.workers.run import MetricsPort, follow_until_told
from serving.workers.sink import Sink


def main() -> None:
    """Run the sink until it is told to stop; an error made for people is printed as one line."""
    try:
        typer.run(_main)
    except PagodaError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the stream.")] = 1.0,
    metrics_port: MetricsPort = 0,
) -> None:
    """Turn the event stream into files of the dataset."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings(home)
    if not settings.redis.url:
        raise ConfigError(f"sink: set redis.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    follow_until_told(Sink(settings.redis.url, settings.events_dataset), poll, "sink", metrics_port)
