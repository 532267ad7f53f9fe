"""How soon an event counts: `python -m benchmarks.freshness`.

MovieLens-100K on the embedded platform, an incremental update every minute, 20 requests a second. Clicks come one after
the other, at all moments of the minute; of each is measured when it is acknowledged, when its user's answer follows it
(the history does), when it is in the files that updates read, and when an ID row that learned it answers its user.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.online.installation import wait_ready
from pagoda.access.tokens import token_for
from pagoda.client import Client, Event, Recommendation
from pagoda.data.dataset import Dataset
from pagoda.data.imports.movielens import import_movielens
from pagoda.data.window import Window
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.load_test.outcomes import Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.sending import send
from pagoda.rollout.releasing import update_users
from pagoda.settings import Settings
from pagoda.standalone.platform import Platform
from pipelines.full_update import full_update
from pipelines.local import run_locally
from serving.users.loading import load_store

EVERY_SECONDS = 60
RATE = 20.0
CONFIG = Path("pipelines/config/movielens-100k.yaml")
MOMENTS = {
    "acknowledged": "the event is durable",
    "answer": "the user's answer follows it",
    "files": "in the files that updates read",
    "row": "an ID row that learned it answers",
}
_GAP_SECONDS, _LOOK_SECONDS, _PATIENCE_SECONDS = 7.0, 0.25, 900.0


@dataclass
class Click:
    """One event, and how many seconds after it was sent each moment came."""

    user: int
    item: int
    sent: datetime
    seconds: dict[str, float] = field(default_factory=dict)

    def passed(self, moment: str) -> None:
        """A moment has come."""
        self.seconds.setdefault(moment, (datetime.now(UTC) - self.sent).total_seconds())


def main() -> None:
    """Measure and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build/bench/freshness.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="freshness-")).resolve()
    try:
        clicks = run(folder, arguments.clicks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {moment: summary([click.seconds[moment] for click in clicks]) for moment in MOMENTS}
    arguments.out.write_text(json.dumps({"clicks": len(clicks), "every_seconds": EVERY_SECONDS, **document}, indent=1))
    show(document)


def run(folder: Path, clicks: int) -> list[Click]:
    """Set up an installation in `folder` and follow the clicks through it."""
    platform = Platform(folder / "home")
    try:
        settings = platform.up(attached=True)
        import_movielens(Path(settings.events_dataset))
        dataset = Dataset.open(Path(settings.events_dataset))
        arguments = {"dataset": str(dataset.path), "window_end": "", "config": CONFIG.read_text()}
        run_locally(full_update, settings, arguments)
        load_store(dataset, dataset.span().end, settings.redis.url)
        wait_ready(settings.recall.url)
        with traffic(settings), updates(settings):
            return follow(settings, clicks)
    finally:
        platform.down()


@contextmanager
def traffic(settings: Settings) -> Iterator[None]:
    """Requests all the while, which every update shares the machine with."""
    ending, outcomes = threading.Event(), Outcomes()
    plan = LoadPlan(range(1, 900), RATE, _PATIENCE_SECONDS * 2)
    url, token = settings.recall.url, token_for(settings, "ask")
    load = threading.Thread(
        target=lambda: send(plan, url, connections=8, token=token, outcomes=outcomes, ending=ending)
    )
    load.start()
    try:
        yield
    finally:
        ending.set()
        load.join()


@contextmanager
def updates(settings: Settings) -> Iterator[None]:
    """Incremental updates, minute after minute."""
    ending = threading.Event()

    def update() -> None:
        while not ending.wait(EVERY_SECONDS - time.time() % EVERY_SECONDS):
            update_users(settings, settings.events_dataset, datetime.now(UTC))

    updating = threading.Thread(target=update)
    updating.start()
    try:
        yield
    finally:
        ending.set()
        updating.join()


def follow(settings: Settings, count: int) -> list[Click]:
    """Send the clicks and look, again and again, how far each has come."""
    rng, clicks, due = np.random.default_rng(0), list[Click](), time.monotonic()
    users = rng.choice(np.arange(900, 944), count, replace=False)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    start, patience = datetime.now(UTC), time.monotonic() + _PATIENCE_SECONDS
    # One try each: a second one would be measured as a part of the first.
    with Client(home=settings.home, timeout=30, patience=0) as client, Progress(*columns) as bar:
        task = bar.add_task("clicks", total=count)
        while len(clicks) < count or any("row" not in click.seconds for click in clicks):
            if time.monotonic() > patience:
                raise SystemExit(f"no ID row learned the clicks within {_PATIENCE_SECONDS:g} s")
            if len(clicks) < count and time.monotonic() >= due:
                clicks.append(clicked(client, int(users[len(clicks)])))
                due += _GAP_SECONDS
            look(settings, client, clicks, start)
            bar.update(task, completed=sum("row" in click.seconds for click in clicks))
            time.sleep(_LOOK_SECONDS)
    return clicks


def clicked(client: Client, user: int) -> Click:
    """The user clicks the item recalled last, and asks again."""
    before = recalled(client, user)
    click = Click(user, int(before.item_ids[-1]), datetime.now(UTC))
    client.send_events([Event(user, click.item, timestamp=click.sent)])
    click.passed("acknowledged")
    if recalled(client, user).items == before.items:
        raise SystemExit(f"the answer of user {user} did not follow the click on item {click.item}")
    click.passed("answer")
    return click


def recalled(client: Client, user: int) -> Recommendation:
    """The user's answer now."""
    return client.recommend(user, k=50)


def look(settings: Settings, client: Client, clicks: list[Click], start: datetime) -> None:
    """Note which clicks have come to the files, and which to the row that answers."""
    waiting = [click for click in clicks if "files" not in click.seconds]
    if waiting:
        filed = events(settings, start)
        for click in waiting:
            if (click.user, click.item) in filed:
                click.passed("files")
    state = open_log(settings).state()
    learned = {id_: learned_until(state, id_) for id_ in (state.arms.stable, state.arms.canary) if id_}
    for click in clicks:
        if "row" not in click.seconds and click.sent < max(learned.values()):
            answering = recalled(client, click.user).generation
            if answering in learned and click.sent < learned[answering]:
                click.passed("row")


def events(settings: Settings, start: datetime) -> set[tuple[int, int]]:
    """User and item of what the dataset holds from `start` on."""
    window = Window(start=start - timedelta(minutes=1), end=datetime.now(UTC) + timedelta(minutes=1))
    batches = Dataset.open(Path(settings.events_dataset)).batches(window, columns=["user_id", "item_id"])
    return {
        pair
        for batch in batches
        for pair in zip(batch["user_id"].to_pylist(), batch["item_id"].to_pylist(), strict=True)
    }


def learned_until(state: ReleaseState, generation: str) -> datetime:
    """Up to when a generation's newest segment has learned."""
    manifest = state.generations[generation]
    return state.version(manifest.incremental_version or manifest.full_version).window.end


def summary(seconds: list[float]) -> dict[str, float]:
    """Smallest, median and largest."""
    return {"least": round(min(seconds), 3), "median": round(median(seconds), 3), "most": round(max(seconds), 3)}


def show(document: dict[str, dict[str, float]]) -> None:
    """Print the document as a table."""
    title = f"Seconds after a click, updates every {EVERY_SECONDS} s"
    table = Table("", "least", "median", "most", title=title, title_justify="left", box=None, pad_edge=False)
    for moment, what in MOMENTS.items():
        table.add_row(what, *(f"{document[moment][name]:,.3g}" for name in ("least", "median", "most")))
    Console().print(table)


if __name__ == "__main__":
    main()
