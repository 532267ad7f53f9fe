"""Compute the vectors of one part of the items."""

from kfp.dsl import Dataset, Input, Model, Output

from components.base import component


@component
def export_vectors(shard: int, window: Input[Dataset], version: Input[Model], vectors: Output[Dataset]) -> None:
    """Run the item tower over a part of the catalogue and write vectors and filter columns as Parquet.

    Args:
        shard: Which part, from 0.
        window: What was learned, from load_window.
        version: The registered version.
        vectors: item_vectors.parquet.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    vectors.uri = full_steps.export_vectors(FullUpdate.of(load_settings(), window.metadata), shard).as_uri()
