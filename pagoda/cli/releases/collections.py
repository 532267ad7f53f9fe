"""The collections of a search backend, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from pagoda.cli.fitted_table import Column, FittedTable

if TYPE_CHECKING:
    from pagoda.index.listing import ListedCollection

_FEW = 2


def collections_as_table(found: Sequence[ListedCollection]) -> Group:
    """Collections, one a line, and what kept the backend from telling of some."""
    table = FittedTable(
        Column("collection"),
        Column("arm"),
        Column("generations", prose=12),
        Column("rows", right=True),
        Column("loaded"),
        Column("behind", right=True),
        Column("kind", gives_way=2),
        Column("dim", right=True, gives_way=1),
        Column("metric", gives_way=1),
    )
    for one in found:
        facts = one.facts
        table.add_row(
            one.name,
            one.arm or ("live" if one.live else "-"),
            _generations(one),
            f"{facts.rows:,}" if facts and facts.rows is not None else "",
            "" if facts is None else "yes" if facts.loaded else "no",
            "" if one.behind is None else f"{one.behind:,}",
            (facts and facts.kind) or "",
            str((facts and facts.dim) or ""),
            (facts and facts.metric) or "",
        )
    return Group(table, *(Text(one.trouble, style="yellow") for one in found if one.trouble))


def _generations(one: ListedCollection) -> Text:
    if one.orphan:
        return Text("orphan", style="yellow")
    ids = one.generations or one.retired
    told = ", ".join(ids) if len(ids) <= _FEW else f"{ids[0]} … {ids[-1]} ({len(ids)})"
    return Text(told) if one.generations else Text(f"retired: {told}", style="dim")
