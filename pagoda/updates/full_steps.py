"""What each step of a full update does; the pipeline's components call these, one each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.data.window import Window, parse_moment, to_us
from pagoda.errors import ConfigError, GateError
from pagoda.evaluation.evaluate import evaluate as evaluate_towers
from pagoda.evaluation.report import Report
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.collection import Collections
from pagoda.index.vectors import ItemVectorsWriter
from pagoda.registry.checks import checks_of
from pagoda.registry.generations import create_generation
from pagoda.registry.log import open_log
from pagoda.registry.manifest import Artifact, Manifest
from pagoda.registry.open import open_registry
from pagoda.registry.publish import publish as publish_generation
from pagoda.registry.publish import write_aliases
from pagoda.registry.versions import VersionDraft, VersionRecord
from pagoda.storage import checksum_file
from pagoda.training.artifact import FullVersionFiles
from pagoda.training.config import parse_config
from pagoda.training.full import full_update
from pagoda.training.inputs import no_histories
from pagoda.training.vectors import OpenVersion
from pagoda.updates.full import FullUpdate
from pagoda.updates.incremental import tip_of
from pagoda.updates.incremental_steps import catch_up_to
from pagoda.updates.items import replay
from pagoda.updates.mining import mine
from pagoda.updates.regression import refuse_drop

MODEL, PARENT, EVALUATION, VECTORS, INDEX, TOWER = "model", "parent", "evaluation", "vectors", "index", "tower"
"""Folders of the steps."""
REPORT, PARENT_REPORT, VECTORS_FILE = "report.json", "parent.json", "item_vectors.parquet"
MINED, MINED_FILE = "mined", "mined.parquet"
_PROBES = 400

Package = Callable[[Path, int, Path], Path]
"""Writes a version's model archive into a folder: files of the version, its number, the folder."""


def train(update: FullUpdate, config: str) -> Path:
    """Learn the window; returns the version's files. `config` is YAML, empty for the defaults.

    Where it asks for mined negatives, the parent's own search is mined first; a first version goes without.
    """

    def learn(folder: Path) -> None:
        chosen, parent, mined = parse_config(config), _parent(update), None
        if chosen.negatives.mined and parent is not None:
            mined = update.step(MINED, partial(_mine, update, parent)) / MINED_FILE
        elif chosen.negatives.mined:
            chosen = chosen.model_copy(update={"negatives": chosen.negatives.model_copy(update={"mined": 0})})
        if chosen.validation is not None:
            raise ConfigError(
                "validation holds back the end of the window, and what a pipeline registers has learned all of its "
                "window; take it out, or use `pagoda train full`"
            )
        checkpoints = update.scratch / "checkpoints"
        full_update(update.data, update.window, parent, chosen, folder, mined=mined, checkpoints=checkpoints)

    return update.outputs.make(MODEL, learn)


def _mine(update: FullUpdate, parent: FullVersionFiles, folder: Path) -> None:
    mine(update.data, parent, folder / MINED_FILE)


def evaluate(update: FullUpdate) -> Report | None:
    """Measure the version on the positives after its window; None when there are none yet.

    Raises:
        GateError: Its parent is much better on the same positives, so something went wrong.
    """
    span = update.data.span()
    if span.end <= update.window.end:
        return None
    later = Window(start=update.window.end, end=span.end)

    def measure(folder: Path) -> None:
        _measure(update, later, folder)

    return Report.model_validate_json((update.step(EVALUATION, measure) / REPORT).read_text())


def _measure(update: FullUpdate, later: Window, folder: Path) -> None:
    """Write the version's report, after comparing it with its parent's where there is one."""
    report = evaluate_towers(_open(update), update.data, later, version=update.key)
    if parent := _parent(update):
        before = evaluate_towers(OpenVersion(parent, update.data), update.data, later, version=str(update.parent))
        refuse_drop(report, before, _files(update).config.drift)
        (folder / PARENT_REPORT).write_text(before.model_dump_json(indent=1))
    (folder / REPORT).write_text(report.model_dump_json(indent=1))


def register(update: FullUpdate) -> VersionRecord:
    """Register the version, its state and its metrics."""
    files, report = _files(update), evaluate(update)
    draft = VersionDraft(
        key=update.key,
        update="full",
        window=update.window,
        parent=update.parent,
        metrics=report.summary() if report else {},
        tags={"data": files.lineage.data_checksum, "code": files.lineage.code_version},
        folder=files.folder,
        state_folder=files.state,
        params=files.config.model_dump(mode="json"),
    )
    return open_registry(update.settings).register(draft)


