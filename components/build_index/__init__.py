"""Put the item vectors into a collection of their own."""

from typing import List  # noqa: UP035 - what Kubeflow reads

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def build_index(
    window: Input[Dataset],
    version: Input[Model],
    vectors: Input[List[Dataset]],  # noqa: UP006
    collection: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Import, index, load, count, probe against exact search, warm: searchable before it is offered.

    Args:
        window: What was learned, from load_window.
        version: The registered version.
        vectors: From export_vectors, a part each.
        collection: Names the physical collection.
        metrics: Rows, recall against exact search, seconds.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    report = full_steps.build_index(FullUpdate.of(load_settings(), window.metadata))
    collection.metadata.update({"collection": report.name})
    metrics.log_metric("rows", report.rows)
    metrics.log_metric("ann_recall_at_100", report.recall_at_100)
