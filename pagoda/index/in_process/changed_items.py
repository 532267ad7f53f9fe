"""What has changed in a collection since it was built."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.item_vectors.fields import ITEM_ID, VECTOR


class ChangedItems:
    """Items that stand in place of the indexed ones or beside them, by ascending ID, and IDs of all that changed."""

    def __init__(self, table: pa.Table) -> None:
        """Of what `CollectionFiles.overlay` gives."""
        self.touched: NDArray[np.int64] = table[ITEM_ID].to_numpy()
        """IDs of changed and of deleted items."""
        there = table.filter(pc.is_valid(table[VECTOR]))
        there = there.take(pc.sort_indices(there[ITEM_ID])).combine_chunks()
        self.columns = there.drop_columns(VECTOR)
        """Of m items."""
        self.ids: NDArray[np.int64] = there[ITEM_ID].to_numpy()
        """[m]"""
        vectors = there[VECTOR].combine_chunks()
        # An array of no lists does not say how long they would be.
        self.vectors: NDArray[np.float32] = vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size)
        """[m, dim]"""
