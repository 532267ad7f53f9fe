"""The words of items, for search by text: their title and their text features, as one column of a collection."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.layout import features_of
from pagoda.data.spec import FeatureSpec, Text
from pagoda.item_vectors.fields import FilterField

TEXT = FilterField("pagoda_text", "text", "")
"""The column, beside those that requests filter by; no request can filter by it."""
_LONGEST = 10_000
"""Characters of a title or a feature whose words count."""


def text_names(spec: FeatureSpec) -> tuple[str, ...]:
    """The columns of `items` whose words are searched, in declared order, the title first."""
    features = [one.column for one in features_of(spec, "items") if isinstance(one, Text)]
    return tuple(dict.fromkeys([*([spec.title] if spec.title else []), *features]))


def texts_of(items: pa.Table | pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    """What the columns say of each of n items, a line each, string [n]; empty where they say nothing."""
    columns = [pc.utf8_slice_codeunits(_whole(items[name]), 0, _LONGEST).cast(pa.string()) for name in names]
    # With null_handling="skip" a row without any value would be no row.
    return pc.binary_join_element_wise(*(column.fill_null("") for column in columns), "\n")


def with_texts(rows: pa.RecordBatch, texts: pa.Array) -> pa.RecordBatch:
    """Rows of a collection with the column."""
    return pa.RecordBatch.from_arrays([*rows.columns, texts], names=[*rows.schema.names, TEXT.name])


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
