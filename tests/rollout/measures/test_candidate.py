"""Offline evidence on real artifacts and a real index: what is whole passes, what is damaged shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pagoda.data.dataset import Dataset
from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.index.build import build_collection
from pagoda.index.factory import open_collections
from pagoda.index.in_process.collection_files import CollectionFiles
from pagoda.index.in_process.collection_store import CollectionStore
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.rollout.gate_results import Verdict
from pagoda.rollout.gates.offline import judge_offline
from pagoda.rollout.measures.candidate import measure
from pagoda.rollout.policy import OfflineGates
from pagoda.settings import EventSettings, IndexSettings
from pagoda.storage.checksums import checksum_file
from pagoda.storage.copies import local_path, upload
from tests.training.worlds import config, hours, make
from tests.updates.installations import Installation

CONFIG = config(bootstrap_epochs=2)


class Measured(Installation):
    """A champion and a candidate, each with its collection."""

    def __init__(self, home: Path, dataset: Dataset) -> None:
        super().__init__(home, dataset, CONFIG)
        # What is measured is the same of any index; a server would only take longer.
        index, events = IndexSettings(backend="in_process"), EventSettings(dataset=str(dataset.path))
        self.settings = self.settings.model_copy(update={"events": events, "index": index})
        self.collections = open_collections(self.settings)
        self.champion = self._with_collection(self.full(hours(0, 38)))
        self.candidate = self._with_collection(self.full(hours(38, 42), serve=False))

    def _with_collection(self, manifest: Manifest) -> Manifest:
        path = local_path(manifest.item_vectors.uri)
        assert path is not None
        name = f"evidence_{manifest.collection}_{checksum_file(path)[-8:]}"
        queries = np.concatenate([block for _, block in ItemVectors(path, manifest.spec).blocks()])
        build_collection(self.collections, name, path, manifest.spec, queries=queries)
        return manifest.model_copy(update={"collection": name})

    def of_inner_products(self) -> Manifest:
        """A first version whose vectors have any length."""
        before, model = self.config, CONFIG.model.model_dump() | {"similarity": "dot"}
        self.config = config(bootstrap_epochs=2, model=model, objective={"temperature": 1.0})
        made = self._with_collection(self.full(hours(0, 42), serve=False, first=True))
        self.config = before
        return made

    def verdicts(self, candidate: Manifest, champion: Manifest | None = None) -> dict[str, Verdict]:
        evidence = measure(self.settings, candidate, champion or self.champion)
        return {result.gate: result.verdict for result in judge_offline(OfflineGates(recall_tolerance=0.5), evidence)}

    def shuffled(self, folder: Path) -> Manifest:
        """The candidate, with every item's vector given to another one, and an index that is true to that."""
        source = ItemVectors(local_path(self.candidate.item_vectors.uri) or Path(), self.candidate.spec)
        vectors = np.concatenate([block for _, block in source.blocks()])
        path = folder / "item_vectors.parquet"
        with ItemVectorsWriter(path, self.candidate.spec, vectors.shape[1]) as writer:
            writer.write(self.dataset.items(), np.roll(vectors, 13, axis=0))
        vectors_of = Artifact(uri=path.as_uri(), checksum=checksum_file(path))
        return self._with_collection(self.candidate.model_copy(update={"item_vectors": vectors_of}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("evidence")
    return Measured(folder / "home", make(folder / "data"))


def test_a_download_that_broke_off_is_begun_anew(made: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = made.candidate.item_vectors
    elsewhere = Artifact(uri="memory://evidence/item_vectors.parquet", checksum=vectors.checksum)
    upload(local_path(vectors.uri) or Path(), elsewhere.uri)
    candidate = made.candidate.model_copy(update={"item_vectors": elsewhere})

    def break_off(_: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half of it")
        raise UnavailableError("the store does not answer")

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr("pagoda.rollout.measures.candidate.download", break_off)
        measure(made.settings, candidate, made.champion)
    assert made.verdicts(candidate)["checksums"] is Verdict.PASSED


def test_a_whole_candidate_passes(made: Measured) -> None:
    evidence = measure(made.settings, made.candidate, made.champion)
    assert evidence.recall is not None and len(evidence.recall.users) > 100 and evidence.recall.candidate.mean() > 0.1
    assert evidence.ann_recall > 0.95 and evidence.items == evidence.expected_items == 40
    assert set(evidence.checksums) == {"item vectors", "tower", "ID tables"}
    verdicts = made.verdicts(made.candidate)
    assert verdicts.pop("recall") is not Verdict.FAILED
    assert set(verdicts.values()) == {Verdict.PASSED}


def test_rollouts_lead_from_cosines_to_inner_products_and_back(made: Measured) -> None:
    dot = made.of_inner_products()
    assert (dot.similarity, made.champion.similarity) == ("dot", "cosine")
    assert "similarity" not in made.champion.model_dump()
    assert Manifest.model_validate_json(dot.model_dump_json()) == dot
    for candidate, champion in ((dot, made.champion), (made.candidate, dot)):
        verdicts = made.verdicts(candidate, champion)
        assert verdicts.pop("recall") is not Verdict.FAILED
        assert set(verdicts.values()) == {Verdict.PASSED}


def test_a_store_s_collections_are_measured_by_copies_that_go_with_their_candidate(made: Measured) -> None:
    index = IndexSettings(backend="in_process", store=str(made.settings.home / "store"))
    driver = made.settings.model_copy(update={"index": index})
    for name in {one.collection for one in (made.champion, made.candidate)}:
        CollectionStore(index.store).put(name, copy_of(made, name))
        CollectionStore(index.store).offer(name)
    before = sorted(path.name for path in (driver.home / "collections").iterdir())
    for candidate, champion in ((made.candidate, made.champion), (made.champion, None)):
        assert measure(driver, candidate, champion).items == candidate.item_count
        copies = driver.home / "work" / "evidence" / "collections"
        assert candidate.collection in {path.name for path in copies.iterdir()}
    assert [path.name for path in copies.iterdir()] == [made.champion.collection]
    assert sorted(path.name for path in (driver.home / "collections").iterdir()) == before


def copy_of(made: Measured, name: str) -> CollectionFiles:
    folder = made.settings.home / "copies" / name
    shutil.copytree(made.settings.home / "collections" / name, folder)
    return CollectionFiles(folder)


def test_vectors_of_other_items_show_in_recall_alone(made: Measured, tmp_path: Path) -> None:
    shuffled = measure(made.settings, made.shuffled(tmp_path), made.champion).recall
    honest = measure(made.settings, made.candidate, made.champion).recall
    assert shuffled is not None and honest is not None
    np.testing.assert_array_equal(shuffled.champion, honest.champion)
    assert shuffled.candidate.mean() < 0.6 * honest.candidate.mean()
    verdicts = made.verdicts(made.shuffled(tmp_path / "again"))
    assert verdicts.pop("recall") is not Verdict.PASSED
    assert set(verdicts.values()) == {Verdict.PASSED}


def test_what_was_changed_on_the_way_is_damaged(made: Measured, tmp_path: Path) -> None:
    archive = tmp_path / "tower.mar"
    archive.write_bytes(b"another")
    tower = Artifact(uri=archive.as_uri(), checksum=made.candidate.tower.checksum)
    assert made.verdicts(made.candidate.model_copy(update={"tower": tower}))["checksums"] is Verdict.FAILED
    archive.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        measure(made.settings, made.candidate.model_copy(update={"tower": tower}), made.champion)


def test_generations_of_one_full_version_are_not_compared(made: Measured) -> None:
    assert measure(made.settings, made.candidate, made.candidate).recall is None
    assert measure(made.settings, made.candidate, None).recall is None
