"""A run as a table for the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pagoda.load_test.report import LoadReport

_BARS = {"answered": "C0", "degraded": "C1", "not answered": "C3"}


def as_table(report: LoadReport) -> Group:
    """Latency, then how requests ended."""
    wanted = f"{report.rate:g} requests/s ({report.arrivals})" if report.rate else "as fast as answers come"
    title = f"{report.url}: {wanted}, {report.connections} connections, {report.users:,} users, k = {report.k}"
    latency = Table(box=None, pad_edge=False, header_style="bold")
    for name in report.latency_ms:
        latency.add_column(f"{name} ms", justify="right")
    latency.add_row(*(f"{value:.2f}" for value in report.latency_ms.values()))
    ends = Table(box=None, pad_edge=False, header_style="bold")
    counts = {
        "requests": report.requests,
        "answered": report.answered,
        "degraded": report.degraded,
        "shed": report.shed,
        "errors": report.errors,
    }
    for name in counts:
        ends.add_column(name, justify="right")
    ends.add_column("answered/s", justify="right")
    ends.add_row(*(f"{count:,}" for count in counts.values()), f"{report.answered_rps:,.1f}")
    details = {"degraded": report.degraded_by, "errors": report.errors_by, "arms": report.arms}
    lines = [Text(f"{name}: {_counted(found)}", style="dim") for name, found in details.items() if found]
    return Group(Text(title, style="italic"), latency, "", ends, *lines)


def _counted(found: dict[str, int]) -> str:
    return ", ".join(f"{key or 'unknown'} {count:,}" for key, count in found.items())


def plot(report: LoadReport, path: Path) -> None:
    """Draw latency and the ends of requests, second by second, into `path`."""
    # The canvas of the object interface: no display and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    seconds = [each.second for each in report.by_second]
    for name, colour in (("p99_ms", "C1"), ("p50_ms", "C0")):
        values = [getattr(each, name) for each in report.by_second]
        shown = [(second + 0.5, value) for second, value in zip(seconds, values, strict=True) if value is not None]
        above.plot(*zip(*shown, strict=True) if shown else ([], []), color=colour, label=name[:3], marker=".")
    above.set_yscale("log")
    above.yaxis.set_major_formatter("{x:g}")
    above.set_ylabel("latency of answers, ms")
    above.set_title(f"{report.url}: {report.answered:,} of {report.requests:,} requests answered", loc="left")
    above.legend(loc="upper right")
    bottom = [0] * len(seconds)
    for name, colour in _BARS.items():
        heights = [_height(name, each.due, each.answered, each.degraded) for each in report.by_second]
        below.bar(seconds, heights, 1.0, bottom, color=colour, label=name, align="edge")
        bottom = [sum(pair) for pair in zip(bottom, heights, strict=True)]
    below.set_ylabel("requests due in the second")
    below.set_xlabel("seconds after the start")
    below.set_ylim(top=1.25 * max(bottom, default=1))
    below.legend(loc="upper right", ncols=len(_BARS))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _height(name: str, due: int, answered: int, degraded: int) -> int:
    return {"answered": answered - degraded, "degraded": degraded, "not answered": due - answered}[name]
