"""How fast a long log is imported, beside DuckDB's own copy of it to sorted Parquet: `python -m benchmarks.imports`.

The same CSV is read by both, in rounds that alternate, each in a process of its own; seconds are medians. DuckDB reads
the file with the types that it is told, sorts by time and writes one Parquet file. An import does that and more: it
checks every value, finds users and items, and writes a folder a date. Its memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv
from rich.console import Console
from rich.table import Table

START_S = 1_600_000_000 // 86_400 * 86_400
_CHUNK_ROWS = 100_000


def main() -> None:
    """Measure every log and write the JSON array; with --run, be the process of one round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--dates", type=int, nargs="+", default=[10, 1_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench/imports.json"))
    parser.add_argument("--run", nargs=3, metavar=("WHO", "LOG", "TARGET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        who, log, target = arguments.run
        print(json.dumps({"pagoda": _import, "duckdb": _copy}[who](Path(log), Path(target))))
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    measured = [
        measure(rows, dates, arguments.rounds, arguments.out.parent)
        for rows in arguments.rows
        for dates in arguments.dates
    ]
    arguments.out.write_text(json.dumps(measured, indent=1))
    Console().print(as_table(measured))


def measure(rows: int, dates: int, rounds: int, beside: Path) -> dict[str, Any]:
    """Import a log of `rows` over `dates`, in random order, `rounds` times; medians."""
    # Beside the result rather than in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(dir=beside, prefix="imports-") as name:
        log, target = Path(name) / "log.csv", Path(name) / "out"
        write_log(log, rows, dates)
        found: dict[str, list[dict[str, float]]] = {"pagoda": [], "duckdb": []}
        for _ in range(rounds):
            for who, results in found.items():
                command = [sys.executable, "-m", "benchmarks.imports", "--run", who, str(log), str(target)]
                results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
                shutil.rmtree(target) if target.is_dir() else target.unlink()
    seconds, duckdb_seconds = (median(one["seconds"] for one in results) for results in found.values())
    return {
        "rows": rows,
        "dates": dates,
        "seconds": seconds,
        "duckdb_seconds": duckdb_seconds,
        "ratio": seconds / duckdb_seconds,
        "peak_rss_bytes": max(one["peak_rss_bytes"] for one in found["pagoda"]),
    }


def write_log(path: Path, rows: int, dates: int) -> None:
    """A log of integer IDs with Zipf popularity, events and ISO times in random order."""
    random = np.random.default_rng(0)
    with csv.CSVWriter(
        path, _schema(), write_options=csv.WriteOptions(quoting_style="none", quoting_header="none")
    ) as writer:
        for start in range(0, rows, _CHUNK_ROWS):
            count = min(_CHUNK_ROWS, rows - start)
            moments = START_S + random.integers(0, dates * 86_400, count)
            columns = [
                random.integers(0, max(1, rows // 20), count),
                random.zipf(1.3, count) % 100_000,
                np.array(["click", "impression", "like"])[random.integers(0, 3, count)],
                np.char.add(np.datetime_as_string(moments.astype("datetime64[s]")), "Z"),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=_schema()))


def as_table(measured: list[dict[str, Any]]) -> Table:
    """A row a log."""
    table = Table("rows", "dates", "import", "DuckDB's copy", "ratio", "peak of memory")
    for one in measured:
        seconds = (f"{one[key]:.1f} s" for key in ("seconds", "duckdb_seconds"))
        memory = f"{one['peak_rss_bytes'] / 1e6:,.0f} MB"
        table.add_row(f"{one['rows']:,}", f"{one['dates']:,}", *seconds, f"{one['ratio']:.2f}", memory)
    return table


def _schema() -> pa.Schema:
    kinds = {"user_id": pa.int64(), "item_id": pa.int64(), "event": pa.string(), "timestamp": pa.string()}
    return pa.schema(list(kinds.items()))


def _import(log: Path, target: Path) -> dict[str, float]:
    from pagoda.data.imports.importer import Import, import_files
    from pagoda.data.imports.readers import CsvReader

    pa.array([0])  # At its first array Arrow loads pandas.
    started = time.perf_counter()
    import_files(target, Import(CsvReader(), log))
    return _measured(started)


def _copy(log: Path, target: Path) -> dict[str, float]:
    import duckdb

    started = time.perf_counter()
    columns = "{'user_id': 'BIGINT', 'item_id': 'BIGINT', 'event': 'VARCHAR', 'timestamp': 'TIMESTAMPTZ'}"
    read = f"read_csv('{log}', header = true, delim = ',', columns = {columns})"
    duckdb.sql(f"COPY (FROM {read} ORDER BY timestamp) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    return _measured(started)


def _measured(started: float) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": time.perf_counter() - started, "peak_rss_bytes": peak}


if __name__ == "__main__":
    main()
