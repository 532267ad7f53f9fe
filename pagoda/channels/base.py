"""What a channel is: a table written with a full version, and candidates for a user by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

Allowed = Callable[[Int64Array], BoolArray]
"""Which of some items, int64 [n], may stand in the answer, bool [n]: the filter, what the user had, what is gone."""


def anything(ids: Int64Array) -> BoolArray:
    """`Allowed` of most requests: all may. Who knows it by name need not ask, nor look up what to ask about."""
    return np.ones(len(ids), np.bool_)


@dataclass(frozen=True, slots=True)
class Known:
    """What a channel is told of the user that it is asked for."""

    items: Int64Array
    """Past items, int64 [n], the newest first."""
    ages_days: Float32Array
    """How long ago each was, float32 [n]."""
    moment_us: int
    """The moment that the answer is for, in microseconds since 1970, UTC."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Raw values of the user's features and of the context, by name."""


class Ranked(NamedTuple):
    """Items by falling score."""

    ids: Int64Array
    """[n], distinct."""
    scores: Float32Array
    """[n]; they compare within one channel alone."""


NOTHING = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))


class Ask(NamedTuple):
    """What a channel is asked for one user."""

    known: Known
    allowed: Allowed
    k: int
    """Candidates at most."""


class ChannelTable(ABC):
    """A channel's table of one full version, opened."""

    items: Int64Array
    """All that it may give, int64 [m], in any order, an item maybe more than once; mapped where there are many."""

    @abstractmethod
    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """Up to k candidates that are `allowed`; fewer, or `NOTHING`, where it knows no more.

        It is called on the thread that answers: it takes well below a millisecond, and holds nothing of one user for
        another.
        """

    def candidates_of_all(self, asks: Sequence[Ask]) -> list[Ranked]:
        """The same for several users; where it takes less to compute them together, a table does."""
        return [self.candidates(*ask) for ask in asks]


@dataclass(frozen=True)
class TableSource:
    """What tables are written from: all that is in it lies before the version's window ends."""

    dataset: Dataset
    window: Window
    items: Int64Array
    """Items that the version has vectors for, int64 [n], ascending; no other is a candidate."""
    vectors: Callable[[], Float32Array]
    """Computes these, those that the collection has: float32 [n, dim]."""


class ChannelKind(Protocol):
    """How the tables of one kind are written and read; `factory` has one a kind."""

    def write(self, folder: Path, declared: Any, source: TableSource) -> None:
        """Write the table into `folder`, which is there and empty. Memory is bounded by the catalogue, not by the data.

        Args:
            folder: The channel's own.
            declared: Its section of the training file, which `refuse` has found to fit the data.
            source: What to write it from.
        """

    def refuse(self, declared: Any, spec: FeatureSpec) -> None:
        """Compare its section with the data's declaration, before any work starts.

        Raises:
            ConfigError: The section names what the data lacks; the message begins with `channels: ` and the kind.
        """

    def open(self, folder: Path, declared: Any) -> ChannelTable:
        """Open what `write` wrote; large arrays stay on disk (`np.load` with `mmap_mode`).

        Raises:
            IntegrityError: A file is missing or damaged.
        """
