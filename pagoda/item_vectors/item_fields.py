"""`item_fields.arrow`: what answers may say of items beside their IDs, looked up in the file as it lies on disk.

Rows ascend by ID in one record batch without compression, so a value is found by bisection in mapped pages: memory
follows what is asked, and all processes of a machine share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.layout import column_type, features_of
from pagoda.data.spec import Dense, FeatureSpec
from pagoda.errors import IntegrityError
from pagoda.item_vectors.fields import ITEM_ID
from pagoda.item_vectors.texts import texts_of

FIELDS_FILE = "item_fields.arrow"
LONGEST = 1000
"""Characters of a text that an answer holds: an answer names thousands of items, and each is made in memory."""


def field_names(spec: FeatureSpec) -> tuple[str, ...]:
    """What may be said of an item: its title and its features, but for vectors, which say nothing to a person.

    No other column of `items` is: a rule's weight, say, is nobody's business.
    """
    return tuple(_types(spec))


def write_item_fields(path: Path, spec: FeatureSpec, items: pa.Table) -> None:
    """Write the fields of some items.

    Args:
        path: The file.
        spec: Says which they are.
        items: Rows of `Dataset.items()`: `item_id` ascending.
    """
    schema = pa.schema([(ITEM_ID, pa.int64()), *_types(spec).items()])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(items.select(schema.names).cast(schema).combine_chunks())


def _types(spec: FeatureSpec) -> dict[str, pa.DataType]:
    """Fields by name, in declared order; lengths in 64 bits, so that one batch holds any catalogue."""
    types = {spec.title: pa.large_string()} if spec.title else {}
    for feature in features_of(spec, "items"):
        if not isinstance(feature, Dense):
            types[feature.column] = _LARGE.get(column_type(feature), column_type(feature))
    return types


_LARGE = {pa.string(): pa.large_string(), pa.list_(pa.string()): pa.large_list(pa.large_string())}


class ItemFields:
    """The fields of all items, in the files of one or several parts. Files may be unlinked meanwhile."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Map files whose IDs ascend from each to the next.

        Raises:
            IntegrityError: One is not readable.
        """
        batches = [batch for path in paths for batch in _mapped(path) if batch.num_rows]
        self._parts = [(batch.column(ITEM_ID).to_numpy(), batch) for batch in batches]
        self._firsts = np.array([ids[0] for ids, _ in self._parts], np.int64)

    def read(self, ids: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
        """Values by name, for each of `ids` [n]: text up to `LONGEST`, None for a missing one and for unknown items."""
        found: list[dict[str, Any]] = [dict.fromkeys(names) for _ in ids]
        for places, rows in self._rows(ids, names):
            values = [_short(rows.column(name)).to_pylist() for name in names]
            for place, row in zip(places.tolist(), zip(*values, strict=True), strict=True):
                found[place] = dict(zip(names, row, strict=True))
        return found

    def texts(self, ids: NDArray[np.int64], names: Sequence[str]) -> pa.Array:
        """What `texts_of` gives for each of `ids` [n]; empty for unknown items."""
        found, order, texts = 0, np.full(len(ids), -1), [pa.array([], pa.string())]
        for places, rows in self._rows(ids, names):
            order[places] = found + np.arange(len(places))
            found += len(places)
            texts.append(texts_of(rows, names))
        return pa.concat_arrays(texts).take(pa.array(order, mask=order < 0)).fill_null("")

    def _rows(self, ids: NDArray[np.int64], names: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """The rows of those of `ids` that there are, part by part, and their places among these."""
        parts = np.searchsorted(self._firsts, ids, side="right") - 1
        for number in np.unique(parts[parts >= 0]):
            own, batch = self._parts[number]
            places = np.flatnonzero(parts == number)
            rows = np.searchsorted(own, ids[places])
            there = own[np.minimum(rows, len(own) - 1)] == ids[places]
            yield places[there], batch.select(names).take(pa.array(rows[there]))


def _short(values: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(values, 0, LONGEST) if pa.types.is_large_string(values.type) else values


def _mapped(path: Path) -> list[pa.RecordBatch]:
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            return [reader.get_batch(number) for number in range(reader.num_record_batches)]
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: not readable as fields of items ({error})") from error