def export_vectors(update: FullUpdate) -> Path:
    """Compute all item vectors; returns the Parquet file."""

    def export(folder: Path) -> None:
        files, items = _files(update), update.data.items()
        with ItemVectorsWriter(folder / VECTORS_FILE, update.data.spec, files.config.model.dim) as writer:
            writer.write(items, _open(update).item_vectors())

    return update.step(VECTORS, export) / VECTORS_FILE


def build_index(update: FullUpdate) -> IndexReport:
    """Build the collection and prove it searchable."""
    version, vectors = update.version(), export_vectors(update)
    name = f"{update.settings.registry.model}_v{version.version}_{checksum_file(vectors)[-8:]}"
    milvus = update.settings.milvus
    collections = Collections(milvus.uri, milvus.token, milvus.timeout_seconds)
    state = open_log(update.settings).state()
    serving = {state.generations[id_].collection for id_ in state.arms.serving}
    if name in serving:
        return index_report(update)  # It was built and released; item changes have made it differ from the file.
    report = build_collection(collections, name, vectors, update.data.spec, queries=_queries(update))
    update.step(INDEX, lambda folder: _write(folder / REPORT, report))
    return index_report(update)


def index_report(update: FullUpdate) -> IndexReport:
    """What was measured when the collection was built."""
    return IndexReport.model_validate_json((update.outputs.get(INDEX) / REPORT).read_text())


def package_tower(update: FullUpdate, package: Package) -> Path:
    """Package the user tower; returns the archive."""
    version = update.version().version

    def make(folder: Path) -> None:
        package(_files(update).folder, version, folder)

    return next(update.step(TOWER, make).glob("*.mar"))


def publish(update: FullUpdate, catch_up: str = "") -> Manifest:
    """Offer tower, tables and collection as one generation, wait until they are held, and release it.

    Args:
        update: All of whose other steps are done.
        catch_up: Before it is offered, the version learns on its own base up to this moment, ISO 8601 with zone, or
            `now` for the newest interaction; empty: not at all.

    Returns:
        The generation that answers; one with an incremental version when the version has caught up, or serves already.
    """
    log, version = open_log(update.settings), update.version()
    index = index_report(update)
    archive, vectors = next(update.outputs.get(TOWER).glob("*.mar")), update.outputs.get(VECTORS) / VECTORS_FILE
    if index.checksum != checksum_file(vectors):
        raise GateError(f"collection {index.name!r} was built from other vectors than {vectors}; build it again")
    own = create_generation(
        log,
        version.version,
        tower=Artifact(uri=update.outputs.uri(TOWER, archive.name), checksum=checksum_file(archive)),
        item_vectors=Artifact(uri=update.outputs.uri(VECTORS, VECTORS_FILE), checksum=index.checksum),
        collection=index.name,
        dim=index.dim,
        item_count=index.rows,
        spec=update.data.spec,
        metric=index.metric,
    )
    # From here on the generation is live, and the item-change worker keeps its collection; this is what was before.
    replay(update.settings, log, own)
    if log.state().champion != version.version:
        if catch_up:
            moment = None if catch_up == "now" else parse_moment(catch_up, "catch_up")
            catch_up_to(update.settings, update.dataset, version.version, moment)
        newest = tip_of(log.state(), version.version).id
        publish_generation(log, newest, "stable", checks=checks_of(update.settings, log.state()))
    write_aliases(log, open_registry(update.settings))
    return tip_of(log.state(), version.version)


def _files(update: FullUpdate) -> FullVersionFiles:
    folder = update.outputs.get(MODEL)
    return FullVersionFiles(folder / "version", folder / "state")


def _open(update: FullUpdate) -> OpenVersion:
    return OpenVersion(_files(update), update.data)


def _parent(update: FullUpdate) -> FullVersionFiles | None:
    if update.parent is None:
        return None
    registry, folder = open_registry(update.settings), update.scratch / PARENT
    return FullVersionFiles(
        registry.fetch(update.parent, folder / "version"), registry.fetch_state(update.parent, folder / "state")
    )


def _queries(update: FullUpdate) -> NDArray[np.float32]:
    """Vectors of real users as of the window's end, for the probe."""
    files = _files(update)
    users = np.asarray(files.users.ids)
    users = users[np.unique(np.linspace(0, len(users) - 1, _PROBES).astype(int))]
    moments = np.full(len(users), to_us(update.window.end), np.int64)
    state = files.history()
    histories = state.read(users, moments) if state else no_histories(len(users))
    return _open(update).user_vectors(users, moments, histories)


def _write(path: Path, report: IndexReport) -> None:
    path.write_text(report.model_dump_json(indent=1))
