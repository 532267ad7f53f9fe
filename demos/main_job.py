"""`make demo`: MovieLens-100K to served recall, by the real programs, on this machine."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from demos import latency, showing
from demos.outcome import DemoOutcome
from demos.stages import Stages
from pagoda.access.tokens import token_for
from pagoda.cli.options import ProfileChoice
from pagoda.client import Client
from pagoda.data.dataset import Dataset
from pagoda.data.imports.movielens import import_movielens
from pagoda.settings import Settings
from pagoda.standalone.endpoints import settle_dataset
from pagoda.standalone.platform import Platform
from pagoda.standalone.profiles import FULL
from pagoda.updates.full import FullUpdate
from pipelines.full_update import full_update
from pipelines.local import run_locally
from serving import process
from serving.users.loading import load_store

TEST_DAYS = 30
"""The last days are answered, never learned."""
CONFIG = Path("pipelines/config/movielens-100k.yaml")


def run(platform: Platform, folder: Path, console: Console, profile: str = FULL) -> DemoOutcome:
    """All stages, each of which leaves something that the next one needs."""
    stages = Stages(console)
    with stages.stage("import MovieLens-100K"):
        dataset = _import(folder / "data", console)
    with stages.stage("start the embedded platform"):
        settings = platform.up(profile=profile, attached=True, report=showing.starting(console))
    with stages.stage("full update: a Kubeflow pipeline, run by kfp.local"):
        update = _update(settings, dataset, stages)
    with stages.stage("fill the online store"):
        load_store(dataset, dataset.span().end, settings.redis.url)
    with stages.stage("answer requests, one after the other"):
        with Client(settings.recall.url, token=token_for(settings, "ask")) as client:
            client.wait_ready()
        users = _users(dataset)
        with console.status(
            f"for {latency.WARM_UP_SECONDS + latency.MEASURED_SECONDS} seconds or {latency.MEASURED_REQUESTS} answers"
        ):
            measured = latency.measure(settings.recall.url, users, token_for(settings, "ask"))
    return DemoOutcome(dataset, settings, update, stages, measured)


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
    settle_dataset(settings, str(dataset.path))
    return update


def _users(dataset: Dataset) -> list[int]:
    """Users of the test days, the busiest first."""
    span = dataset.span()
    window = span.model_copy(update={"start": span.end - timedelta(days=TEST_DAYS)})
    batches = dataset.batches(window, events=dataset.spec.positives, columns=["user_id"])
    users, clicks = np.unique(np.concatenate([batch["user_id"].to_numpy() for batch in batches]), return_counts=True)
    return [int(user) for user in users[np.argsort(-clicks, kind="stable")]]


def main(
    folder: Annotated[Path, typer.Option(help="Made anew at each run.")] = Path("build/demo"),
    profile: Annotated[
        ProfileChoice, typer.Option(help="compact: search and tower in recall, no Milvus, no TorchServe.")
    ] = ProfileChoice.FULL,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform up until Ctrl-C.")] = False,
) -> None:
    """Run the main job on MovieLens-100K and show what came out."""
    process.end_as_by_ctrl_c()
    console = Console()
    platform = Platform(folder / "home")
    platform.down()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        outcome = run(platform, folder.resolve(), console, profile.value)
        outcome.write(folder / "report.json")
        showing.outcome(outcome, console)
        showing.ask(outcome.settings, console)
        ending = showing.ending(folder, outcome.settings, kept=keep)
        console.print(ending, highlight=False, soft_wrap=True, markup=False)
        if keep:
            platform.watch(lambda _: None)
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        platform.down()


if __name__ == "__main__":
    process.run(main)
