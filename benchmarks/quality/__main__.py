"""How good what is found is: `python -m benchmarks.quality FILE`, the whole protocol on any file of sequences."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.quality.protocol import run
from benchmarks.quality.settings import TOWERS, Tower
from pagoda.errors import PagodaError
from pagoda.training.full.loop import Progress
from pagoda.training.progress import TerminalProgress

_SHOWN = ("hr@10", "ndcg@10", "recall@20", "ndcg@20")


def main() -> None:
    """Run the protocol, print the table, write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequences", type=Path, help="a line is a user and their items in the order of time")
    parser.add_argument("--towers", nargs="*", choices=TOWERS, default=TOWERS)
    parser.add_argument("--out", type=Path, default=Path("build/bench/quality.json"))
    arguments = parser.parse_args()
    console = Console(stderr=True)
    found: dict[Tower, dict[str, Any]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="pagoda-quality-") as folder:
            for tower, result in run(arguments.sequences, Path(folder), tuple(arguments.towers), _watch(console)):
                found[tower] = result
    except PagodaError as error:
        raise SystemExit(f"error: {error}") from None
    stem = arguments.sequences.stem
    _write(arguments.out, stem, found)
    asked = f"{stem}: leave-one-out, {next(iter(found.values()))['users']:,} users asked among all items but their own"
    Console().print(asked, _table(found), f"Written to {arguments.out}.", sep="\n", highlight=False)


def _watch(console: Console) -> Any:
    @contextmanager
    def watched(tower: Tower) -> Iterator[Progress]:
        console.print(f"{tower}:")
        with TerminalProgress(console) as progress:
            yield progress

    return watched


def _write(path: Path, stem: str, found: dict[Tower, dict[str, Any]]) -> None:
    """Add the file's figures to those of other files."""
    document = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {stem: found}, indent=1))


def _table(found: dict[Tower, dict[str, Any]]) -> Table:
    table = Table("", box=None, pad_edge=False)
    for tower in found:
        table.add_column(tower, justify="right", no_wrap=True)
    for name in _SHOWN:
        table.add_row(name, *(_estimate(result, name) for result in found.values()))
    for name in _SHOWN[:2]:
        table.add_row(f"validation {name}", *(_estimate(result["validation"], name) for result in found.values()))
    table.add_row("epochs", *(str(result["epochs"]) for result in found.values()))
    for name, title in (("seconds", "seconds"), ("cpu_seconds", "seconds of processors")):
        table.add_row(title, *(f"{result[name]:,.0f}" for result in found.values()))
    return table


def _estimate(figures: dict[str, float], name: str) -> str:
    half = (figures[f"{name}_high"] - figures[f"{name}_low"]) / 2
    return f"{figures[name]:.4f} [dim]±{half:.4f}[/]"


if __name__ == "__main__":
    main()
