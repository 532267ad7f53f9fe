"""`pagoda ask`: what a user is recommended, by title, beside what they did."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pagoda.cli.options import FilterOption, HomeOption, OutputFormat, OutputOption

app = typer.Typer()


@app.command()
def ask(
    user: Annotated[str, typer.Argument(help="The user's ID. `-`: the first line of standard input.")],
    *,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="Items at most.")] = 10,
    click: Annotated[
        int, typer.Option(min=0, help="Send the event for the item of this number, and ask again; 0: do not.")
    ] = 0,
    wanted: FilterOption = "",
    text: Annotated[str, typer.Option(help="What is looked for in titles and texts, beside what fits the user.")] = "",
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Show what a user did and is recommended, of both arms while a rollout is on, and what a click moves."""
    from rich.console import Console

    from pagoda.cli.platform.ask import tables
    from pagoda.settings import load_settings
    from serving.console.asking import as_json, look, read_filter

    settings = load_settings(home)
    given = typer.get_text_stream("stdin").readline().strip() if user == "-" else user
    seen = look(settings, given, k=k, wanted=read_filter(wanted), text=text, click=click)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(as_json(seen), indent=2, ensure_ascii=False))
    else:
        Console().print(tables.as_tables(seen, k), highlight=False)
