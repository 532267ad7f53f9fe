"""Small catalogues with vectors, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from pagoda.data.spec import Categorical, FeatureSpec, MultiValued, Numeric
from pagoda.item_vectors.vector_files import ItemVectorsWriter

SPEC = FeatureSpec(
    features=(
        Categorical(name="kind", tower="item", filterable=True),
        MultiValued(name="genres", tower="item", filterable=True),
        Numeric(name="release_year", tower="item", edges=(1990.0,), filterable=True),
    )
)


def unit_vectors(count: int, dim: int = 16, seed: int = 0, clusters: int = 50) -> np.ndarray:
    """Clustered directions, as trained towers give them: float32 [count, dim]."""
    centres = np.random.default_rng(7).standard_normal((clusters, dim))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(0, clusters, count)] + 0.8 * random.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def items_table(count: int, first: int = 0) -> pa.Table:
    """Items whose values follow from the ID; every third has none."""
    ids = np.arange(first, first + count)
    return pa.table(
        {
            "item_id": ids,
            "kind": pa.array([None if i % 3 == 0 else f"kind {i % 5}" for i in ids.tolist()], pa.string()),
            "genres": pa.array(
                [None if i % 3 == 0 else [f"g{i % 4}", "all"] for i in ids.tolist()], pa.list_(pa.string())
            ),
            "release_year": pa.array([None if i % 3 == 0 else 1950 + i % 70 for i in ids.tolist()], pa.int64()),
        }
    )


def write_vectors(path: Path, count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    """Write `item_vectors.parquet` of `count` items; returns their vectors."""
    vectors = unit_vectors(count, dim, seed)
    with ItemVectorsWriter(path, SPEC, dim) as writer:
        for start in range(0, count, 10_000):
            part = vectors[start : start + 10_000]
            writer.write(items_table(len(part), start), part)
    return vectors
