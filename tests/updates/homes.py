"""An installation in this process: full updates, incrementals, tower, index and recall, without a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.window import Window
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.index.factory import open_search
from pagoda.model.table_inputs import histories_at
from pagoda.settings import IndexSettings, Settings
from pagoda.storage.copies import local_path
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving import tracing
from serving.recall.api import Prediction
from serving.recall.channels.factory import channels_of
from serving.recall.channels.second_generation import SecondGenerationChannel
from serving.recall.channels.tables import TableChannels
from serving.recall.generations.generation import LiveGeneration
from serving.recall.request.answer import answer_by
from serving.recall.request.parts import Parts
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.held_vectors import HeldVectors, open_vectors
from serving.recall.servers.in_process_tower import InProcessTower
from serving.tower.archive import package
from serving.workers.follower import Follower
from serving.workers.loop import follow
from serving.workers.tower_archives import TowerArchives
from serving.workers.tower_host import LocalTowers
from tests.serving.fakes import FakeStore
from tests.serving.recall.setting import begun
from tests.training.worlds import hours, make

USER, K = 3, 10
NOW = hours(0, 60)


class Home:
    """An installation in this process."""

    def __init__(self, folder: Path, made: Callable[[Path], Dataset] = make) -> None:
        index = IndexSettings(backend="in_process", kind="FLAT")
        self.settings, self.dataset = Settings(home=folder / "home", index=index), made(folder / "data")
        tables, towers = self.settings.tables_folder, self.settings.towers_folder
        self.follower = Follower(open_log(self.settings), tables, LocalTowers(TowerArchives(towers, tables)))
        self.tower, self.second = InProcessTower(towers, tables), HeldVectors()
        channels = channels_of(JoinedIndex(open_search(self.settings, tracing.trace_id)), frozenset(), self.second.of)
        tables = TableChannels()
        asking = SecondGenerationChannel(self.tower, channels[0], tables, self._opened)
        self.parts = Parts(FakeStore(), self.tower, channels, tables=tables, second=asking)

    def full(self, window: Window, how: TrainConfig) -> Manifest:
        """A first version of a window, up to its offer."""
        update = self.exported(window, how)
        full_steps.build_index(update)
        return full_steps.offer(update)

    def exported(self, window: Window, how: TrainConfig) -> FullUpdate:
        """The same, up to its index."""
        update = FullUpdate(self.settings, str(self.dataset.path), window, None)
        full_steps.train(update, yaml.safe_dump(how.model_dump(mode="json")))
        full_steps.register(update)
        full_steps.export_vectors(update)
        full_steps.package_tower(update, package)
        return update

    @contextmanager
    def followed(self) -> Iterator[None]:
        """While the follower goes on by itself."""
        stop = threading.Event()
        thread = threading.Thread(target=follow, args=(self.follower, stop, 0.02, "follower"))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    async def answer(self, manifest: Manifest, **asked: Any) -> tuple[list[int], list[float]]:
        """Items and scores that a generation has for a user, who says what they did; `asked` is asked besides."""
        said = await self.prediction(manifest, **asked)
        return [int(item["item_id"]) for item in said["items"]], [item["score"] for item in said["items"]]

    async def prediction(self, manifest: Manifest, **asked: Any) -> Prediction:
        """The same as the answer that it is."""
        said = await self.said(manifest, USER, **asked)
        assert (said["generation"], said["known_user"]) == (manifest.id, True)
        return said

    async def said(self, manifest: Manifest, user: int, **asked: Any) -> Prediction:
        """The same for whoever it is that did what the user did."""
        live, padded = await self._opened(manifest.id), self.past().padded()
        await self.parts.preranking.warm(live)
        await self.parts.tables.warm(live)
        assert self.parts.second
        await self.parts.second.warm(live)
        did = [
            {"item_id": int(item), "timestamp": int(at)}
            for item, at in zip(padded.items[padded.mask], padded.times_us[padded.mask], strict=True)
        ]
        wanted = {"k": K, "history": did, "timestamp": NOW.end_us, "profile": {"kind": f"k{USER}"}, **asked}
        (said,) = await answer_by(live, "stable", self.parts, begun(live, user_id=user, **wanted))
        return said

    async def _opened(self, id_: str) -> LiveGeneration:
        manifest = open_log(self.settings).state().generation(id_)
        self.follower.step()
        await self.tower.open(manifest)
        live = LiveGeneration(manifest)
        await open_vectors(manifest, live, None, self.second)
        return live

    def past(self) -> Histories:
        """What the user did."""
        state = histories_at(self.dataset, NOW.end, None, None)
        assert state is not None
        return state.read(np.array([USER]), np.array([NOW.end_us]))

    def expected(self, manifest: Manifest) -> dict[int, float]:
        """The score of every item that may be found, from the version's own files: without any part that serves."""
        folder = local_path(open_log(self.settings).state().versions[manifest.full_version].uri) or Path()
        files = FullVersionFiles(folder, folder)
        segments = [Segment.open(local_path(part.uri) or Path()) for part in manifest.segments]
        towers = OpenVersion(files, self.dataset).under(Overlay(files.users, segments))
        vectors = towers.user_vectors(np.array([USER]), np.array([NOW.end_us]), self.past())
        vectors, items = vectors.reshape(-1, vectors.shape[-1]), towers.item_vectors()
        if (cascade := manifest.cascade) is None:
            scores = (vectors @ items.T).max(0)
        else:
            by_first, scores = (
                vectors[0, part] @ items[:, part].T for part in (slice(-cascade.dim), slice(-cascade.dim, None))
            )
            scores[np.argsort(-by_first)[max(cascade.candidates, K) :]] = -np.inf
        return dict(zip(self.dataset.items()["item_id"].to_pylist(), scores.tolist(), strict=True))

    async def check(self, manifest: Manifest) -> list[float]:
        """An answer is the best of what may be found; its scores."""
        items, scores = await self.answer(manifest)
        expected, tolerance = self.expected(manifest), 1e-3 if manifest.cascade else 1e-4
        np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], atol=tolerance)
        np.testing.assert_allclose([expected[item] for item in items], scores, atol=tolerance)
        return scores
