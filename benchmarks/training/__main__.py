"""How fast training is, beside torch-rechub's trainer and TorchRec's: `python -m benchmarks.training`.

Every trainer runs in a process of its own, in turn, round after round, and learns the same generated pairs with the
same model: an ID row for each user and item, unit vectors of length 64, softmax over the items of a batch of 2048.
torch-rechub learns the first tenth of them alone, since all would take it minutes a round; each entry says its rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.training.data import ITEMS, USERS, write_dataset, write_pairs
from benchmarks.training.job import SHARED_BATCH
from pagoda.processes.together import Command, run_together
from pagoda.training.distributed.one_machine import beside_each_other

_HERE = "benchmarks.training"
PEERS = Path("build/bench/peers")
COMPARED_ROWS, RECHUB_ROWS = 1_000_000, 102_400
SCALING_ROWS = (1_000_000, 5_000_000, 20_000_000)
SHARED_ROWS, SHARED_USERS, PROCESSES = 2_000_000, 2_000_000, (1, 2)
"""Of the part with several processes: so many users that their rows are most of what is in memory."""
Result = dict[str, Any]
_ALONE = " alone"


def main() -> None:
    """Measure, write the document and print it as tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of the trainers side by side")
    parser.add_argument("--scaling-rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=SCALING_ROWS, help="sizes of the scaling part")
    parser.add_argument("--out", type=Path, default=Path("build/bench/training.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the result rather than in /tmp, which may be memory.
    folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="training-"))
    try:
        write_pairs(folder / "pairs.npy", COMPARED_ROWS)
        for rows in {COMPARED_ROWS, *arguments.rows}:
            write_dataset(folder / str(rows), rows)
        write_dataset(folder / "shared", SHARED_ROWS, SHARED_USERS)
        trainers = run(_trainers(folder), arguments.rounds)
        sizes = {str(rows): _alone(folder / str(rows)) for rows in arguments.rows}
        shared = _shared(folder / "shared")
        document = assemble(trainers, run(sizes, arguments.scaling_rounds), run(shared, arguments.rounds))
    finally:
        shutil.rmtree(folder)
    arguments.out.write_text(json.dumps(document, indent=1))
    for table in tables(document):
        Console().print(table)


class TrainerJob(NamedTuple):
    """A module that trains, with its arguments; of several processes each gets a file more, where they meet."""

    module: str
    arguments: tuple[str, ...]
    processes: int = 0
    """0: a process that knows of no others."""
    at_once: int = 1
    """So many of the same at once, each with a core of its own; their speeds are added up."""


NAMES = {
    "pagoda": "Pagoda",
    "rechub": "torch-rechub, in-batch",
    "rechub 20": "torch-rechub, 20 of them",
    "torchrec": "TorchRec, unsharded",
    "torchrec sharded": "TorchRec, 2 processes",
}


def _trainers(folder: Path) -> dict[str, TrainerJob]:
    """How each trainer is run."""
    rechub = TrainerJob(f"{_HERE}.rechub_job", (str(folder / "pairs.npy"), "--rows", str(RECHUB_ROWS)))
    torchrec = TrainerJob(f"{_HERE}.torchrec_job", ("--rows", str(COMPARED_ROWS), str(folder / "pairs.npy")))
    return {
        "pagoda": _alone(folder / str(COMPARED_ROWS)),
        "rechub": rechub,
        "rechub 20": rechub._replace(arguments=(*rechub.arguments, "--negatives", "20")),
        "torchrec": torchrec,
        "torchrec sharded": torchrec._replace(processes=2),
    }


def _alone(dataset: Path) -> TrainerJob:
    return TrainerJob(f"{_HERE}.pagoda_job", (str(dataset),))


def _shared(dataset: Path) -> dict[str, TrainerJob]:
    """Several processes that train together; and, for what these cores have to give, as many that each train alone."""
    alone = TrainerJob(f"{_HERE}.distributed_job", (str(dataset),), 1)
    together = {str(count): alone._replace(processes=count) for count in PROCESSES}
    return together | {f"{count}{_ALONE}": alone._replace(at_once=count) for count in PROCESSES if count > 1}


def run(jobs: dict[str, TrainerJob], rounds: int) -> dict[str, list[Result]]:
    """Run every job once a round, one after the other."""
    found: dict[str, list[Result]] = {name: [] for name in jobs}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("trainings", total=rounds * len(jobs))
        for _ in range(rounds):
            for name, job in jobs.items():
                found[name].append(result := one(job))
                bar.advance(task)
                bar.console.print(f"{name}: {result['samples_per_second']:,.0f} samples/s")
    return found


def one(job: TrainerJob) -> Result:
    """Run a job and return what its last line of output says."""
    if job.at_once == 1:
        return _run(job)
    cores = sorted(os.sched_getaffinity(0))

    def on_its_core(place: int) -> Result:
        os.sched_setaffinity(0, {cores[place % len(cores)]})  # Of this thread, and so of what it starts.
        return _run(job)

    with ThreadPoolExecutor(job.at_once) as pool:
        results = list(pool.map(on_its_core, range(job.at_once)))
    return results[0] | {"samples_per_second": sum(map(_speed, results))}


def _run(job: TrainerJob) -> Result:
    environment = {"PYTHONPATH": os.pathsep.join([str(PEERS.resolve()), str(Path.cwd())]), "PYTHONWARNINGS": "ignore"}
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if job.processes:
            commands = beside_each_other(job.processes, job.module, *job.arguments, folder=folder)
        else:
            commands = [Command([sys.executable, "-m", job.module, *job.arguments], {})]
        commands = [command._replace(environment={**command.environment, **environment}) for command in commands]
        if any(run_together(commands, folder / "said.txt", lines.append).values()):
            raise SystemExit(f"{' '.join(map(str, job))} failed:\n{(folder / 'said.txt').read_text()[-4000:]}")
    result: Result = json.loads(lines[-1])
    return result


def assemble(
    trainers: dict[str, list[Result]], sizes: dict[str, list[Result]], shared: dict[str, list[Result]]
) -> Result:
    """The document: medians over rounds; the peers that count are the faster ones of each library."""
    each = {name: _median(results) for name, results in trainers.items()}
    faster = {
        library: max((name for name in each if name.startswith(library)), key=lambda name: _speed(each[name]))
        for library in ("rechub", "torchrec")
    }
    return {
        "pagoda": each["pagoda"],
        "peer": each[faster["rechub"]] | {"name": NAMES[faster["rechub"]]},
        "torchrec": each[faster["torchrec"]] | {"name": NAMES[faster["torchrec"]]},
        "ratio": _speed(each["pagoda"]) / _speed(each[faster["rechub"]]),
        "ratio_torchrec": _speed(each["pagoda"]) / _speed(each[faster["torchrec"]]),
        "scaling": [_median(results) for results in sizes.values()],
        "distributed": [
            {"processes": int(count), "alone_at_once": _speed(_median(shared.get(f"{count}{_ALONE}", results)))}
            | _median(results)
            for count, results in shared.items()
            if _ALONE not in count
        ],
        "trainers": each,
        "model": {"dim": 64, "batch": 2048, "precision": "float32", "users": USERS, "items": ITEMS},
        "shared_batch": SHARED_BATCH,
        "cores": len(os.sched_getaffinity(0)),
    }


def _median(results: list[Result]) -> Result:
    same = {key: results[0][key] for key in ("rows", "optimiser")}
    middle = {key: median(result[key] for result in results) for key in ("samples_per_second", "peak_rss_bytes")}
    return same | middle | {"runs": [result["samples_per_second"] for result in results]}


def _speed(result: Result) -> float:
    return float(result["samples_per_second"])


def tables(document: Result) -> list[Table]:
    """The document for people."""
    model = document["model"]
    first = _table(
        f"Two-tower step: dim {model['dim']}, batch {model['batch']}, in-batch softmax, {model['precision']},\n"
        f"{model['users']:,} users, {model['items']:,} items, {document['cores']} cores",
        ("trainer", "optimiser", "rows", "samples/s", "Pagoda is", "RSS, MB"),
        2,
    )
    for name, result in document["trainers"].items():
        times = _speed(document["pagoda"]) / _speed(result)
        first.add_row(
            NAMES[name],
            result["optimiser"],
            f"{result['rows'] / 1e6:.1f} M",
            f"{_speed(result):,.0f}",
            f"{times:.2f} ×",
            f"{result['peak_rss_bytes'] / 1e6:,.0f}",
        )
    second = _table("Pagoda by rows of the window", ("rows", "samples/s", "RSS, MB"), 0)
    for row in document["scaling"]:
        second.add_row(f"{row['rows']:,}", f"{_speed(row):,.0f}", f"{row['peak_rss_bytes'] / 1e6:,.0f}")
    title = f"Pagoda by processes of one thread each,\nbatch {document['shared_batch']}, {SHARED_USERS:,} users"
    third = _table(title, ("processes", "samples/s", "times one", "so many alone", "RSS of one, MB"), 0)
    for row in document["distributed"]:
        times = _speed(row) / _speed(document["distributed"][0])
        third.add_row(
            str(row["processes"]),
            f"{_speed(row):,.0f}",
            f"{times:.2f} ×",
            f"{row['alone_at_once'] / _speed(document['distributed'][0]):.2f} ×",
            f"{row['peak_rss_bytes'] / 1e6:,.0f}",
        )
    return [first, second, third]


def _table(title: str, columns: Sequence[str], texts: int) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < texts else "right", no_wrap=True)
    return table


if __name__ == "__main__":
    main()
