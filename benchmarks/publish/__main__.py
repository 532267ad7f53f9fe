"""What publishing an incremental version costs, whatever the base: `python -m benchmarks.publish`.

For each base: let TorchServe serve it, with a follower, as `pagoda up` runs them; then publish deltas one after the
other. The time is from the version's record in the registry to the first answer of the tower's worker with it: the
generation's record, fetching and verifying the segment, its tables, the checks, the release record, the switch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.publish.host import Host, running_host
from benchmarks.publish.world import DIM

ROW_BYTES = 4 * DIM + 8


def main() -> None:
    """Measure every base and write the JSON array."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--delta-rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--publishes", type=int, default=5, help="of each size; medians are told")
    parser.add_argument("--without-server", action="store_true", help="tables and follower alone, without TorchServe")
    parser.add_argument("--out", type=Path, default=Path("build/bench/publish.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("bases", total=len(arguments.users))
        for users in arguments.users:
            bar.update(task, description=f"a base of {users:,} users")
            # Beside the result rather than in /tmp, which may be memory.
            folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="publish-"))
            try:
                times = dict.fromkeys(arguments.delta_rows, arguments.publishes)
                rows += measure(folder, users, times, torchserve=not arguments.without_server)
            finally:
                shutil.rmtree(folder)
            bar.advance(task)
    arguments.out.write_text(json.dumps(rows, indent=1))
    Console().print(as_table(rows))


def measure(folder: Path, users: int, sizes: dict[int, int], *, torchserve: bool) -> list[dict[str, Any]]:
    """Publish deltas of each size so many times over a base of `users`; medians, a row for each size."""
    rows, number = [], 0
    with running_host(folder, users, torchserve=torchserve) as host, TowerWorker(host.settings.tables_folder) as worker:
        # A small one that does not count: a process pays for code that it runs for the first time.
        for size, times in ((min(sizes) // 10, 1), *sizes.items()):
            found = [publish(host, worker, folder / "delta", size, number + time) for time in range(1, times + 1)]
            number += times
            rows.append({"base_users": users, "delta_rows": size} | {name: median(of) for name, of in zipped(found)})
    return rows[1:]


def publish(host: Host, worker: TowerWorker, folder: Path, rows: int, number: int) -> dict[str, float]:
    """A publish, and how a worker fares with it."""
    before = worker.weigh()
    published = host.publish(folder, rows, number)
    after = worker.weigh()
    host.settle()
    return {
        "seconds": published.seconds,
        "bytes_written": published.bytes_written,
        "worker_uss_growth_bytes": after["uss"] - before["uss"],
        "lookup_us_batch32": after["lookup_us"],
    }


def zipped(found: list[dict[str, float]]) -> Iterator[tuple[str, list[float]]]:
    """The values of each name."""
    return ((name, [one[name] for one in found]) for name in found[0])


class TowerWorker:
    """The process of `benchmarks.publish.worker`."""

    def __init__(self, tables: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.publish.worker", str(tables)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._questions, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)

    def __enter__(self) -> TowerWorker:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=30)

    def weigh(self) -> dict[str, float]:
        """What it holds and how quickly it answers."""
        self._questions.write("\n")
        self._questions.flush()
        answer: dict[str, float] = json.loads(self._answers.readline())
        return answer


def as_table(rows: list[dict[str, Any]]) -> Table:
    """The results for people."""
    table = Table(title=f"Publishing a delta of {DIM}-dimensional rows, registered to served", box=None, pad_edge=False)
    for column in ("base users", "delta rows", "seconds", "MB written", "delta, MB", "USS growth, MB", "lookup, µs"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['base_users']:,}",
            f"{row['delta_rows']:,}",
            f"{row['seconds']:.2f}",
            f"{row['bytes_written'] / 1e6:.1f}",
            f"{row['delta_rows'] * ROW_BYTES / 1e6:.1f}",
            f"{row['worker_uss_growth_bytes'] / 1e6:.1f}",
            f"{row['lookup_us_batch32']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
