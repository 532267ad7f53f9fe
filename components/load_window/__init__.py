"""Decide what a full update learns: which interactions, and from which parent it starts."""

from typing import List  # noqa: UP035 - what Kubeflow reads

from kfp.dsl import Dataset, Output

from components.base import component


@component
def load_window(dataset: str, window_end: str, export_shards: int, window: Output[Dataset]) -> List[int]:  # noqa: UP006
    """Resolve the window since the champion's end and check the dataset that it is read from.

    Args:
        dataset: Folder or URL of the dataset; empty: the one that events are written into.
        window_end: End of the window, ISO 8601 with zone; empty: the last interaction.
        export_shards: Parts in which the item vectors are exported, each by a pod of its own.
        window: Names dataset, window and parent version for the steps that follow.

    Returns:
        The numbers of the shards.
    """
    from pagoda.settings import load_settings
    from pagoda.updates.full import FullUpdate

    settings = load_settings()
    update = FullUpdate.resolve(settings, settings.dataset(dataset), window_end, export_shards)
    window.uri = update.scratch.as_uri()
    window.metadata.update(update.describe())
    return list(range(update.shards))
