"""Measure a trained version on the interactions after its window."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def evaluate(window: Input[Dataset], model: Input[Model], metrics: Output[Metrics]) -> None:
    """Full ranking of every later positive as of its own moment, beside popularity and random.

    Args:
        window: What was learned, from load_window.
        model: The files of the version, from train.
        metrics: Recall, NDCG and coverage.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    report = full_steps.evaluate(FullUpdate.of(load_settings(), window.metadata))
    for name, value in report.summary().items() if report else ():
        metrics.log_metric(name, value)
