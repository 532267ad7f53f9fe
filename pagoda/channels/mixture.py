"""The channels that a version declares, opened: what each gives for a user, and the one answer of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pagoda.channels.base import Allowed, ChannelTable, Known
from pagoda.channels.factory import open_table, with_table
from pagoda.channels.merging import Lists, Merged, merged, shares_of
from pagoda.config.channels import ChannelConfig, MergingConfig


@dataclass(frozen=True)
class Mixture:
    """Channels and how their candidates are merged."""

    channels: tuple[ChannelConfig, ...]
    merging: MergingConfig
    tables: Mapping[str, ChannelTable]
    """Of each channel that has one."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of the channels, in the order declared."""
        return tuple(channel.kind for channel in self.channels)

    def candidates(self, known: Known, allowed: Allowed, k: int) -> dict[str, list[int]]:
        """Up to k of each channel that has a table, the best first."""
        return {kind: table.candidates(known, allowed, k).ids.tolist() for kind, table in self.tables.items()}

    def answer(self, candidates: Lists, past: int, k: int) -> list[Merged]:
        """Up to k items from the `candidates` of all channels, for a user with so many `past` items."""
        return merged(candidates, shares_of(self.channels, self.merging, past), self.merging.kind, k)


def open_mixture(folder: Path, channels: Sequence[ChannelConfig], merging: MergingConfig) -> Mixture:
    """Open the tables that `write_tables` wrote into `folder`.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    tables: dict[str, ChannelTable] = {declared.kind: open_table(folder, declared) for declared in with_table(channels)}
    return Mixture(tuple(channels), merging, tables)
