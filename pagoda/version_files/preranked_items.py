"""What a version's pre-ranker reads of items: the same for those that are exported and for those changed since."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.model.encoder import Encoded
from pagoda.prerank.groups import item_features
from pagoda.prerank.items import columns_of
from pagoda.version_files.full import FullVersionFiles


def preranked(
    files: FullVersionFiles, groups: Sequence[str], items: pa.Table, vectors: NDArray[np.float32]
) -> tuple[NDArray[np.int64], Encoded]:
    """Encode some items.

    Args:
        files: The full version.
        groups: That its pre-ranker reads.
        items: n rows like those of `Dataset.items()`.
        vectors: float32 [n, D], theirs.

    Returns:
        IDs int64 [n], and columns as `columns_of` has them.
    """
    ids, count = items.column("item_id").to_numpy(), files.popularity().num_rows
    encoded, names = files.encoder.encode_table("item", items), item_features(groups)
    return ids, columns_of(vectors, count * files.shares(ids), {name: encoded[name] for name in names})
