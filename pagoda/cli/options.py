"""Options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pagoda.settings import HOME_VARIABLE


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class ProfileChoice(StrEnum):
    """What the platform of one machine runs: the names of `pagoda.standalone.profiles.PROFILES`."""

    FULL = "full"
    COMPACT = "compact"


HomeOption = Annotated[
    Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Folder with this installation's state [.pagoda].")
]
OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="A table for people or JSON for scripts.")]
DataOption = Annotated[Path, typer.Option("--data", help="Dataset folder, see docs/data.md.")]


def config_text(path: Path | None) -> str:
    """The training configuration in `path` as YAML, empty for none: read before any work starts.

    Raises:
        ConfigError: It cannot be read, a key is unknown or a value is wrong.
    """
    from pagoda.config.training import read_config

    return read_config(path).to_yaml() if path else ""
