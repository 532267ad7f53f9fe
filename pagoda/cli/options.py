"""Options that several verbs share."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pagoda.errors import ConfigError
from pagoda.settings import HOME_VARIABLE

if TYPE_CHECKING:
    from pagoda.data.window import Window


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class ProfileChoice(StrEnum):
    """What the platform of one machine runs: the names of `pagoda.standalone.profiles.PROFILES`."""

    FULL = "full"
    COMPACT = "compact"


class TeacherScale(StrEnum):
    """What the scores of a teacher's file are: the names of `pagoda.training.distillation.score_file.Scale`."""

    LOGIT = "logit"
    PROBABILITY = "probability"


HomeOption = Annotated[
    Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Folder with this installation's state [.pagoda].")
]
FilterOption = Annotated[str, typer.Option("--filter", help='What items must satisfy, `{"genres": ["Comedy"]}` say.')]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="A table for people or JSON for scripts.")]
TeacherScaleOption = Annotated[
    TeacherScale | None, typer.Option(help="What the scores of --teacher are; default: logit.")
]
DataOption = Annotated[Path, typer.Option("--data", help="Dataset folder, see docs/data.md.")]
ProcessesOption = Annotated[
    int, typer.Option("--processes", min=1, help="Processes that share the work; they change nothing in its result.")
]


def config_text(path: Path | None) -> str:
    """The training configuration in `path` as YAML, empty for none: read before any work starts.

    Raises:
        ConfigError: It cannot be read, a key is unknown or a value is wrong.
    """
    from pagoda.config.training import read_config

    return read_config(path).to_yaml() if path else ""


def scale_of(teacher: object, scale: TeacherScale | None) -> Literal["logit", "probability"]:
    """What the scores of `teacher` are.

    Raises:
        ConfigError: There is no teacher whose scores would be of a given scale.
    """
    if scale and not teacher:
        raise ConfigError(f"--teacher-scale {scale.value} says what the scores of --teacher are, and there is none")
    return (scale or TeacherScale.LOGIT).value


def read_window(text: str) -> Window:
    """A `--window START/END` as a person typed it.

    Raises:
        ConfigError: It is none.
    """
    from pydantic import ValidationError

    from pagoda.data.window import Window
    from pagoda.errors import explain

    try:
        first, last = (_moment(part) for part in text.split("/"))
        return Window(start=first, end=last)
    except ValidationError as error:
        raise ConfigError(explain(error, f"--window {text}")) from error
    except ValueError as error:
        raise ConfigError(f"--window {text!r} must be START/END, like 2024-05-01/2024-05-31 ({error})") from error


def _moment(text: str) -> datetime:
    """An ISO 8601 moment with its zone, or a date, which means its midnight in UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment
    if "T" in text or " " in text:
        raise ValueError(f"{text} has no zone; write {text}+00:00 for UTC")
    return moment.replace(tzinfo=UTC)
