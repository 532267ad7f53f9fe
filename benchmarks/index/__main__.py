"""How fast search libraries and Pagoda's backends are at the same recall: `python -m benchmarks.index`.

Unit vectors in clusters, as learned ones are (`benchmarks/online/world.py`): random ones have no neighbours to speak
of, and say little. Each library runs in a process of its own, builds with two threads, and is asked for the best 100 of
one vector at a time, with the least effort that finds 98 % of them. What is done stays in build/bench/index-ITEMS, and
is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.index.backends import KINDS, MILVUS
from benchmarks.index.libraries import LIBRARIES
from benchmarks.index.world import FEWEST, make
from pagoda.standalone.platform import Platform
from pagoda.storage.atomic import write_atomic

PEERS = Path("build/bench/index-peers")
BACKENDS = ("in_process", "milvus")
_NOT_BUILT = {("milvus", "HNSW_SQ8")}
_HOURS = 2
_CONSOLE = Console(width=None if sys.stdout.isatty() else 140)
Row = dict[str, Any]


def main() -> None:
    """Measure what is not measured yet, write the document and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", default=(*LIBRARIES, *BACKENDS), choices=(*LIBRARIES, *BACKENDS))
    parser.add_argument("--kinds", nargs="*", default=("HNSW",), choices=KINDS, help="Of Pagoda's own backends.")
    parser.add_argument("--out", type=Path, default=Path("build/bench/index.json"))
    arguments = parser.parse_args()
    if arguments.items < FEWEST:
        parser.error(f"--items {arguments.items}: {FEWEST} at least, so that the narrowest filter keeps 100")
    folder = arguments.out.parent / f"index-{arguments.items}"
    make(folder, arguments.items)
    for name in _names(arguments.only, arguments.kinds):
        result = folder / f"{name}.json"
        if not result.exists():
            _CONSOLE.print(f"[dim]{name}[/]")
            _measure(name, folder, result)
    # Of other sizes, too, so that one document has them all.
    files = sorted(arguments.out.parent.glob("index-*/*.json"))
    rows = [row for file in files for row in json.loads(file.read_text())]
    arguments.out.write_text(json.dumps(rows, indent=1))
    _CONSOLE.print(_table(row for row in rows if row["items"] == arguments.items))


def _names(only: Sequence[str], kinds: Sequence[str]) -> Iterator[str]:
    """What is measured: libraries, and each backend with each kind that it builds."""
    for name in only:
        if name not in BACKENDS:
            yield name
        yield from (f"{name}-{kind}" for kind in kinds if name in BACKENDS and (name, kind) not in _NOT_BUILT)


def _measure(name: str, world: Path, result: Path) -> None:
    """What does not run is said, and the others go on."""
    scratch = Path(tempfile.mkdtemp(dir=world, prefix=f"{name}-"))
    paths = [str(Path.cwd()), str(PEERS.resolve())]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "benchmarks.index.job", name, str(world), str(scratch)]
    try:
        with _server(name, scratch / "home") as address:
            environment[MILVUS] = address
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=_HOURS * 3600
            )
    except subprocess.TimeoutExpired:
        _CONSOLE.print(f"{name} fails: it takes more than {_HOURS} hours", markup=False)
        return
    finally:
        shutil.rmtree(scratch)
    if done.returncode:
        _CONSOLE.print(
            f"{name} fails: {(done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}", markup=False
        )
        return
    write_atomic(result, done.stdout.strip().splitlines()[-1].encode())


@contextmanager
def _server(name: str, home: Path) -> Iterator[str]:
    """A Milvus server where one is wanted."""
    if not name.startswith("milvus"):
        yield ""
        return
    platform = Platform(home.resolve())
    try:
        yield platform.up(["milvus"], attached=True).milvus.uri
    finally:
        platform.down()


def _table(rows: Iterable[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("backend", "kind", "keeps", "recall", "p50, ms", "a second", "2 threads", "bytes an item", "built in, s")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < 2 else "right", no_wrap=True)
    for row in sorted(rows, key=lambda row: (-row["filter_share"], -row["per_second_one_thread"])):
        recall = row["recall_at_100"] if row["recall_filtered"] is None else row["recall_filtered"]
        table.add_row(
            row["backend"],
            f"{row['kind']}, refine {row['refine']}" if "refine" in row else row["kind"],
            f"{row['filter_share']:.0%}",
            f"{recall:.3f}",
            f"{row['p50_ms']:.2f}",
            f"{row['per_second_one_thread']:,.0f}",
            f"{row['per_second_two_threads']:,.0f}",
            f"{row['bytes_per_item']:,}",
            f"{row['build_seconds']:,.0f}",
        )
    return table


if __name__ == "__main__":
    main()
