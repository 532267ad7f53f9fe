"""A report as a page by itself: the tables and the picture in one file without anything from elsewhere.

Kubeflow's UI shows a `system.HTML` artifact in a sandboxed frame of 600 pixels' height, with the text as `srcdoc` and
nothing beside it (kubeflow/pipelines 2.17.0: frontend/src/components/viewers/MetricsVisualizations.tsx and
HTMLViewer.tsx, which shows the first of several). So it is one page, and the picture is part of it.
"""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from pagoda.evaluation.rendering import as_tables, figure
from pagoda.evaluation.report import Report

_WIDTH = 110
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Evaluation</title>
<style>
  body {{ font: 14px sans-serif; margin: 16px; color: #222; background: #fff; }}
  pre {{ font: 13px/1.4 monospace; overflow-x: auto; }}
  svg {{ max-width: 100%; height: auto; }}
</style></head>
<body>
{content}
</body>
</html>
"""
_NOTHING = "<p>Nothing was measured: there is no positive interaction after the window yet.</p>"


def as_page(report: Report | None) -> str:
    """The page; without a report it says so."""
    return _PAGE.format(content=f"{_tables(report)}\n{_picture(report)}" if report else _NOTHING)


def _tables(report: Report) -> str:
    console = Console(record=True, width=_WIDTH, file=StringIO(), highlight=False)
    console.print(as_tables(report))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _picture(report: Report) -> str:
    drawing = StringIO()
    figure(report).savefig(drawing, format="svg")
    # Without the XML declaration and document type, which have no place inside a page.
    return "<svg" + drawing.getvalue().partition("<svg")[2]
