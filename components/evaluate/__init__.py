"""Measure a trained version on the interactions after its window."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def evaluate(window: Input[Dataset], model: Input[Model], metrics: Output[Metrics], report: Output[HTML]) -> None:
    """Full ranking of every later positive as of its own moment, beside popularity and random.

    Args:
        window: What was learned, from load_window.
        model: The files of the version, from train.
        metrics: Recall, NDCG and coverage.
        report: The same with intervals, by group and beside the others, as tables and a picture.
    """
    from pathlib import Path

    from pagoda.evaluation.page import as_page
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    measured = full_steps.evaluate(FullUpdate.of(load_settings(), window.metadata))
    for name, value in measured.summary().items() if measured else ():
        metrics.log_metric(name, value)
    Path(report.path).write_text(as_page(measured), encoding="utf-8")
