"""The files of an incremental version: a segment, and the second artifact that only the next update reads.

Both hold only what the window touched. Together with those of the incrementals below it, down to the base, they are
what the next one starts from: cost follows the delta, neither the table nor the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pagoda.data.window import Window
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.embeddings.mapped_rows import verify_files
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.sorted_ids import SortedIds
from pagoda.errors import IntegrityError, explain

SEGMENT, STATE_FILE = "segment", "state.json"
VERSION, STATE = "version", "state"
"""Folders of the two artifacts, where they lie beside each other."""
Int64Array = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)


class StateDescription(BaseModel):
    """What `state.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: Window
    """Learned here; its end is the watermark."""
    segment: str
    """Checksum of the segment that this belongs to."""
    frozen: dict[str, str]
    """Checksum of each file of the base that nothing may change, as it was after learning."""
    interactions: int
    """Found in the window, duplicates included."""
    duplicates: int
    positives: int
    late: int
    """Found shortly before the window that were not there when it was learned."""
    new_users: int
    loss: float
    """Mean loss a positive, each asked before it was learned."""
    seconds: float
    rows: int
    """Users with a row in the segment."""
    histories: int
    """Users with a history."""
    history_length: int
    history_kinds: bool = Field(default=False, exclude_if=lambda there: not there)
    """Whether histories say which event each was."""
    frequencies: int = 0
    """Items with an estimate of how often they come."""
    files: dict[str, str]


@dataclass(frozen=True)
class StateRows:
    """What a window left of users: optimiser sums of those with a positive, histories of those with an event."""

    squares: NDArray[np.float32]
    """float32 [n], in the order of the segment's IDs."""
    users: Int64Array
    """int64 [m], ascending."""
    items: Int64Array
    """int64 [m, length]: last items by ID, right-aligned."""
    times_us: Int64Array
    """int64 [m, length]."""
    counts: Int64Array
    """int64 [m]: how many of the `length` there are."""
    frequency_items: Int64Array
    """int64 [k], ascending: items of the window, where their frequency was estimated."""
    frequencies: NDArray[np.float64]
    """float64 [k]: probability that a batch holds each."""
    kinds: Int64Array | None = None
    """int64 [m, length]: which event each was, where histories say it."""

    @classmethod
    def open(cls, folder: Path, description: StateDescription) -> StateRows:
        """Map what `write` wrote."""
        known, wide = description.histories, (description.histories, description.history_length)
        return cls(
            squares=open_array(folder / "squares.npy", np.float32, (description.rows,)),
            users=open_array(folder / "history_users.npy", np.int64, (known,)),
            items=open_array(folder / "history_items.npy", np.int64, wide),
            times_us=open_array(folder / "history_times.npy", np.int64, wide),
            counts=open_array(folder / "history_counts.npy", np.int64, (known,)),
            frequency_items=_optional(folder / "frequency_items.npy", np.int64, description.frequencies),
            frequencies=_optional(folder / "frequencies.npy", np.float64, description.frequencies),
            kinds=open_array(folder / "history_kinds.npy", np.int64, wide) if description.history_kinds else None,
        )

    def write(self, folder: Path) -> dict[str, str]:
        """Write the arrays into `folder`, which is created, and return the files' checksums."""
        folder.mkdir()
        arrays: dict[str, NDArray[np.generic]] = {
            "squares.npy": self.squares,
            "history_users.npy": self.users,
            "history_items.npy": self.items,
            "history_times.npy": self.times_us,
            "history_counts.npy": self.counts,
        }
        if len(self.frequencies):
            arrays |= {"frequency_items.npy": self.frequency_items, "frequencies.npy": self.frequencies}
        if self.kinds is not None:
            arrays["history_kinds.npy"] = self.kinds
        return {name: save_array(folder / name, array, array.dtype) for name, array in arrays.items()}


@dataclass(frozen=True)
class IncrementalFiles:
    """An incremental version over the one below it."""

    folder: Path
    """Holds the segment and nothing else: the first artifact."""
    state: Path
    """The second artifact, never served."""
    below: IncrementalFiles | None = None
    """The incremental before it on the same base; None for the first."""

    @property
    def segment(self) -> Path:
        """Folder of the segment."""
        return self.folder / SEGMENT

    @cached_property
    def delta(self) -> Segment:
        """The rows it changed, opened."""
        return Segment.open(self.segment)

    @cached_property
    def description(self) -> StateDescription:
        """How learning went, and the watermark."""
        path = self.state / STATE_FILE
        try:
            return StateDescription.model_validate_json(path.read_bytes())
        except OSError as error:
            raise IntegrityError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise IntegrityError(explain(error, str(path))) from error

    @cached_property
    def rows(self) -> StateRows:
        """What the next update needs of the users it touched."""
        return StateRows.open(self.state, self.description)

    @cached_property
    def history_users(self) -> SortedIds:
        """Finds users among `rows.users`."""
        return SortedIds(self.rows.users)

    @property
    def frequency_items(self) -> Int64Array:
        """See `StateRows`."""
        return self.rows.frequency_items

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """See `StateRows`."""
        return self.rows.frequencies

    @property
    def window(self) -> Window:
        """What it learned."""
        return self.description.window

    @property
    def chain(self) -> Iterator[IncrementalFiles]:
        """This one and those below it, newest first: the order of a lookup."""
        link: IncrementalFiles | None = self
        while link is not None:
            yield link
            link = link.below

    def verify(self) -> None:
        """Read every byte of both artifacts.

        Raises:
            IntegrityError: A file is missing or damaged, or they do not belong together.
        """
        segment = Segment.open(self.segment, verify=True)
        verify_files(self.state, self.description.files)
        if segment.checksum != self.description.segment:
            raise IntegrityError(f"{self.state} belongs to segment {self.description.segment}, not {segment.checksum}")


def _optional(path: Path, kind: type[T], count: int) -> NDArray[T]:
    return open_array(path, kind, (count,)) if count else np.empty(0, kind)


def chain_of(files: IncrementalFiles | None) -> tuple[IncrementalFiles, ...]:
    """`files` and those below, newest first; nothing for None, the base itself."""
    return tuple(files.chain) if files else ()
