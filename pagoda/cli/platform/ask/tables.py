"""What `pagoda ask` prints: 80 columns are enough."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pagoda.client import Recommendation, RecommendedItem
from pagoda.data.window import from_us
from serving.console.asking import UserSeen, moves, name_of, value_of

_LEFT_SHOWN = 5


def as_tables(seen: UserSeen, rows: int) -> Group:
    """All of it for people; of the history `rows` events at most."""
    parts: list[RenderableType] = [*_about(seen), *_history(seen, rows)]
    if len(seen.answers) > 1:
        names = [f"{_by(one)}{', own arm' if one is seen.answers[0] else ''}" for one in seen.answers]
        parts += [Text(), _answers(seen, seen.answers, names)]
    elif seen.then is None:
        parts += [Text(), _answers(seen, seen.answers, [f"recommended by {_by(seen.answers[0])}"])]
    parts += [line for answer in seen.answers for line in _short_of(answer)]
    if seen.then:
        own, clicked = seen.answers[0], name_of(seen.titles, seen.clicked)
        heads = [f"before, {_by(own)}", f"after, {_by(seen.then)}"]
        parts.append(Text(f"\nSent: {seen.event} on {clicked}\n"))
        parts.append(_answers(seen, [own, seen.then], heads))
        parts += [*_gone(seen, own.items, seen.then.items), *_short_of(seen.then)]
    if seen.untitled:
        parts.append(Text(f"Without titles: {seen.untitled}", style="yellow"))
    return Group(*parts)


def _about(seen: UserSeen) -> list[Text]:
    own, known = seen.answers[0], seen.known
    row = "has an ID row" if own.known_user else "has no ID row, so is answered as a newcomer"
    counts = f"; events read: {len(known.events):,}; items had: {known.had:,}" if known and not known.empty else ""
    head = Text.assemble((f"User {seen.user}", "bold"), f": {row}{counts}")
    if known is None:
        return [head, Text("Profile and events are not seen from here: set redis.url.", style="yellow")]
    if known.empty:
        return [head, Text("Nothing is known of them: no profile, no events.", style="yellow")]
    profile = ", ".join(f"{name} {value_of(value)}" for name, value in known.profile.items())
    return [head, Text(f"Profile: {profile or 'none'}")]


def _history(seen: UserSeen, rows: int) -> list[RenderableType]:
    if seen.known is None or seen.known.empty:
        return []
    if not seen.known.events:
        return [Text("No history: no event of theirs is one that the tower reads.", style="yellow")]
    table = new_table()
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("did last, newest first", ratio=1, no_wrap=True, overflow="ellipsis")
    for event in seen.known.events[:rows]:
        when = from_us(event["timestamp"]).astimezone(UTC)
        table.add_row(f"{when:%Y-%m-%d %H:%M}", Text(name_of(seen.titles, event["item_id"])))
    return [Text(), table]


def _answers(seen: UserSeen, answers: Sequence[Recommendation], heads: Sequence[str]) -> Table:
    """Answers side by side; of the second one also how far each item rose."""
    table = new_table()
    table.add_column("", justify="right", no_wrap=True)
    for place, head in enumerate(heads):
        if place:
            table.add_column("", no_wrap=True, justify="right")
        table.add_column(Text(head), ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("score", justify="right", no_wrap=True)
    # Side by side there is no room for it.
    told = len(answers) == 1 and any(item.channels for item in answers[0].items)
    if told:
        table.add_column("from", no_wrap=True)
    moved = [moves(answers[0].items, answer.items) for answer in answers]
    for row in range(max((len(answer.items) for answer in answers), default=0)):
        cells: list[str | Text] = [str(row + 1)]
        for place, answer in enumerate(answers):
            there = row < len(answer.items)
            if place:
                cells.append(_move(moved[place][row]) if there else "")
            item = answer.items[row] if there else None
            cells += [Text(name_of(seen.titles, item.item_id)), f"{item.score:.3f}"] if item else ["", ""]
            if item and told:
                cells.append(", ".join(item.channels))
        table.add_row(*cells)
    return table


def _move(rise: int | None) -> Text:
    if rise is None:
        return Text("new", style="green")
    if rise == 0:
        return Text("=", style="dim")
    return Text(f"↑{rise}", style="green") if rise > 0 else Text(f"↓{-rise}", style="red")


def _gone(seen: UserSeen, before: Sequence[RecommendedItem], after: Sequence[RecommendedItem]) -> list[Text]:
    """What is no longer there, beside the item that was clicked."""
    stay = {item.item_id for item in after} | {seen.clicked}
    gone = [name_of(seen.titles, item.item_id) for item in before if item.item_id not in stay]
    more = f" and {len(gone) - _LEFT_SHOWN} more" if len(gone) > _LEFT_SHOWN else ""
    return [Text(f"Gone: {'; '.join(gone[:_LEFT_SHOWN])}{more}", style="dim")] if gone else []


def _short_of(answer: Recommendation) -> list[Text]:
    """What is not as it should be with an answer."""
    lines = []
    if answer.degraded:
        lines.append(Text(f"{_by(answer)}: degraded, {', '.join(answer.degraded)}", style="yellow"))
    if not answer.items:
        lines.append(Text(f"{_by(answer)}: no item; the filter may leave none, or all were had", style="yellow"))
    return lines


def _by(answer: Recommendation) -> str:
    return f"{answer.generation} ({answer.arm})"


def new_table() -> Table:
    """One without lines, as wide as the terminal."""
    return Table(box=None, pad_edge=False, expand=True, header_style="bold", padding=(0, 2, 0, 0))
