"""Which channels have tables, and the folder of a full version that holds them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pagoda.channels.base import ChannelKind, ChannelTable, TableSource
from pagoda.channels.category import CategoryKind
from pagoda.channels.editorial import EditorialKind
from pagoda.channels.explore import ExploreKind
from pagoda.channels.fresh import FreshKind
from pagoda.channels.item_to_item import ItemToItemKind
from pagoda.channels.popular import PopularKind
from pagoda.config.channels import ChannelConfig
from pagoda.data.spec import FeatureSpec

TABLES = "channels"
"""Of a full version, with a folder of its own for each channel that has a table."""
KINDS: Mapping[str, ChannelKind] = {
    "item_to_item": ItemToItemKind(),
    "popular": PopularKind(),
    "editorial": EditorialKind(),
    "category": CategoryKind(),
    "fresh": FreshKind(),
    "explore": ExploreKind(),
}
"""Those that have a table: all but the towers, whose candidates are the collection's."""

_log = logging.getLogger(__name__)


def write_tables(folder: Path, channels: Sequence[ChannelConfig], source: TableSource) -> None:
    """Write the tables of all `channels` that have one; `folder` is made, where there are any.

    A warning names one that has no item: its answers would look as if it had not been declared.
    """
    for declared in with_table(channels):
        own = folder / declared.kind
        own.mkdir(parents=True)
        KINDS[declared.kind].write(own, declared, source)
        if not len(open_table(folder, declared).items):
            _log.warning(
                "channels: %s: finds no item in the data up to %s, so it gives nothing and the others fill its places; "
                "see docs/training.md#channels for what it looks for, and how many `days` back",
                declared.kind,
                source.window.end.isoformat(),
            )


def refuse_channels(channels: Sequence[ChannelConfig], spec: FeatureSpec) -> None:
    """Compare what is declared with the data's declaration.

    Raises:
        ConfigError: A channel names what the data lacks.
    """
    for declared in with_table(channels):
        KINDS[declared.kind].refuse(declared, spec)


def open_table(folder: Path, declared: ChannelConfig) -> ChannelTable:
    """Open one channel's table of those that `write_tables` wrote into `folder`.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    return KINDS[declared.kind].open(folder / declared.kind, declared)


def with_table(channels: Sequence[ChannelConfig]) -> list[ChannelConfig]:
    """Those that have a table."""
    return [declared for declared in channels if declared.kind in KINDS]
