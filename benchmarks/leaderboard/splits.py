"""How a set is cut into what is learned and what is asked: leave-one-out, and at one moment for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmarks.leaderboard.sets import BenchmarkSet
from pagoda.data.dataset import Dataset
from pagoda.data.imports.sequences import import_sequences
from pagoda.data.layout import FEATURES_FILE, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.partitions import InteractionWriter, timestamps_us
from pagoda.data.spec import write_spec
from pagoda.data.window import Window, from_us
from pagoda.errors import DataError
from pagoda.evaluation.positives import Protocol
from pagoda.storage.atomic import build_folder

SplitName = Literal["leave-one-out", "time", "validation"]
_LEARNED = 0.8
"""Share of the positives that lies before the moment of the time split."""
_SPLITS_FILE = "splits.json"
Int64Array = NDArray[np.int64]


class SetSplit(BaseModel):
    """One way to cut a set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: SplitName
    learned: Window
    asked: Window

    @property
    def protocol(self) -> Protocol:
        """Which positives of `asked` are to be found."""
        return "last" if self.name == "leave-one-out" else "each"


_SPLITS = TypeAdapter(tuple[SetSplit, ...])


def open_splits(which: BenchmarkSet, folder: Path) -> tuple[SetSplit, ...]:
    """The splits of a set, each one's dataset below `folder` under its name; made unless they were made before.

    Of sequences there is no time split: their moments are made up.

    Raises:
        DataError: The set cannot be read, or nobody in it did enough.
    """
    if not folder.exists():
        with build_folder(folder) as made:
            (made / _SPLITS_FILE).write_bytes(_SPLITS.dump_json(_made(which, made)))
    return _SPLITS.validate_json((folder / _SPLITS_FILE).read_bytes())


def _made(which: BenchmarkSet, folder: Path) -> tuple[SetSplit, ...]:
    if which.sequences is not None:
        return (_leave_one_out(which.sequences, folder),)
    which.write(folder / "whole")
    whole, sequences = Dataset.open(folder / "whole"), folder / "sequences.txt"
    with sequences.open("w") as file:
        for user, items in _sequences(*_first_positives(whole)):
            file.write(" ".join(map(str, [user, *items.tolist()])) + "\n")
    cut_in_time(whole, whole.span(), folder / "time")
    return _leave_one_out(sequences, folder), split_in_time(Dataset.open(folder / "time"), "time")


def _leave_one_out(source: Path, folder: Path) -> SetSplit:
    """As in the literature: IDs alone; nothing is learned from the validation item, but it is in the history."""
    splits = import_sequences(folder / "leave-one-out", source)
    return SetSplit(name="leave-one-out", learned=splits.train, asked=splits.test)


def cut_in_time(source: Dataset, span: Window, path: Path) -> None:
    """Write what is of `span` to the new dataset folder `path`, cut at one moment for all; users and items are linked.

    All that is of the moment or later happens at the moment, so that nothing of it is known to anything asked.

    Args:
        source: Lies in the folder of `path`.
        span: Of it.
        path: Where to.

    Raises:
        DataError: There is no such moment.
    """
    times = np.concatenate([timestamps_us(batch) for batch in source.batches(span, events=source.spec.positives)])
    cut_us = int(times[int(len(times) * _LEARNED)])
    if times[0] == cut_us:
        raise DataError(f"{source.path}: most interactions are of one moment, so there is no time split")
    spec, schema = source.spec, schema_of(source.spec, "interactions")
    keys = {"user_id": "user_key", "item_id": "item_key"} if spec.id_type == "string" else {}
    with new_dataset(path) as out:
        write_spec(spec, out / FEATURES_FILE)
        for table in ("users", "items"):
            (out / table).symlink_to(Path("..") / source.path.name / table, target_is_directory=True)
        with InteractionWriter(out / "interactions", schema) as writer:
            for batch in source.batches(span, columns=[keys.get(name, name) for name in schema.names]):
                columns = dict(zip(schema.names, batch.columns, strict=True))
                columns["timestamp"] = pa.array(np.minimum(timestamps_us(batch), cut_us))
                writer.write(pa.table(columns).cast(schema).to_batches()[0])


def split_in_time(cut: Dataset, name: SplitName) -> SetSplit:
    """The split of what `cut_in_time` wrote: what is asked is its last moment."""
    span = cut.span()
    moment = from_us(span.end_us - 1)
    return SetSplit(name=name, learned=Window(start=span.start, end=moment), asked=Window(start=moment, end=span.end))


def _first_positives(whole: Dataset) -> tuple[Int64Array, Int64Array]:
    """Users and items, int64 [n] each, in time order: of each pair, the first positive."""
    batches = list(whole.batches(events=whole.spec.positives, columns=["user_id", "item_id"]))
    users, items = (
        np.concatenate([batch.column(name).to_numpy() for batch in batches]) for name in batches[0].schema.names
    )
    _, item = np.unique(items, return_inverse=True)
    _, user = np.unique(users, return_inverse=True)
    _, first = np.unique(user * (int(item.max()) + 1) + item, return_index=True)
    first.sort()
    return users[first], items[first]


def _sequences(users: Int64Array, items: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    order = np.argsort(users, kind="stable")
    distinct, first = np.unique(users[order], return_index=True)
    yield from zip(distinct.tolist(), np.split(items[order], first[1:]), strict=True)
