"""A command as the process of a container or of the embedded platform."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from pagoda.errors import PagodaError


def run(command: Callable[..., None]) -> None:
    """Run a command until it ends; an error made for people is one line, and the exit status 1."""
    try:
        typer.run(command)
    except PagodaError as error:
        sys.exit(f"{type(error).__name__}: {error}")
