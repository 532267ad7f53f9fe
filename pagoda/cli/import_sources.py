"""Verbs of `pagoda data import` for what is no file: they have options of their own beside those of every import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pagoda.errors import ConfigError

if TYPE_CHECKING:
    from pagoda.data.imports.readers import Reader


class Chosen(NamedTuple):
    """What a verb's own options say."""

    reader: Reader
    arguments: dict[str, Any]
    """Of the import, in place of options that the verb does not have or has otherwise."""


def register(importing: typer.Typer, run: Callable[..., None]) -> None:
    """Add the verbs to `importing`; `run` imports, by a reader in its context's `obj`."""
    importing.command("sql", help="Import what queries of a database select: PostgreSQL, MySQL, MariaDB or SQLite.")(
        _verb(run, _sql, without=("users", "items", "delimiter"))
    )
    importing.command("delta", help="Import Delta Lake tables.")(_verb(run, _delta, without=("delimiter",)))


def _sql(
    context: typer.Context,
    *,
    interactions: Annotated[
        str,
        typer.Option(metavar="URL", help="The database: postgresql://USER@HOST/DATABASE, mysql://…, sqlite:///FILE."),
    ],
    query: Annotated[str, typer.Option(help="Selects the interactions.")],
    users_query: Annotated[str | None, typer.Option(help="Selects users; default: those of the interactions.")] = None,
    items_query: Annotated[str | None, typer.Option(help="Selects items; default: those of the interactions.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Holds the password; else $PAGODA_SQL_PASSWORD, or ~/.pgpass.")
    ] = None,
) -> Chosen:
    with _extra("sql"):
        from pagoda.data.imports.sources.sql import Query, SqlReader, read_password
    reader = SqlReader(interactions, read_password(password_file))
    context.call_on_close(reader.close)
    users, items = (None if text is None else Query(text) for text in (users_query, items_query))
    return Chosen(reader, {"interactions": Query(query), "users": users, "items": items})


def _delta(
    context: typer.Context,  # noqa: ARG001
    *,
    version: Annotated[
        int | None, typer.Option(min=0, help="Version of all tables; default: the latest of each.")
    ] = None,
) -> Chosen:
    with _extra("lake"):
        from pagoda.data.imports.sources.delta import DeltaReader
    return Chosen(DeltaReader(version), {})


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Says which extra a missing package belongs to."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed; pip install pagoda[{name}]") from error


def _verb(run: Callable[..., None], own: Callable[..., Chosen], without: tuple[str, ...]) -> Callable[..., None]:
    """A command with the options of `own`, and with those of `run` but for some."""
    mine, shared = (inspect.signature(one, eval_str=True).parameters for one in (own, run))
    left_out = {name: shared[name].default for name in without}

    def command(context: typer.Context, **given: Any) -> None:
        chosen = own(context, **{name: given.pop(name) for name in mine if name != "context"})
        context.obj = chosen.reader
        run(context, **{**left_out, **given, **chosen.arguments})

    options = {name: one for name, one in shared.items() if name not in {*without, *mine} or name == "context"}
    merged = [*options.values(), *(one for name, one in mine.items() if name != "context")]
    command.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in merged}
    return command
