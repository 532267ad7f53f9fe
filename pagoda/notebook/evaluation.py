"""How good a version is, as a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.jupyter import JupyterMixin

from pagoda.evaluation.rendering.picture import figure
from pagoda.evaluation.rendering.tables import as_tables
from pagoda.evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Evaluation(JupyterMixin):
    """A report that shows itself as tables, in a notebook and by `rich.print`."""

    report: Report

    def __rich__(self) -> Group:
        return as_tables(self.report)

    def figure(self) -> Figure:
        """Recall against k, and by popularity of the item."""
        return figure(self.report)
