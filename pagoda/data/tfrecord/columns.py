"""Arrow columns from records of `tf.train.Example`, and records from columns.

A null is a feature without a kind, which TensorFlow takes for a missing one (`DT_INVALID` in
`tensorflow/core/util/example_proto_fast_parsing.cc`); an empty list has a kind and no value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from pagoda.data.tfrecord.example import BYTES, FLOATS, INTEGERS, Example
from pagoda.errors import DataError

_BATCH_ROWS = 16_384
_TYPES = {BYTES: pa.string(), FLOATS: pa.float32(), INTEGERS: pa.int64()}
_KINDS = {kind: name for name, kind in _TYPES.items()}
_Values = list[Any] | None


def column_types(records: Iterable[bytes], where: str) -> pa.Schema:
    """The types of the features that any record has, by name: lists, and null where a feature is always missing.

    Raises:
        DataError: A record is no `tf.train.Example`, or a feature is of another kind than before.
    """
    kinds: dict[str, str | None] = {}
    for number, record in enumerate(records, 1):
        for name, feature in _features(record, where, number).items():
            kind = feature.WhichOneof("kind")
            known = kinds.setdefault(name, kind)
            if known != kind and kind is not None:
                if known is not None:
                    raise DataError(
                        f"{where}, record {number:,}, feature {name!r}: is a {kind}, before it was a {known}"
                    )
                kinds[name] = kind
    return pa.schema([(name, _list_of(kinds[name])) for name in sorted(kinds)])


def batches_of(records: Iterator[bytes], schema: pa.Schema, where: str) -> Iterator[pa.RecordBatch]:
    """The records as batches of the columns of `schema`, which `column_types` gave.

    Raises:
        DataError: A record is no `tf.train.Example`, or bytes are no UTF-8 text.
    """
    first = 1
    while some := list(islice(records, _BATCH_ROWS)):
        rows = [_features(record, where, number) for number, record in enumerate(some, first)]
        arrays = [_column(rows, field, f"{where}, records {first:,} to {first + len(rows) - 1:,}") for field in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        first += len(rows)


def id_in(record: bytes, name: str) -> str | None:
    """The ID that a record which `ExampleEncoder` made has under this name, as text."""
    feature = Example.FromString(record).features.feature[name]
    kind = feature.WhichOneof("kind")
    values = _values(feature, kind) if kind else None
    if not values:
        return None
    return values[0].decode() if isinstance(values[0], bytes) else str(values[0])


def _features(record: bytes, where: str, number: int) -> Any:
    try:
        example = Example.FromString(record)
    except DecodeError as error:
        raise DataError(f"{where}, record {number:,}: is no tf.train.Example ({error})") from error
    if example.feature_lists:
        raise DataError(f"{where}, record {number:,}: is a SequenceExample; write one Example for each interaction")
    return example.features.feature


def _list_of(kind: str | None) -> pa.DataType:
    if kind is None:
        return pa.null()
    return pa.list_(_TYPES[kind])


def _column(rows: Sequence[Any], field: pa.Field, where: str) -> pa.Array:
    if pa.types.is_null(field.type):
        return pa.nulls(len(rows))
    name, kind = field.name, _KINDS[field.type.value_type]
    values = [_values(row[name], kind) for row in rows]
    if not pa.types.is_string(field.type.value_type):
        return pa.array(values, field.type)
    try:
        return pa.array(values, pa.list_(pa.binary())).cast(field.type)
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}, feature {field.name!r}: bytes that are no UTF-8 text") from error


def _values(feature: Any, kind: str) -> _Values:
    found: list[Any] = getattr(feature, kind).value[:]
    return found or (None if feature.WhichOneof("kind") is None else found)


class ExampleEncoder:
    """Makes records of batches, and counts what a float of 32 bits, TensorFlow's only one, cannot hold."""

    def __init__(self) -> None:
        self.rounded: Counter[str] = Counter()
        """By column, numbers that were rounded to seven digits."""
        self.left_out: Counter[str] = Counter()
        """By column, numbers that are too large, and missing in the records."""

    def records(self, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
        """Each row as a record; the same rows give the same bytes."""
        for batch in batches:
            columns = [(name, *self._lists(name, batch.column(name))) for name in batch.schema.names]
            for row in range(batch.num_rows):
                example = Example()
                features = example.features.feature
                for name, kind, values in columns:
                    feature, found = features[name], values[row]
                    if found is not None:
                        values_of = getattr(feature, kind)
                        values_of.SetInParent()  # Else an empty list would be none.
                        values_of.value.extend(found)
                yield example.SerializeToString(deterministic=True)

    def _lists(self, name: str, column: pa.Array) -> tuple[str, list[_Values]]:
        """The kind of a column, and by row the values."""
        is_list = pa.types.is_list(column.type)
        one = column.type.value_type if is_list else column.type
        if pa.types.is_timestamp(one):
            kind, column = INTEGERS, column.cast(pa.int64())
        elif pa.types.is_integer(one):
            kind = INTEGERS
        elif pa.types.is_floating(one):
            kind = FLOATS
            column = self._single(name, column) if one == pa.float64() else column
        else:
            kind, column = BYTES, column.cast(pa.list_(pa.binary()) if is_list else pa.binary())
        values: list[Any] = column.to_pylist()
        return kind, values if is_list else [None if value is None else [value] for value in values]

    def _single(self, name: str, column: pa.Array) -> pa.Array:
        """A column of float64 as float32."""
        held = pc.less_equal(pc.abs(column), float(np.finfo(np.float32).max))
        single = pc.if_else(held, column, None).cast(pa.float32(), safe=False)
        self.left_out[name] += single.null_count - column.null_count
        self.rounded[name] += pc.sum(pc.not_equal(single.cast(pa.float64()), column)).as_py() or 0
        return single
