"""Make a trained and measured version part of the registry."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def register(window: Input[Dataset], model: Input[Model], metrics: Input[Metrics], version: Output[Model]) -> int:
    """Register the version in MLflow with its lineage and metrics; a second call finds the first one's version.

    Args:
        window: What was learned, from load_window.
        model: The files of the version, from train.
        metrics: From evaluate.
        version: The registered artifacts.

    Returns:
        The version's number.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    record = full_steps.register(FullUpdate.of(load_settings(), window.metadata))
    version.uri = record.uri
    version.metadata.update({"version": str(record.version), "key": record.key})
    return int(record.version)
