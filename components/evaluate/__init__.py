"""Measure what a trained version is worth."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.base import component


@component
def evaluate(window: Input[Dataset], model: Input[Model], metrics: Output[Metrics], report: Output[HTML]) -> None:
    """Full ranking of held-out positives, each as of its own moment, beside what the version must beat.

    Args:
        window: What was learned, from load_window.
        model: The files of the version, from train.
        metrics: Recall, NDCG and coverage on what came after the window, and lifts over baselines.
        report: The same with intervals, by group and beside the others, as tables and a picture, and whose they are.
    """
    from pathlib import Path

    from pagoda.evaluation.page import as_page
    from pagoda.settings import load_settings
    from pagoda.updates import full_evaluation
    from pagoda.updates.full import FullUpdate

    update = FullUpdate.of(load_settings(), window.metadata)
    measured, judged = full_evaluation.evaluate(update), full_evaluation.judge(update)
    for name, value in {**(measured.summary() if measured else {}), **judged.figures}.items():
        metrics.log_metric(name, value)
    Path(report.path).write_text(as_page(judged), encoding="utf-8")
