"""Estimates as cells of a table for the terminal."""

from __future__ import annotations

from pagoda.evaluation.report import Estimate


def mean_cell(estimate: Estimate) -> str:
    """A mean with half of its interval."""
    return f"{estimate.value:.3f}[dim]±{(estimate.high - estimate.low) / 2:.3f}[/]"


def difference_cell(estimate: Estimate) -> str:
    """A difference with its sign and half of its interval; bold where that leaves out 0."""
    text = f"{estimate.value:+.4f}"
    outside = estimate.low > 0 or estimate.high < 0
    return f"{f'[bold]{text}[/]' if outside else text}[dim]±{(estimate.high - estimate.low) / 2:.4f}[/]"
