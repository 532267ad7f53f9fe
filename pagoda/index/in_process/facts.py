"""What the files of a collection say of it, without its index being read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.index.base import METRIC, CollectionFacts
from pagoda.index.in_process.collection_files import CollectionFiles
from pagoda.index.in_process.index_folder import open_items, read_record
from pagoda.index.in_process.indexed_items import rows_in
from pagoda.item_vectors.fields import ITEM_ID, VECTOR


def facts_of(files: CollectionFiles) -> CollectionFacts:
    """Of a collection in a folder. It costs what the overlay is long.

    Raises:
        IntegrityError: It is damaged.
    """
    indexed = files.index_state is not None
    return CollectionFacts(
        loaded=files.loaded.exists(),
        rows=_rows(files) if indexed else None,
        dim=dim_in(files.schema),
        metric=METRIC,
        kind=read_record(files.index).kind if indexed else None,
    )


def dim_in(schema: pa.Schema) -> int:
    """The length of a vector in a collection of these columns."""
    return int(schema.field(VECTOR).type.list_size)


def _rows(files: CollectionFiles) -> int:
    built, overlay = read_record(files.index).rows, files.overlay()
    if not len(overlay):
        return built
    replaced = rows_in(open_items(files.index)[ITEM_ID].to_numpy(), overlay[ITEM_ID].to_numpy())
    return built - len(replaced) + int(pc.sum(pc.is_valid(overlay[VECTOR])).as_py())
