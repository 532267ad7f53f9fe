"""A report as a page by itself: the tables and the picture in one file without anything from elsewhere.

Kubeflow's UI shows a `system.HTML` artifact in a sandboxed frame of 600 pixels' height, with the text as `srcdoc` and
nothing beside it (kubeflow/pipelines 2.17.0: frontend/src/components/viewers/MetricsVisualizations.tsx and
HTMLViewer.tsx, which shows the first of several). So it is one page, and the picture is part of it.
"""

from __future__ import annotations

from html import escape
from io import StringIO

from rich.console import Console

from pagoda.evaluation.judgement import Judgement
from pagoda.evaluation.rendering.picture import figure
from pagoda.evaluation.rendering.tables import as_tables
from pagoda.evaluation.report import Report

_WIDTH = 110
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Evaluation</title>
<style>
  body {{ font: 14px sans-serif; margin: 16px; color: #222; background: #fff; }}
  pre {{ font: 13px/1.4 monospace; overflow-x: auto; }}
  .warning {{ color: #a00; font-weight: bold; }}
  svg {{ max-width: 100%; height: auto; }}
</style></head>
<body>
{content}
</body>
</html>
"""
_NOTHING = "<p>Nothing was measured.</p>"


def as_page(judged: Judgement) -> str:
    """The page: what was found in words, and the report; without one it says why there is none."""
    warnings = [f'<p class="warning">{escape(warning)}.</p>' for warning in judged.warnings()]
    report = judged.report
    found = [_tables(report), _picture(report, judged.whose)] if report else [_NOTHING]
    return _PAGE.format(content="\n".join([f"<p>{escape(judged.in_words())}</p>", *warnings, *found]))


def _tables(report: Report) -> str:
    console = Console(record=True, width=_WIDTH, file=StringIO(), highlight=False)
    console.print(as_tables(report))
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _picture(report: Report, whose: str) -> str:
    drawing = StringIO()
    figure(report, whose).savefig(drawing, format="svg")
    # Without the XML declaration and document type, which have no place inside a page.
    return "<svg" + drawing.getvalue().partition("<svg")[2]
