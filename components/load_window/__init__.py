"""Decide what a full update learns: which interactions, and from which parent it starts."""

from kfp.dsl import Dataset, Output

from components.base import component


@component
def load_window(dataset: str, window_end: str, window: Output[Dataset]) -> None:
    """Resolve the window since the champion's end and check the dataset that it is read from.

    Args:
        dataset: Folder or URL of the dataset.
        window_end: End of the window, ISO 8601 with zone; empty: the last interaction.
        window: Names dataset, window and parent version for the steps that follow.
    """
    from pagoda.settings import load_settings
    from pagoda.updates.full import FullUpdate

    update = FullUpdate.resolve(load_settings(), dataset, window_end)
    window.uri = update.scratch.as_uri()
    window.metadata.update(update.describe())
