"""The `pagoda` command: finds the verbs in its rooms, one file each."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import sys
import traceback
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

import pagoda.cli
from pagoda.access.permissions import OTHERS
from pagoda.distribution import EVERYTHING, NAME, missing, release
from pagoda.errors import PagodaError

app = typer.Typer(
    name="pagoda",
    help="Two-tower recall in production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{NAME} {release()}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the release and end.")
    ] = False,
) -> None:
    """Take what is said before a verb."""


# A verb's module holds `app`, a Typer: without a name its commands are top-level, with one they are a group. A module
# without one is of use to others of its room.
# Heavy libraries are imported inside the commands, so that `pagoda --help` stays instant.
def _verbs() -> list[str]:
    """The modules that hold a verb, in the order of their names, whatever room they are in."""
    here = pkgutil.iter_modules(pagoda.cli.__path__, "pagoda.cli.")
    rooms = [importlib.import_module(found.name) for found in here if found.ispkg]
    verbs = [verb.name for room in rooms for verb in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")]
    return sorted(verbs, key=lambda name: name.rpartition(".")[2])


for _verb in _verbs():
    if (_typer := getattr(importlib.import_module(_verb), "app", None)) is not None:
        app.add_typer(_typer)

_EXTRAS = dict.fromkeys(
    ("data", "imports", "auto", "sources", "train", "evaluate", "explore", "export", "mine", "replay", "simulate"),
    "train",
)
"""The extra that a verb needs, by its module, where it is not the one with everything."""
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What is the machine's trouble, a full or a read-only disk, wherever it shows; other errors of files are ours."""


def main() -> None:
    """Run the CLI; an error made for people is printed as one message, without a traceback."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        # What verbs write holds profiles and interactions. In a pod, others may have to read a shared volume.
        os.umask(OTHERS)
    try:
        app()
    except PagodaError as error:
        _fail(type(error).__name__, str(error))
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "pagoda", "pipelines", "serving"):
            raise
        _fail("ConfigError", missing(module, _EXTRAS.get(_verb_of(error), EVERYTHING)))
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        where = f": {error.filename}" if error.filename else ""
        _fail("OSError", f"{os.strerror(error.errno)}{where}; make room or choose another folder, then run again")


def _verb_of(error: BaseException) -> str:
    """The name of the verb's module that an error came through; empty for none."""
    modules = (frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__))
    verbs = (name for name in modules if name.startswith("pagoda.cli.") and name != __name__)
    return next(verbs, "").rpartition(".")[2]


def _fail(kind: str, message: str) -> NoReturn:
    # Unwrapped, so that a path or a value in the message stays whole, and escaped, since it may hold brackets.
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]{kind}[/]: {escape(message)}")
    sys.exit(1)
