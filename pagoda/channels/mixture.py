"""The channels that a version declares, opened: what each gives for a user, and the one answer of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pagoda.channels.base import Allowed, ChannelTable, Known
from pagoda.channels.factory import open_table, with_table
from pagoda.channels.merging import EXPLORE, FILLER, Lists, Merged, apart, looked_at, merged, shares_of, spread
from pagoda.config.channels import ChannelConfig, MergingConfig


@dataclass(frozen=True)
class OpenMixture:
    """Channels with their tables, and how their candidates are merged."""

    channels: tuple[ChannelConfig, ...]
    merging: MergingConfig
    tables: Mapping[str, ChannelTable]
    """Of each channel that has one."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of the channels that the version itself gives candidates of, in the order declared."""
        return tuple(one.kind for one in self.channels if one.kind == FILLER or one.kind in self.tables)

    def candidates(self, known: Known, allowed: Allowed, k: int) -> dict[str, list[int]]:
        """Up to k of each channel that has a table, the best first."""
        return {kind: table.candidates(known, allowed, k).ids.tolist() for kind, table in self.tables.items()}

    def answer(self, candidates: Lists, past: int, k: int) -> list[Merged]:
        """Up to k items from the `candidates` of all channels, for a user with so many `past` items.

        Where chance would choose what is explored, the first candidates that no other channel brings are.
        """
        shares, explored = apart(shares_of(self.channels, self.merging, past), EXPLORE)
        kind = self.merging.kind
        found = merged(looked_at(candidates, shares, kind, k), shares, kind, k)
        shown = {one.item for one in found}
        new = [Merged(item, (EXPLORE,), 0.0) for item in candidates.get(EXPLORE, ()) if item not in shown]
        return spread(found, new[: int(explored * k)], k)


def open_mixture(folder: Path, channels: Sequence[ChannelConfig], merging: MergingConfig) -> OpenMixture:
    """Open the tables that `write_tables` wrote into `folder`.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    tables: dict[str, ChannelTable] = {declared.kind: open_table(folder, declared) for declared in with_table(channels)}
    return OpenMixture(tuple(channels), merging, tables)
