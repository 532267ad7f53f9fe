"""Moving what serves from one search backend to another: its collection is built there, and released from there.

No step is told to another one: whatever is done already is found out, so that a run that was killed is run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pagoda.append_log.records import Draft
from pagoda.errors import ConflictError, GateError, IntegrityError
from pagoda.generations.creation import add_build
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import ReleaseLog, open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import DATASET
from pagoda.index.build import IndexReport, Progress, build_collection
from pagoda.index.factory import open_collections
from pagoda.index.probe import PROBE_K
from pagoda.item_vectors.item_fields import ItemFields
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.registry.publish import plan_move
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import UNDECIDED
from pagoda.settings import Settings
from pagoda.storage.checksums import checksum_file
from pagoda.storage.copies import fetch, local_path
from pagoda.updates.full_steps import probe_queries
from pagoda.updates.incremental import open_dataset, scratch_of
from pagoda.updates.incremental_steps import base_files
from pagoda.updates.item_artifacts import keep_originals, original_vectors
from pagoda.updates.item_replay import replay
from pagoda.updates.readiness import collection_ready
from pagoda.updates.step_outputs import StepOutputs, open_outputs


@dataclass(frozen=True)
class Moved:
    """What serves, and from where."""

    manifest: Manifest
    report: IndexReport | None
    """Of its collection; None: it was in that backend already."""


def rebuild(settings: Settings, progress: Progress | None = None) -> Moved:
    """Build the stable generation's collection in the backend of the settings, and release it from there.

    The new generation differs from the stable one in nothing else. Traffic goes on meanwhile; recall searches in the
    backend that it was started with, so it takes the new generation in when it is started again.

    Raises:
        GateError: Nothing serves yet, or the collection does not pass its checks.
        ConflictError: A rollout has not come to its end, or something else became stable meanwhile.
        DataError: The dataset is not there.
        IntegrityError: The version's files or its item vectors are missing or damaged.
        UnavailableError: The backend or a store does not answer; run it again.
    """
    log = open_log(settings)
    stable = _stable(log.state())
    if stable.backend == settings.index.backend:
        return Moved(stable, None)
    report = _build(settings, log.state(), stable, progress)
    originals = original_vectors(settings, _outputs(settings, log.state(), stable))
    backend = settings.index.backend
    manifest = add_build(log, stable.full_version, backend, texts=report.texts, originals=originals)
    replay(settings, log, manifest)
    _release(settings, log, manifest)
    return Moved(manifest, report)


def _stable(state: ReleaseState) -> Manifest:
    if state.stable is None:
        raise GateError(
            "no generation serves yet, so there is nothing to rebuild; `pagoda update full` makes the first"
        )
    rollout = rollout_of(state)
    if rollout and rollout.phase in UNDECIDED:
        raise ConflictError(
            f"rollout {rollout.id} of {rollout.candidate} is {rollout.phase}, and its arms must be in one search "
            "backend; run it again when it has ended, or `pagoda rollout abort` first"
        )
    return state.generations[state.stable]


def _build(settings: Settings, state: ReleaseState, stable: Manifest, progress: Progress | None) -> IndexReport:
    record = state.version(stable.full_version)
    dataset = open_dataset(settings, settings.dataset(record.tags.get(DATASET, "")))
    vectors = _local(settings, stable, stable.item_vectors, "vectors")
    source, outputs = ItemVectors(vectors, stable.spec), _outputs(settings, state, stable)
    queries = probe_queries(base_files(settings, stable.full_version), dataset)
    return build_collection(
        open_collections(settings),
        stable.collection,
        vectors,
        stable.spec,
        queries=queries,
        config=settings.index.collection,
        texts=_texts(settings, stable) if settings.index.text else None,
        originals=keep_originals(settings, outputs, source, stable.spec, queries),
        asked=max(PROBE_K, stable.candidates),
        progress=progress,
    )


def _outputs(settings: Settings, state: ReleaseState, stable: Manifest) -> StepOutputs:
    """Of the update that made the stable version."""
    url = f"{settings.artifacts_url}/{state.version(stable.full_version).key.replace(':', '/')}"
    return open_outputs(url, scratch_of(settings, stable.full_version) / "outputs")


def _texts(settings: Settings, manifest: Manifest) -> ItemFields | None:
    """Where the items' words are; None: an older release did the export."""
    files = [_local(settings, manifest, file, f"fields-{at:05}") for at, file in enumerate(manifest.item_fields)]
    return ItemFields(files) if files else None


def _local(settings: Settings, manifest: Manifest, file: Artifact, called: str) -> Path:
    """A file of the generation, on this machine and whole; a copy of what is not here is in a folder `called` so."""
    uri, checksum = file.uri, file.checksum
    if (path := local_path(uri)) is not None:
        if not path.is_file():
            raise IntegrityError(f"{uri} is missing")
        if (found := checksum_file(path, checksum)) != checksum:
            raise IntegrityError(f"{uri} is damaged: its checksum is {found}, not {checksum}")
        return path
    place, name = uri.rsplit("/", 1)
    folder = scratch_of(settings, manifest.full_version) / called
    return fetch(place, {name: checksum}, folder) / name


def _release(settings: Settings, log: ReleaseLog, manifest: Manifest) -> None:
    # Rows may differ by item changes. Tower and tables are those that serve already.
    collection_ready(open_collections(settings), changed=True)(manifest)

    def decide(state: ReleaseState) -> Draft | None:
        _stable(state)
        return plan_move(state, manifest.id).draft()

    log.commit(decide)
