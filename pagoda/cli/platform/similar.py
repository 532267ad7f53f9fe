"""`pagoda similar`: items like an item or several, by title."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import FilterOption, HomeOption, OutputFormat, OutputOption

if TYPE_CHECKING:
    from rich.console import Group

    from serving.console.similar import SimilarSeen

app = typer.Typer()


class Likeness(StrEnum):
    """What makes items alike: the `by` of a request."""

    VECTOR = "vector"
    BEHAVIOUR = "behaviour"


@app.command()
def similar(
    items: Annotated[list[str], typer.Argument(help="IDs of one item or several.")],
    *,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="Items at most.")] = 10,
    by: Annotated[
        Likeness, typer.Option(help="The nearest vectors, or what the same users chose (channel item_to_item).")
    ] = Likeness.VECTOR,
    wanted: FilterOption = "",
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Show the items that are like some, of the generation that is stable."""
    from rich.console import Console

    from pagoda.settings import load_settings
    from serving.console.asking import read_filter
    from serving.console.similar import look_similar

    seen = look_similar(load_settings(home), items, k=k, by=by.value, wanted=read_filter(wanted))
    if output is OutputFormat.JSON:
        found = [
            {"item_id": one.item_id, "title": seen.titles.get(one.item_id), "score": one.score}
            for one in seen.answer.items
        ]
        content = {**seen.answer.model_dump(mode="json"), "item_ids": seen.asked, "items": found}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        Console().print(_as_tables(seen), highlight=False)


def _as_tables(seen: SimilarSeen) -> Group:
    from rich.console import Group
    from rich.text import Text

    from pagoda.cli.platform.ask.tables import new_table
    from serving.console.asking import name_of

    answer, table = seen.answer, new_table()
    table.add_column("", justify="right", no_wrap=True)
    likes = "; ".join(name_of(seen.titles, item) for item in seen.asked if item not in answer.unknown)
    table.add_column(Text(f"like {likes or 'nothing'}"), ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("score", justify="right", no_wrap=True)
    for place, item in enumerate(answer.items, 1):
        table.add_row(str(place), Text(name_of(seen.titles, item.item_id)), f"{item.score:.3f}")
    notes = []
    if answer.unknown:
        notes.append(f"{answer.generation} does not have {', '.join(map(str, answer.unknown))}")
    elif not answer.items:
        notes.append(f"{answer.generation}: no item; the filter may leave none, or nobody chose any with them")
    if seen.untitled:
        notes.append(f"Without titles: {seen.untitled}")
    return Group(table, *(Text(note, style="yellow") for note in notes))
