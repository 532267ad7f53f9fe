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
from pagoda.settings import Settings
from pagoda.standalone.platform import Platform
from pagoda.updates.full import FullUpdate
from pipelines.full_update import full_update
from pipelines.local import run_locally
from serving.recall.loading import load_store

TEST_DAYS = 30
"""The last days are answered, never learned."""
REQUESTS = 600
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
    with stages.stage(f"answer {REQUESTS} requests"), RecallClient(settings.recall.url) as client:
        client.wait_ready()
        latency = client.measure(_users(dataset, REQUESTS))
        answers = client.recall(_users(dataset, 3), k=5)
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


def _users(dataset: Dataset, count: int) -> list[int]:
    """Users of the test days, the busiest first, over and over."""
    span = dataset.span()
    window = span.model_copy(update={"start": span.end - timedelta(days=TEST_DAYS)})
    batches = dataset.batches(window, events=dataset.spec.positives, columns=["user_id"])
    users, clicks = np.unique(np.concatenate([batch["user_id"].to_numpy() for batch in batches]), return_counts=True)
    busiest = users[np.argsort(-clicks, kind="stable")]
    return [int(user) for user in np.resize(busiest, count)]


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
