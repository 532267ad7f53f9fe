"""The full update as a Kubeflow pipeline: interactions in, a served generation out."""

from kfp import dsl

from components.build_index import build_index
from components.evaluate import evaluate
from components.export_vectors import export_vectors
from components.load_window import load_window
from components.package_tower import package_tower
from components.publish import publish
from components.register import register
from components.train import train


@dsl.pipeline(name="full-update", description="Daily: warm start, shuffle, one epoch, all parameters; new tower and item vectors.")
def full_update(dataset: str, window_end: str = "", config: str = "") -> str:
    """Learn the interactions since the champion's window and serve what was learned.

    Every step is keyed by window and parent version: a run that was killed is simply run again.

    Args:
        dataset: Folder or URL of the dataset.
        window_end: End of the window, ISO 8601 with zone; empty: the last interaction.
        config: Training configuration as YAML; empty: the defaults.

    Returns:
        The id of the generation that serves.
    """
    window = load_window(dataset=dataset, window_end=window_end).outputs["window"]
    model = train(window=window, config=config).outputs["model"]
    metrics = evaluate(window=window, model=model).outputs["metrics"]
    version = register(window=window, model=model, metrics=metrics).outputs["version"]
    vectors = export_vectors(window=window, version=version).outputs["vectors"]
    collection = build_index(window=window, version=version, vectors=vectors).outputs["collection"]
    archive = package_tower(window=window, version=version).outputs["archive"]
    published = publish(window=window, archive=archive, collection=collection)
    return published.outputs["Output"]
