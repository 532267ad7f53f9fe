"""Between Arrow and what pymilvus takes and gives: schema fields, rows, hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pymilvus import DataType, MilvusClient

from pagoda.data.checks.limits import MAX_TEXT_BYTES, MAX_VALUES
from pagoda.index.base import Hits
from pagoda.index.milvus.full_text import add_words, stored
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR, FilterField
from pagoda.item_vectors.texts import TEXT


def collection_schema(dim: int, fields: Sequence[FilterField], *, keys: bool, description: str) -> Any:
    """Schema of a collection as pymilvus wants it."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
    schema.add_field(ITEM_ID, DataType.INT64, is_primary=True)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dim)
    if keys:
        schema.add_field(ITEM_KEY, DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    for field in fields:
        if field == TEXT:
            add_words(schema)
            continue
        match field.kind:
            case "text":
                schema.add_field(field.name, DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
            case "number":
                schema.add_field(field.name, DataType.DOUBLE)
            case "texts":
                element = {"element_type": DataType.VARCHAR, "max_length": MAX_TEXT_BYTES}
                schema.add_field(field.name, DataType.ARRAY, max_capacity=MAX_VALUES, **element)
    return schema


def to_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows of `item_vectors.parquet` as `insert` takes them. Plain lists: pymilvus is slower with arrays."""
    columns = {name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    if TEXT.name in columns:
        columns[TEXT.name] = [stored(text) for text in columns[TEXT.name]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def to_hits(found: Any, *, keys: bool) -> Hits:
    """One query's answer from pymilvus."""
    return Hits(
        ids=np.array(found.ids, np.int64),
        scores=np.array(found.distances, np.float32),
        keys=[hit["entity"][ITEM_KEY] for hit in found] if keys else None,
    )
