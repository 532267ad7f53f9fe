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
    explain: Annotated[bool, typer.Option("--explain", help="Say how each answer comes about.")] = False,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Show what a user did and is recommended, of both arms while a rollout is on, and what a click moves."""
    from rich.console import Console

    from pagoda.cli.platform.ask import tables
    from pagoda.cli.platform.ask.explained import explained_as_tables
    from pagoda.settings import load_settings
    from serving.console.asking import as_json, look, read_filter
    from serving.console.explaining import explained, explained_as_json

    settings = load_settings(home)
    given = typer.get_text_stream("stdin").readline().strip() if user == "-" else user
    asked = read_filter(wanted)
    seen = look(settings, given, k=k, wanted=asked, text=text, click=click)
    why = explained(settings, seen, k=k, wanted=asked, text=text) if explain else []
    if output is OutputFormat.JSON:
        told = as_json(seen) | ({"explained": explained_as_json(why)} if explain else {})
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        Console().print(tables.as_tables(seen, k), explained_as_tables(why), highlight=False)
