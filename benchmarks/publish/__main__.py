"""What publishing an incremental version costs a tower's host, whatever the base: `python -m benchmarks.publish`.

For each base: install it, let a worker serve it, then publish deltas one after the other: fetch the segment, verify,
record, switch, until the worker has answered from it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.publish.world import DIM, user_ids, write_base, write_delta
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables import TablesWriter

PUBLISHES = 8
ROW_BYTES = 4 * DIM + 8


def main() -> None:
    """Measure every base and write the JSON array."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--delta-rows", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("build/bench/publish.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results = []
    for users in arguments.users:
        # Beside the result rather than in /tmp, which may be memory.
        folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="publish-"))
        try:
            results.append(measure(folder, users, min(arguments.delta_rows, users)))
        finally:
            shutil.rmtree(folder)
    arguments.out.write_text(json.dumps(results, indent=1))
    show(results)


def measure(folder: Path, users: int, delta_rows: int) -> dict[str, Any]:
    """Publish deltas over a base of `users` and return the medians."""
    write_base(folder / "full", users)
    base, ids = IdTable.open(folder / "full" / "users").checksum, user_ids(users)
    writer = TablesWriter(folder / "tables")
    start = time.perf_counter()
    writer.install_full(1, str(folder / "full"))
    install_seconds = time.perf_counter() - start
    writer.put_generation("g1.0", 1, [])
    writer.set_current("g1.0")

    chain: list[str] = []
    publishes = []
    with Worker(folder / "tables") as worker:
        worker.ask("g1.0")
        before = worker.ask("weigh")
        for number in range(1, PUBLISHES + 1):
            source, parent = folder / f"segment{number}", chain[0] if chain else None
            rows = delta_rows if number > 1 else delta_rows // 100
            chain.insert(0, write_delta(source, ids, rows=rows, number=number, base=base, parent=parent))
            published = publish(writer, worker, f"g1.{number}", source, chain)
            writer.retire(f"g1.{number - 1}")
            after = worker.ask("weigh")
            publishes.append(published | after | {"growth": after["uss"] - before["uss"]})
            before = after
            writer.compact(f"g1.{number}")
    # The first, of a hundredth of the rows, pays for code that a process runs for the first time.
    del publishes[0]
    return {
        "base_users": users,
        "delta_rows": delta_rows,
        "seconds": median(each["seconds"] for each in publishes),
        "bytes_written": median(each["bytes_written"] for each in publishes),
        "worker_uss_growth_bytes": median(each["growth"] for each in publishes),
        "worker_uss_growth_bytes_most": max(each["growth"] for each in publishes),
        "lookup_us_batch32": median(each["lookup_us"] for each in publishes),
        "lookup_us_batch32_p99": median(each["lookup_us_p99"] for each in publishes),
        "segments_open": max(each["segments"] for each in publishes),
        "segment_bytes": delta_rows * ROW_BYTES,
        "base_install_seconds": install_seconds,
    }


def publish(writer: TablesWriter, worker: Worker, generation: str, source: Path, chain: list[str]) -> dict[str, float]:
    """Publish the newest segment of `chain` and wait until the worker has answered from it."""
    written = psutil.Process().io_counters().write_chars
    start = time.time()
    worker.expect(generation)
    writer.install_segment(str(source), chain[0])
    writer.put_generation(generation, 1, chain)
    writer.set_current(generation)
    written = psutil.Process().io_counters().write_chars - written
    answer = worker.answer()
    return answer | {"seconds": answer["served_at"] - start, "bytes_written": written}


class Worker:
    """The process of `benchmarks.publish.worker`."""

    def __init__(self, tables: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.publish.worker", str(tables)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=30)

    def expect(self, question: str) -> None:
        """Let it wait for a generation, or weigh itself."""
        self._questions.write(f"{question}\n")
        self._questions.flush()

    def answer(self) -> dict[str, float]:
        """What it said."""
        answer: dict[str, float] = json.loads(self._answers.readline())
        return answer

    def ask(self, question: str) -> dict[str, float]:
        """A question and its answer."""
        self.expect(question)
        return self.answer()


def show(results: list[dict[str, Any]]) -> None:
    """Print the results as a table."""
    table = Table(title=f"Publishing a delta of {DIM}-dimensional rows", title_justify="left")
    columns = ("base users", "delta rows", "seconds", "MB written", "worker USS growth, MB", "lookup of 32, µs (p99)")
    for column in columns:
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            f"{row['base_users']:,}",
            f"{row['delta_rows']:,}",
            f"{row['seconds']:.2f}",
            f"{row['bytes_written'] / 1e6:.1f}",
            f"{row['worker_uss_growth_bytes'] / 1e6:.1f} of {row['segment_bytes'] / 1e6:.1f}",
            f"{row['lookup_us_batch32']:.0f} ({row['lookup_us_batch32_p99']:.0f})",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
