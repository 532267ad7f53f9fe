"""Items as documents: the index that keeps them, and the lines that put them into it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pagoda.errors import ConfigError
from pagoda.index.base import MOST_FOUND
from pagoda.index.elasticsearch.dialects import VectorDialect
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR, FilterField
from pagoda.settings import CollectionConfig

MARK = "pagoda"
"""Key in a mapping's `_meta` of what the servers have no place for: description, kind, and how far it is built."""
KINDS = ("HNSW", "FLAT")
"""Elasticsearch's kinds of codes are left out: their scores are the codes', and differ from the inner product by more
than 1e-5, which every backend keeps to."""
MESSAGE_BYTES = 5 << 20
"""Of one `_bulk`; both servers refuse more than 100 MB, and gain nothing above some MB."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
_TYPES = {"text": "keyword", "texts": "keyword", "number": "double"}
_ROWS = 1000


def index_body(
    dialect: VectorDialect,
    dim: int,
    fields: Sequence[FilterField],
    *,
    keys: bool,
    shards: int,
    config: CollectionConfig,
    meta: dict[str, Any],
) -> dict[str, Any]:
    """Body of `PUT /INDEX`: an index that is to be filled, without replicas and unseen by searches until then."""
    properties: dict[str, Any] = {VECTOR: dialect.field(dim, config)}
    if keys:
        properties[ITEM_KEY] = {"type": "keyword", "index": False}
    properties |= {field.name: {"type": _TYPES[field.kind]} for field in fields}
    settings = {
        "number_of_shards": shards,
        "number_of_replicas": 0,
        "refresh_interval": "-1",
        # 10,000 by default, below what the port promises.
        "max_result_window": MOST_FOUND,
        **dialect.settings(config),
    }
    return {
        "settings": {"index": settings},
        "mappings": {"dynamic": "false", "_meta": meta, "properties": properties},
    }


def mark_of(mapping: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an index of Pagoda's says of itself, in one entry of `GET /INDEX/_mapping`; None: it is somebody else's."""
    return (mapping["mappings"].get("_meta") or {}).get(MARK)


def require_possible(name: str, kind: str) -> None:
    """Refuse what no index can be.

    Raises:
        ConfigError: The name, or the kind of index.
    """
    if kind not in KINDS:
        raise ConfigError(f"collection {name!r}: backend elasticsearch builds {' and '.join(KINDS)}, not {kind}")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"collection {name!r}: the name of an Elasticsearch or OpenSearch index has no capitals and begins with a "
            "letter or digit; collections are called by registry.model"
        )


def put_lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    """Two lines of `_bulk` for each row of `item_vectors.parquet`: put in place of what has its ID, or beside."""
    names = [name for name in batch.schema.names if name not in (ITEM_ID, VECTOR)]
    for start in range(0, batch.num_rows, _ROWS):
        part = batch.slice(start, _ROWS)
        vectors = np.ascontiguousarray(part[VECTOR].flatten().to_numpy()).reshape(part.num_rows, -1)
        others = zip(*(part[name].to_pylist() for name in names), strict=True) if names else [()] * part.num_rows
        for item, vector, values in zip(part[ITEM_ID].to_pylist(), vectors, others, strict=True):
            document = {VECTOR: vector, **dict(zip(names, values, strict=True))}
            yield _line({"index": {"_id": str(item)}}) + _line(document)


def delete_lines(ids: np.ndarray) -> Iterator[bytes]:
    """A line of `_bulk` for each item."""
    return (_line({"delete": {"_id": str(item)}}) for item in ids.tolist())


def messages(lines: Iterable[bytes], most: int = MESSAGE_BYTES) -> Iterator[tuple[bytes, int]]:
    """Lines put together into bodies of about `most` bytes, each with the number of its items."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= most:
            yield b"".join(held), len(held)
            held, size = [], 0
    if held:
        yield b"".join(held), len(held)


def _line(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
