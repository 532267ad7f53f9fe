"""`make demo`: MovieLens-100K to served recall, by the real programs, on this machine."""

from __future__ import annotations

import shutil
import signal
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from demos import showing
from demos.client import RecallClient
from demos.outcome import Outcome
from demos.stages import Stages
from pagoda.data.dataset import Dataset
from pagoda.data.movielens import import_movielens
from pagoda.errors import UnavailableError
from pagoda.load.plan import Plan
from pagoda.load.report import report_of
from pagoda.load.sending import send
from pagoda.settings import Settings
from pagoda.standalone.platform import Platform
from pagoda.updates.full import FullUpdate
from pipelines.full_update import full_update
from pipelines.local import run_locally
from serving.recall.loading import load_store

TEST_DAYS = 30
"""The last days are answered, never learned."""
WARM_UP_SECONDS, MEASURED_SECONDS = 5, 20
CONFIG = Path("pipelines/config/movielens-100k.yaml")


def run(platform: Platform, folder: Path, console: Console) -> Outcome:
    """All stages, each of which leaves something that the next one needs."""
    stages = Stages(console)
    with stages.stage("import MovieLens-100K"):
        dataset = _import(folder / "data", console)
    with stages.stage("start the embedded platform"):
        settings = platform.up(attached=True, report=showing.starting(console))
    with stages.stage("full update: a Kubeflow pipeline, run by kfp.local"):
        update = _update(settings, dataset, stages)
    with stages.stage("fill the online store"):
        load_store(dataset, dataset.span().end, settings.redis.url)
    with stages.stage("answer requests, one after the other"), RecallClient(settings.recall.url) as client:
        client.wait_ready()
        users = _users(dataset)
        with console.status(f"for {WARM_UP_SECONDS + MEASURED_SECONDS} seconds"):
            latency = _latency(settings.recall.url, users)
        answers = client.recall(users[:3], k=5)
    return Outcome(dataset, settings, update, stages, latency, answers)


def _import(folder: Path, console: Console) -> Dataset:
    import_movielens(folder)
    dataset = Dataset.open(folder)
    span = dataset.span()
    console.print(
        f"{dataset.count():,} interactions of {dataset.users().num_rows} users "
        f"with {dataset.items().num_rows:,} films, {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d};\n"
        f"the last {TEST_DAYS} days are kept for testing",
        highlight=False,
    )
    return dataset


def _update(settings: Settings, dataset: Dataset, stages: Stages) -> FullUpdate:
    window_end = (dataset.span().end - timedelta(days=TEST_DAYS)).isoformat()
    update = FullUpdate.resolve(settings, str(dataset.path), window_end)
    arguments = {"dataset": str(dataset.path), "window_end": window_end, "config": CONFIG.read_text()}
    with stages.steps() as report:
        run_locally(full_update, settings, arguments, report)
    return update


def _latency(url: str, users: list[int]) -> dict[str, float]:
    """p50 and p99 in milliseconds at one connection, once the service is warm, and the number of requests."""
    for seconds in (WARM_UP_SECONDS, MEASURED_SECONDS):
        plan = Plan(users, rate=0, seconds=seconds, zipf=0)
        report = report_of(plan, send(plan, url, connections=1), url, connections=1)
    if report.answered < report.requests:
        raise UnavailableError(
            f"recall at {url}: {report.requests - report.answered} of {report.requests} requests failed"
        )
    return {name: round(report.latency_ms[name], 2) for name in ("p50", "p99")} | {"requests": report.answered}


def _users(dataset: Dataset) -> list[int]:
    """Users of the test days, the busiest first."""
    span = dataset.span()
    window = span.model_copy(update={"start": span.end - timedelta(days=TEST_DAYS)})
    batches = dataset.batches(window, events=dataset.spec.positives, columns=["user_id"])
    users, clicks = np.unique(np.concatenate([batch["user_id"].to_numpy() for batch in batches]), return_counts=True)
    return [int(user) for user in users[np.argsort(-clicks, kind="stable")]]


def main(
    folder: Annotated[Path, typer.Option(help="Made anew at each run.")] = Path("build/demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform up until Ctrl-C.")] = False,
) -> None:
    """Run the main job on MovieLens-100K and show what came out."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    platform = Platform(folder / "home")
    platform.down()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        outcome = run(platform, folder.resolve(), console)
        outcome.write(folder / "report.json")
        showing.outcome(outcome, console)
        if keep:
            console.print("The platform stays up until Ctrl-C.")
            platform.watch(lambda _: None)
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        platform.down()


if __name__ == "__main__":
    typer.run(main)
