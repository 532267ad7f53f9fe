"""What a person sees at the end of the main job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from demos.outcome import DemoOutcome
from pagoda.cli.platform.ask import tables
from pagoda.evaluation.rendering.tables import as_tables
from pagoda.masking import masked
from pagoda.settings import Settings
from pagoda.standalone.profiles import COMPACT
from pagoda.standalone.status import Health, ServiceStatus
from serving.console.asking import look

_USER, _ITEMS, _CLICKED = 1, 5, 2


def starting(console: Console) -> Callable[[Sequence[ServiceStatus]], None]:
    """A report for `Platform.up` that prints each service once, when it is healthy."""
    shown: set[str] = set()

    def report(statuses: Sequence[ServiceStatus]) -> None:
        for status in statuses:
            if status.health in (Health.HEALTHY, Health.NOT_READY) and status.name not in shown:
                shown.add(status.name)
                console.print(f"  [green]✓[/] {status.name:<12} {escape(status.url or '')}", highlight=False)

    return report


def outcome(found: DemoOutcome, console: Console) -> None:
    """Print evaluation, manifest, times and figures."""
    console.rule("[bold]What came out", align="left", style="dim")
    console.print(as_tables(found.evaluation))
    console.print(_manifest(found))
    console.print(found.stages.table())
    console.print(_figures(found), highlight=False)


def ask(settings: Settings, console: Console) -> None:
    """What `pagoda ask` prints of a user whom the version knows: history, recommendations, a click, the next answer."""
    console.rule(f"[bold]pagoda ask {_USER} --k {_ITEMS} --click {_CLICKED}", align="left", style="dim")
    seen = look(settings, str(_USER), k=_ITEMS, wanted={}, click=_CLICKED)
    console.print(tables.as_tables(seen, _ITEMS), highlight=False)


def ending(folder: Path, settings: Settings, *, kept: bool) -> str:
    """Where everything is, and how to go on while the platform is up."""
    addresses = f"MLflow {masked(settings.registry.uri)}   recall {settings.recall.url}/docs"
    report = f"Everything is in {folder / 'report.json'}"
    if not kept:
        return f"{addresses}\n{report}; the platform goes down now, `make demo KEEP=1` leaves it up."
    return "\n".join(
        [
            addresses,
            f"{report}.",
            "The platform stays up until Ctrl-C. Go on in another terminal:",
            f"  export PAGODA_HOME={folder / 'home'}",
            "  .venv/bin/python -m pagoda status",
            "  .venv/bin/python -m pagoda ask 1         # another user, --filter, --click N",
            "  .venv/bin/python -m pagoda url mlflow    # an address that opens",
        ]
    )


def _manifest(found: DemoOutcome) -> Panel:
    manifest = found.generation
    lines = {
        "id": manifest.id,
        "full version": manifest.full_version,
        "segments": len(manifest.segments),
        "collection": manifest.collection,
        "items": f"{manifest.item_count:,} × {manifest.dim}, {manifest.metric}",
        "learned": f"{manifest.window.start:%Y-%m-%d %H:%M} to {manifest.window.end:%Y-%m-%d %H:%M}",
        "tower": f"{manifest.tower.uri.rsplit('/', 1)[-1]}  {manifest.tower.checksum}",
        "ID tables": manifest.base.checksum,
        "item vectors": manifest.item_vectors.checksum,
        "created": f"{manifest.created_at:%Y-%m-%d %H:%M:%S}",
    }
    text = "\n".join(f"{name:<13} {value}" for name, value in lines.items())
    return Panel(Text(text), title=f"Generation {manifest.id}", expand=False)


def _figures(found: DemoOutcome) -> str:
    latency = found.latency
    lift = found.evaluation.lift["recall@50"]
    told = ["Profile compact: search and tower in the recall process, without Milvus and TorchServe"]
    return "\n".join(
        [
            *(told if found.profile == COMPACT else ()),
            f"Recall@50 over popularity's: {lift.value:.2f} × (95 % interval {lift.low:.2f} to {lift.high:.2f})",
            f"ANN recall@100 against exact search: {found.index.recall_at_100:.4f}",
            f"Recall end to end, one connection, {latency['requests']} requests: "
            f"p50 {latency['p50']} ms, p99 {latency['p99']} ms",
        ]
    )
