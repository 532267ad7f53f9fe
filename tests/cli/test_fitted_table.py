"""Tables give way on narrow terminals by columns, not by cutting what stands in them."""

from __future__ import annotations

from io import StringIO

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pagoda.cli.fitted_table import Column, FittedTable

COLUMNS = (
    Column("id"),
    Column("second", gives_way=2),
    Column("first", right=True, gives_way=1),
    Column("why", prose=10),
)
cells = st.text("abcdefgh[]/", min_size=1, max_size=12)
words = st.lists(cells.filter(lambda word: len(word) <= 10), min_size=1, max_size=9).map(" ".join)


@settings(max_examples=40)
@given(st.lists(st.tuples(cells, cells, cells, words), min_size=1, max_size=4), st.integers(25, 90))
def test_columns_go_in_their_order_and_the_others_stand_whole(rows: list[tuple[str, ...]], width: int) -> None:
    table, out = FittedTable(*COLUMNS), StringIO()
    for row in rows:
        table.add_row(*row)
    Console(file=out, width=width).print(table)
    head, *lines = out.getvalue().splitlines()
    shown = head.split()
    assert shown in (["id", "why"], ["id", "second", "why"], ["id", "second", "first", "why"])
    assert max(map(len, lines)) <= width
    at, whole = head.index("why"), iter(lines)
    for row in rows:
        named = dict(zip(("id", "second", "first", "why"), row, strict=True))
        line = next(whole)
        assert line[:at].split() == [named[name] for name in shown[:-1]]
        told = line[at:].split()
        while told != named["why"].split():
            line = next(whole)
            assert not line[:at].strip()
            told += line[at:].split()
    assert next(whole, None) is None


def test_nothing_is_cut_where_not_even_what_stays_has_room() -> None:
    table, out = FittedTable(Column("id"), Column("why", prose=10)), StringIO()
    table.add_row("g123456789.123456789", "because")
    Console(file=out, width=16).print(table)
    assert "…" not in out.getvalue() and "".join(out.getvalue().split()).count("9") == 2
