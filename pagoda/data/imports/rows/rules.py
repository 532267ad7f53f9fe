"""What an import is told of rows: which it leaves out, and what the others become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pagoda.data.imports.choices import UnknownItems
from pagoda.data.imports.rows.refusals import Skip
from pagoda.errors import ConfigError


@dataclass(frozen=True)
class Ratings:
    """Ratings in place of events: each is an interaction, and a `like` beside it from some number on."""

    column: str
    like_from: float


@dataclass(frozen=True)
class RowRules:
    """Of all rows of an import."""

    skip: Skip = field(default_factory=Skip)
    unknown_items: UnknownItems = UnknownItems.REFUSE
    events: Mapping[str, str] = field(default_factory=dict)
    """Event in the files → event; rows whose event becomes the empty one are left out."""
    ratings: Ratings | None = None
    quantity: str | None = None
    """Column with how many were bought: fewer than none is a return."""
    items_from_log: Mapping[str, str] = field(default_factory=dict)
    """Column of the items → column of the interactions that holds it."""
    time_of_day: str | None = None
    """Column that holds it, where the timestamps' column has dates alone."""
    order: str | None = None
    """Column in whose order a user's interactions are; there are no timestamps, so moments are made up."""
    in_order: bool = False
    """The same, the order being that of the rows."""
    min_user: int = 0
    """Interactions that a user must have, and an item: those with fewer go until no more has to."""
    min_item: int = 0

    def __post_init__(self) -> None:
        if self.order is not None and self.in_order:
            raise ConfigError("--order-column and --in-order contradict each other; choose one")
        if self.untimed and self.time_of_day is not None:
            raise ConfigError("--time-column stands beside dates; with --order-column and --in-order there are none")
        if min(self.min_user, self.min_item) < 0:
            raise ConfigError("--min-user and --min-item must not be negative")

    @property
    def untimed(self) -> bool:
        """Whether moments are made up."""
        return self.order is not None or self.in_order

    def extra_columns(self) -> list[str]:
        """Columns of the interactions that are read beside those of the contract, by their names in the files."""
        ratings = [] if self.ratings is None else [self.ratings.column]
        named = [one for one in (self.quantity, self.time_of_day, self.order) if one is not None]
        return [*ratings, *named, *self.items_from_log.values()]
