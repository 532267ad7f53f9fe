"""What the scenarios are played on: a world, the embedded platform, and a recall service behind a proxy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml

from pagoda.access.tokens import token_of
from pagoda.channels.factory import TABLES
from pagoda.client import Client
from pagoda.data.dataset import Dataset
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.rollout.releasing import release_full
from pagoda.rollout.state.history import PastRollout, rollouts
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.settings import Settings
from pagoda.simulation import World, make_config, simulate
from pagoda.standalone.platform import Platform
from pagoda.standalone.ports import choose_ports
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from serving.tower.archive import package
from serving.users.loading import load_store

HERE = Path(__file__).parent
SERVICES = ("milvus", "redis", "torchserve", "follower", "rollout")
"""Of the platform. Versions are kept in a folder, without MLflow, and recall is started here, behind the proxy."""
WORLD: dict[str, Any] = {
    "users": 3_000,
    "items": 600,
    "days": 4,
    "events": 150_000,
    "drift": "none",
    "new_users": 0.3,
    "seed": 1,
}
"""Small enough to be learned in seconds. Interests do not move, so that click rates change by the arms alone."""
_LONG_GONE = 1 << 40
"""Far above the ID of any item of the world."""


@dataclass
class Stage:
    """Everything that runs."""

    folder: Path
    settings: Settings
    dataset: Dataset
    world: World
    recall_url: str

    @property
    def log(self) -> ReleaseLog:
        """The release log."""
        return open_log(self.settings)

    @property
    def asked(self) -> Path:
        """What the tower was asked, a request a line."""
        return self.folder / "asked.jsonl"

    def set_faults(self, faults: dict[int, dict[str, Any]]) -> None:
        """From now on, these go wrong for these full versions."""
        path = self.folder / "faults.json"
        aside = path.with_suffix(".new")
        aside.write_bytes(orjson.dumps({str(version): fault for version, fault in faults.items()}))
        aside.replace(path)

    def learn(
        self,
        hours_before_end: float,
        *,
        spoil_tables: Callable[[Path], None] | None = None,
        spoil_vectors: Callable[[Path], None] | None = None,
    ) -> Manifest:
        """A full update up to so many hours before the world's end, and its rollout (the first: its release).

        Args:
            hours_before_end: Interactions after that are left for the offline gates.
            spoil_tables: Done to the folder of the channels' tables, before the version is registered.
            spoil_vectors: Done to the exported item vectors, before the collection is built of them.
        """
        end = self.dataset.span().end - timedelta(hours=hours_before_end)
        update = FullUpdate.resolve(self.settings, str(self.dataset.path), end.isoformat())
        full_steps.train(update, (HERE / "config.yaml").read_text())
        if spoil_tables:
            spoil_tables(update.files().folder / TABLES)
        full_steps.register(update)
        vectors = full_steps.export_vectors(update)
        if spoil_vectors:
            spoil_vectors(vectors)
        full_steps.build_index(update)
        full_steps.package_tower(update, package)
        return release_full(update)

    def past(self) -> PastRollout | None:
        """The latest rollout."""
        found = rollouts(self.log)
        return found[-1] if found else None

    def settle(self) -> None:
        """Wait until the latest rollout is over, so that another may begin."""
        while (rollout := rollout_of(self.log.state())) and rollout.active:
            time.sleep(0.5)


def shuffle(vectors: Path, dataset: Dataset) -> None:
    """Give every item the vector of another one: each is fine by itself, and the index built of them is consistent."""
    source = ItemVectors(vectors, dataset.spec)
    found = np.concatenate([block for _, block in source.blocks()])
    shuffled = np.random.default_rng(0).permutation(found)
    vectors.unlink()
    with ItemVectorsWriter(vectors, dataset.spec, found.shape[1]) as writer:
        writer.write(dataset.items(), shuffled)


def forget_items(tables: Path) -> None:
    """Make the neighbours in the channel `item_to_item` those of a catalogue that is no more; the file is fine."""
    path = tables / "item_to_item" / "ids.npy"
    np.save(path, np.load(path) + _LONG_GONE)


@contextmanager
def staged(folder: Path, report: Callable[[Sequence[Any]], None]) -> Iterator[Stage]:
    """A running platform whose tower is asked through the proxy; everything ends with the block."""
    home = folder / "home"
    home.mkdir(parents=True)
    policy = str(HERE / "policy.yaml")
    (home / "pagoda.yaml").write_text(yaml.safe_dump({"rollout": {"full_policy": policy}}))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    simulate(make_config({**WORLD, "start": today - timedelta(days=WORLD["days"])}), folder / "data")
    dataset, world = Dataset.open(folder / "data"), World.open(folder / "data")
    platform = Platform(home)
    try:
        settings = platform.up(SERVICES, attached=True, report=report)
        load_store(dataset, dataset.span().end, settings.redis.url)
        with _served(folder, settings) as url:
            yield Stage(folder, settings, dataset, world, url)
    finally:
        platform.down()


@contextmanager
def _served(folder: Path, settings: Settings) -> Iterator[str]:
    """A recall service that reaches the tower through the proxy; its address."""
    ports = choose_ports(["proxy", "recall"], [])
    tower, recall = (f"http://127.0.0.1:{ports[name]}" for name in ("proxy", "recall"))
    arguments = {
        "--upstream": settings.tower.url,
        "--port": str(ports["proxy"]),
        "--faults": str(folder / "faults.json"),
        "--record": str(folder / "asked.jsonl"),
    }
    environment = {**os.environ, "PAGODA_HOME": str(settings.home), "PAGODA_TOWER__URL": tower}
    commands = {
        "proxy": ["demos.rollout.proxy", *(word for pair in arguments.items() for word in pair)],
        "recall": ["serving.recall", "--port", str(ports["recall"])],
    }
    running = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen([sys.executable, "-m", *command], env=environment, stdout=log, stderr=log)
                )
        yield recall
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def wait_ready(stage: Stage) -> None:
    """Wait until requests are answered."""
    with Client(stage.recall_url, token=token_of(stage.settings.tokens_folder, "ask")) as client:
        client.wait_ready()
