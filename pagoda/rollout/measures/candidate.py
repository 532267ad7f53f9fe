"""What is measured of a candidate before any user meets it: on the artifacts that would serve, not on their reports."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window, to_us
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.errors import IntegrityError, NothingToAskError, UnavailableError
from pagoda.evaluation.metrics import recall
from pagoda.evaluation.offline import Questions, ask
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import ExcludedPairs, rank
from pagoda.generations.creation import tables_checksum
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import DATASET
from pagoda.index.build import IndexReport
from pagoda.index.factory import open_collections, open_copies
from pagoda.index.probe import PROBE_K, SearchedCollection, probe
from pagoda.item_changes.changes import ItemChanges, int64_ids
from pagoda.item_changes.log import open_item_log
from pagoda.item_vectors.parts import is_list, read_parts
from pagoda.item_vectors.reduction import Reduction
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import VectorsById
from pagoda.model.table_inputs import no_histories
from pagoda.registry.factory import open_registry
from pagoda.rollout.measures.offline_evidence import OfflineEvidence, RecallRows, inspect_vectors
from pagoda.settings import Settings
from pagoda.storage.checksums import checksum_file
from pagoda.storage.copies import download, fetch, local_path
from pagoda.storage.inventory import select, take_inventory, verify
from pagoda.updates.full_steps import INDEX, REPORT
from pagoda.updates.incremental import open_dataset
from pagoda.updates.step_outputs import open_outputs
from pagoda.version_files.full import CONFIG, ENCODER, ITEMS, LINEAGE, TOWERS, USERS, FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

_K, _SHARE = 50, 12
"""Recall is that among the first 50, and in small catalogues among the first twelfth, or everything would be found."""
_ROWS = 5_000
"""Most positives asked: the interval of a relative loss is then within some per cent, after seconds."""
_COPIES = "collections"
_PROBES = 200
_PARTS = (ENCODER, CONFIG, LINEAGE, TOWERS, USERS, ITEMS)


def measure(settings: Settings, candidate: Manifest, champion: Manifest | None) -> OfflineEvidence:
    """Measure a candidate against its champion (None: there is none).

    Recall is asked on the positives after what both have learned, so neither has seen them. Between generations of one
    full version it is not asked: only rows of users differ, and such an update cannot wait for the positives of after.

    Raises:
        UnavailableError: A store or server does not answer, or item changes are under way.
        DataError: The dataset is not there.
        IntegrityError: A part is missing or damaged.
    """
    return _Measuring(settings, candidate, champion).evidence()


class _Measuring:
    def __init__(self, settings: Settings, candidate: Manifest, champion: Manifest | None) -> None:
        self._settings, self._candidate, self._champion = settings, candidate, champion
        self._state: ReleaseState = open_log(settings).state()
        self._scratch = settings.home / "work" / "evidence"
        # In a folder of their own, or each candidate's would stay: a follower lets go of copies, and none is here.
        self._copies = open_copies(settings, self._scratch / _COPIES) if settings.index.copied else None
        self._collections = self._copies or open_collections(settings)
        self._changes = ItemChanges()
        self._changes.take(open_item_log(settings).records())

    def evidence(self) -> OfflineEvidence:
        self._forget_others()
        candidate = self._candidate
        vectors, sum_ = self._file(candidate.item_vectors)
        source = ItemVectors(vectors, candidate.spec)
        return OfflineEvidence(
            ann_recall=self._ann_recall(source),
            items=self._collections.count(candidate.collection),
            expected_items=self._expected_items(source),
            vectors=inspect_vectors((block for _, block in source.blocks()), source.similarity),
            recall=self._recall(),
            checksums={
                "item vectors": (candidate.item_vectors.checksum, sum_),
                **self._part_sums(vectors),
                **self._sums_beside(),
                "tower": (candidate.tower.checksum, self._file(candidate.tower)[1]),
                **self._table_sums(),
            },
        )

    def _part_sums(self, vectors: Path) -> Mapping[str, tuple[str, str]]:
        """Of the files in an object store, pages carry checksums of their own, which reading verifies."""
        parts = read_parts(vectors).parts if is_list(vectors) else ()
        here = [(part, path) for part in parts if (path := local_path(part.uri))]
        return {f"item vectors in {path.parent.name}": (part.checksum, checksum_file(path)) for part, path in here}

    def _sums_beside(self) -> Mapping[str, tuple[str, str]]:
        return {name: (file.checksum, self._file(file)[1]) for name, file in self._candidate.files_beside.items()}

    def _table_sums(self) -> Mapping[str, tuple[str, str]]:
        folder = self._version(self._candidate.full_version)
        sums = {"ID tables": (self._candidate.base.checksum, tables_checksum(take_inventory(folder)))}
        for segment, part in zip(self._segments(self._candidate), self._candidate.segments, strict=True):
            sums[f"segment {part.version}"] = (part.checksum, segment.checksum)
        return sums

    def _expected_items(self, source: ItemVectors) -> int:
        """Rows of a collection into which the item log was brought."""
        ids = np.concatenate([block for block, _ in source.blocks()])
        changes, spec = self._changes.after(0), self._candidate.spec
        if not changes:
            return self._candidate.item_count
        gone = int64_ids(spec, [change.item_id for change in changes if change.features is None])
        there = int64_ids(spec, [change.item_id for change in changes if change.features is not None])
        expected = len(np.setdiff1d(np.union1d(ids, there), gone))
        name = self._candidate.collection
        if (found := self._collections.count(name)) != expected:
            raise UnavailableError(f"collection {name} has {found} items, {expected} with the changes of the item log")
        return expected

    def _ann_recall(self, source: ItemVectors) -> float:
        """Against exact search over the file; once items were changed, as it was when the collection was built."""
        if self._changes.head:
            record = self._state.version(self._candidate.full_version)
            outputs = open_outputs(f"{self._settings.artifacts_url}/{record.key.replace(':', '/')}", self._scratch)
            return IndexReport.model_validate_json((outputs.get(INDEX) / REPORT).read_bytes()).recall_at_100
        opened = self._open(self._candidate)
        users = np.asarray(FullVersionFiles(self._version(self._candidate.full_version), Path()).users.ids)
        users = users[np.unique(np.linspace(0, len(users) - 1, _PROBES).astype(int))]
        moments = np.full(len(users), to_us(self._candidate.window.end), np.int64)
        vectors = opened.user_vectors(users, moments, no_histories(len(users)))
        queries = vectors.reshape(-1, vectors.shape[-1])[:, : source.dim]
        name, index = self._candidate.collection, self._settings.index
        asked = max(PROBE_K, self._candidate.candidates)
        searched = SearchedCollection(self._collections, name, index.effort, index.refine, self._originals(), asked)
        return probe(searched, source, queries).recall_at_100

    def _originals(self) -> VectorsById | None:
        """What recall scores again by, where it is told to and the generation brings it."""
        files = self._candidate.originals
        if files is None or not self._settings.index.keeps_originals:
            return None
        ids, vectors = (self._file(one)[0] for one in (files.ids, files.vectors))
        return VectorsById(ids, vectors, Reduction.read(self._file(files.reduction)[0]) if files.reduction else None)

    def _recall(self) -> RecallRows | None:
        champion = self._champion
        if champion is None or champion.full_version == self._candidate.full_version:
            return None
        dataset = self._dataset()
        questions = self._questions(dataset, champion)
        if questions is None:
            nothing = np.empty(0, np.float64)
            return RecallRows(np.empty(0, np.int64), nothing, nothing)
        ours, theirs = (self._hits(manifest, questions, dataset) for manifest in (self._candidate, champion))
        return RecallRows(questions.rows.users, ours, theirs)

    def _questions(self, dataset: Dataset, champion: Manifest) -> Questions | None:
        learned, end = max(self._candidate.window.end, champion.window.end), dataset.span().end
        if end <= learned:
            return None
        try:
            return ask(dataset, Window(start=learned, end=end), protocol="each", limit=_ROWS, seed=0)
        except NothingToAskError:
            return None  # Nothing was positive since.

    def _hits(self, manifest: Manifest, questions: Questions, dataset: Dataset) -> NDArray[np.float64]:
        """Recall of each row, float64 [rows]: the generation's user vectors against the item vectors it answers by."""
        rows = questions.rows
        opened = self._open(manifest)
        users = opened.user_vectors(rows.users, rows.times_us, questions.histories["live"], rows.context)
        catalogue = dataset.items().column("item_id").to_numpy()
        scorer = _Catalogue(opened, users, catalogue, self._members(manifest), questions.seen)
        k = max(1, min(_K, len(catalogue) // _SHARE))
        return recall(rank(scorer, questions.targets, questions.seen), k)

    def _members(self, manifest: Manifest) -> list[_Member]:
        """The item vectors that the collection was built from, and those of a cascade's second member."""
        source = ItemVectors(self._file(manifest.item_vectors)[0], manifest.spec)
        members = [_Member(source.dim, source.blocks())]
        if cascade := manifest.cascade:
            ids, stored = (np.load(self._file(one)[0], mmap_mode="r") for one in (cascade.ids, cascade.vectors))
            # With rules they are times the items' weights, and another number is behind them.
            weighed = np.asarray(stored[:, : cascade.dim], np.float32)
            members.append(_Member(cascade.dim, [(ids, weighed / np.linalg.norm(weighed, axis=1, keepdims=True))]))
        return members

    def _dataset(self) -> Dataset:
        record = self._state.version(self._candidate.full_version)
        return open_dataset(self._settings, record.tags.get(DATASET) or self._settings.events_dataset)

    def _open(self, manifest: Manifest) -> OpenVersion:
        files = FullVersionFiles(self._version(manifest.full_version), Path())
        opened = OpenVersion(files, self._dataset())
        return opened.under(Overlay(files.users, self._segments(manifest)))

    def _segments(self, manifest: Manifest) -> list[Segment]:
        """The overlay, newest first, every byte verified."""
        return [Segment.open(self._segment(part.version, part.uri), verify=True) for part in manifest.segments]

    def _segment(self, version: int, uri: str) -> Path:
        place = local_path(uri)
        if place is not None:
            return place
        folder = self._scratch / str(version)
        open_registry(self._settings).fetch(version, folder)
        return folder / uri.rsplit("/", 1)[-1]

    def _version(self, number: int) -> Path:
        """A full version's files on this machine, verified."""
        record = self._state.version(number)
        parts = select(record.files, _PARTS)
        place = local_path(record.uri)
        if place is None:
            return fetch(record.uri, parts, self._scratch / str(number))
        verify(place, parts)
        return place

    def _file(self, artifact: Artifact) -> tuple[Path, str]:
        """A file on this machine, and its checksum."""
        path = local_path(artifact.uri)
        if path is None:
            path = self._scratch / artifact.checksum.replace(":", "-") / artifact.uri.rsplit("/", 1)[-1]
            if not path.exists():
                # Aside: half a file that a kill or a dead store left would be taken for a damaged candidate.
                aside = path.with_name(f".{path.name}.part")
                download(artifact.uri, aside)
                aside.replace(path)
        if not path.is_file():
            raise IntegrityError(f"{artifact.uri} is missing")
        return path, checksum_file(path, artifact.checksum)

    def _forget_others(self) -> None:
        """Copies of what other candidates needed."""
        kept = {str(part.version) for one in (self._candidate, self._champion) if one for part in one.segments}
        for one in (self._candidate, self._champion):
            if one:
                files = (one.item_vectors, one.tower, *one.files_beside.values())
                kept |= {str(one.full_version), *(file.checksum.replace(":", "-") for file in files)}
        for folder in self._scratch.glob("*"):
            if folder.name not in {*kept, _COPIES}:
                shutil.rmtree(folder, ignore_errors=True)
        if self._copies:
            self._copies.keep({one.collection for one in (self._candidate, self._champion) if one})


class _Member(NamedTuple):
    """A member's item vectors."""

    dim: int
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
    """IDs [n] and vectors [n, dim]."""


class _Catalogue:
    """Scores against the whole catalogue, of which a generation's vectors may lack items; those are never found."""

    def __init__(
        self,
        opened: OpenVersion,
        users: NDArray[np.float32],
        catalogue: NDArray[np.int64],
        members: Sequence[_Member],
        seen: ExcludedPairs,
    ) -> None:
        items = np.zeros((len(catalogue), sum(member.dim for member in members)), np.float32)
        there, start = np.zeros(len(catalogue), np.bool_), 0
        for member in members:
            for ids, vectors in member.blocks:
                known = np.isin(ids, catalogue, assume_unique=True)
                places = np.searchsorted(catalogue, ids[known])
                items[places, start : start + member.dim], there[places] = vectors[known], True
            start += member.dim
        self._there, self.items, kept = np.flatnonzero(there), len(items), there[seen.items]
        excluded = ExcludedPairs(seen.rows[kept], np.searchsorted(self._there, seen.items[kept]))
        self._scorer = scorer_of(opened, users, items[self._there], excluded)

    def block(self, rows: slice) -> NDArray[np.float32]:
        """Scores float32 [rows, catalogue]."""
        found = self._scorer.block(rows)
        scores = np.full((len(found), self.items), -np.inf, np.float32)
        scores[:, self._there] = found
        return scores
