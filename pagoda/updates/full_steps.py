"""What each step of a full update does; the pipeline's components call these, one each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.channels.merging import SECOND
from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.window import parse_moment, to_us
from pagoda.erasure.pending import TAG, open_pending
from pagoda.errors import ConfigError, GateError
from pagoda.generations.creation import create_generation
from pagoda.generations.live import live
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import open_log
from pagoda.generations.versions import CANDIDATES, DATASET, INTERESTS, VersionDraft, VersionRecord
from pagoda.index.build import IndexReport, build_collection
from pagoda.index.factory import open_collections
from pagoda.index.probe import PROBE_K
from pagoda.item_vectors.item_fields import FIELDS_FILE, field_names, write_item_fields
from pagoda.item_vectors.vector_files import ItemVectors, ItemVectorsWriter
from pagoda.model.table_inputs import no_histories
from pagoda.registry.factory import open_registry
from pagoda.storage.checksums import SHA256, checksum_file
from pagoda.updates.full import MODEL, FullUpdate
from pagoda.updates.full_evaluation import evaluate, judge, judge_first
from pagoda.updates.incremental import tip_of
from pagoda.updates.incremental_steps import catch_up_to
from pagoda.updates.item_artifacts import (
    FIELDS,
    FIRST_FILE,
    SECOND_FILE,
    VECTORS,
    all_vectors,
    cascade_of,
    item_fields,
    item_texts,
    keep_encoded,
    keep_originals,
    keep_second,
    original_vectors,
    part_of,
    prerank_of,
    searched_for,
)
from pagoda.updates.item_replay import replay
from pagoda.version_files.full import FullVersionFiles

INDEX, TOWER = "index", "tower"
"""Folders of the steps, beside those of `item_artifacts`."""
REPORT = "report.json"
MINED, MINED_FILE = "mined", "mined.parquet"
TEACHER = "teacher.parquet"
_PROBES = 400

# What learns and computes is imported where it does: a step that does neither shall not wait for PyTorch.

Package = Callable[[Path, int, Path], Path]
"""Writes a version's model archive into a folder: files of the version, its number, the folder."""


def train(update: FullUpdate, config: str, teacher: str = "", teacher_scale: str = "logit") -> Path:
    """Learn the window; returns the version's files. `config` is YAML, empty for the defaults.

    Where it asks for mined negatives, the parent's own search is mined first; a first version goes without, and without
    bad ones. And it is judged before, by a training of its own, where no later positives can do that: see `judge`.
    Where it declares `distillation`, `teacher` is the path or URL of a ranker's scores, and `teacher_scale` says what
    these are: `logit` or `probability`.
    """

    def learn(folder: Path) -> None:
        from pagoda.registry.training_run import TrainingRun
        from pagoda.training.distillation.score_file import Teacher, scale_named
        from pagoda.training.distributed.update import update_by_processes
        from pagoda.training.full.side_inputs import SideInputs

        chosen = parse_config(config)
        _refuse(chosen, update, teacher)
        scale = scale_named(teacher_scale)
        scores = Teacher(update.fetched(TEACHER, teacher), scale) if teacher else None
        parent, mined = update.parent_files(), None
        if chosen.mined and parent is not None:
            mined = update.step(MINED, partial(_mine, update, parent)) / MINED_FILE
        if parent is None:
            chosen = chosen.without_others()
            judge_first(update, chosen, SideInputs(teacher=scores))
        shown = TrainingRun(update.settings.registry, update.window, update.parent)
        checkpoints = update.scratch / "checkpoints"
        forgotten = open_pending(update.settings).forgotten(update.data.spec)
        update_by_processes(
            update.data,
            update.window,
            parent,
            chosen,
            folder,
            beside=SideInputs(mined, scores),
            forgotten=forgotten,
            progress=shown,
            checkpoints=checkpoints,
        )

    return update.outputs.make(MODEL, learn)


def _refuse(chosen: TrainConfig, update: FullUpdate, teacher: str) -> None:
    """Raise ConfigError for what can be known to be wrong before anything is fetched or mined."""
    from pagoda.training.full.refusals import refuse_unused, refuse_what_the_data_lacks

    if chosen.validation is not None:
        raise ConfigError(
            "validation holds back the end of the window, and what a pipeline registers has learned all of its "
            "window; take it out, or use `pagoda train full`"
        )
    if update.settings.rollout.backend == "kserve" and any(channel.kind == SECOND for channel in chosen.channels):
        raise ConfigError(
            f"channels: {SECOND} asks the tower of the generation before, and with rollout.backend: kserve a predictor "
            "holds one full version, and the one before goes after its grace; leave the channel out, or have the tower "
            "in recall's pods (tower.runtime: in_process)"
        )
    refuse_unused(chosen, teacher)
    refuse_what_the_data_lacks(chosen, update.data, update.window)


def _mine(update: FullUpdate, parent: FullVersionFiles, folder: Path) -> None:
    from pagoda.updates.mining.mine import mine

    mine(update.data, parent, folder / MINED_FILE)


def register(update: FullUpdate) -> VersionRecord:
    """Register the version, its state and its metrics, those of what judged it included."""
    files, report, judged = update.files(), evaluate(update), judge(update)
    draft = VersionDraft(
        key=update.key,
        update="full",
        window=update.window,
        parent=update.parent,
        metrics={**(report.summary() if report else {}), **judged.figures},
        tags={
            "data": files.lineage.data_checksum,
            "code": files.lineage.code_version,
            DATASET: update.describe()["dataset"],
            TAG: str(files.lineage.forgotten),
            **({INTERESTS: str(files.interests)} if files.interests > 1 else {}),
            **({CANDIDATES: str(files.config.cascade.candidates)} if files.config.cascade else {}),
            **judged.tags(),
        },
        folder=files.folder,
        state_folder=files.state,
        params=files.config.model_dump(mode="json"),
    )
    return open_registry(update.settings).register(draft)


def export_vectors(update: FullUpdate, shard: int = 0) -> Path:
    """Compute the vectors of one of `update.shards` parts of the items; returns the Parquet file.

    Beside it are those of a cascade's second member, what a pre-ranker reads of these items, and what answers may say
    of them.
    """

    def export(folder: Path) -> None:
        from pagoda.version_files.open_version import item_vectors as compute_vectors

        files, items = update.files(), update.data.items((shard, update.shards))
        spec, similarity = update.data.spec, files.config.model.similarity
        shares = files.shares(items.column("item_id").to_numpy()) if spec.rules else None
        models = np.split(compute_vectors(files, files.towers(), items), [files.config.vector_dim], axis=1)
        for name, vectors in zip((FIRST_FILE, SECOND_FILE), models, strict=True):
            if dim := vectors.shape[1]:
                with ItemVectorsWriter(folder / name, spec, dim, similarity) as writer:
                    writer.write(items, vectors, shares)
        keep_encoded(files, items, models[0], folder)

    def tell(folder: Path) -> None:
        write_item_fields(folder / FIELDS_FILE, update.data.spec, update.data.items((shard, update.shards)))

    if field_names(update.data.spec):
        update.step(part_of(update, FIELDS, shard), tell)
    return update.step(part_of(update, VECTORS, shard), export) / FIRST_FILE


def build_index(update: FullUpdate) -> IndexReport:
    """Build the collection and prove it searchable."""
    version, vectors, spec = update.version(), all_vectors(update), update.data.spec
    name = f"{update.settings.registry.model}_v{version.version}_{checksum_file(vectors)[-8:]}"
    collections = open_collections(update.settings)
    log = open_log(update.settings)
    state = log.state()
    offered = {state.generations[id_].collection for id_ in live(state, log.now())}
    if name in offered and collections.exists(name):
        return index_report(update)  # It was built, and may serve; item changes have made it differ from the file.
    queries = probe_queries(update.files(), update.data)
    keep_second(update)
    report = build_collection(
        collections,
        name,
        vectors,
        spec,
        queries=queries,
        config=update.settings.index.collection,
        texts=item_texts(update) if update.settings.index.text else None,
        originals=keep_originals(update.settings, update.outputs, ItemVectors(vectors, spec), spec, queries),
        asked=max(PROBE_K, searched_for(update)),
    )
    update.step(INDEX, lambda folder: _write(folder / REPORT, report))
    return index_report(update)


def index_report(update: FullUpdate) -> IndexReport:
    """What was measured when the collection was built."""
    return IndexReport.model_validate_json((update.outputs.get(INDEX) / REPORT).read_text())


def package_tower(update: FullUpdate, package: Package) -> Path:
    """Package the user tower; returns the archive."""
    version = update.version().version

    def make(folder: Path) -> None:
        package(update.files().folder, version, folder)

    return next(update.step(TOWER, make).glob("*.mar"))


def offer(update: FullUpdate) -> Manifest:
    """Record tower, tables and collection as one generation, which hosts then bring.

    Raises:
        GateError: The collection was built from other vectors.
    """
    log, version = open_log(update.settings), update.version()
    index = index_report(update)
    archive, vectors = next(update.outputs.get(TOWER).glob("*.mar")), all_vectors(update)
    if index.checksum != checksum_file(vectors):
        raise GateError(f"collection {index.name!r} was built from other vectors than {vectors}; build it again")
    config = update.files().config
    own = create_generation(
        log,
        version.version,
        tower=Artifact(uri=update.outputs.uri(TOWER, archive.name), checksum=checksum_file(archive, SHA256)),
        item_vectors=Artifact(uri=update.outputs.uri(VECTORS, vectors.name), checksum=index.checksum),
        item_fields=item_fields(update),
        originals=original_vectors(update.settings, update.outputs),
        cascade=cascade_of(update),
        prerank=prerank_of(update),
        channels=config.channels,
        merging=config.merging,
        collection=index.name,
        dim=index.dim,
        interests=int(version.tags.get(INTERESTS, 1)),
        item_count=index.rows,
        spec=update.data.spec,
        metric=index.metric,
        similarity=index.similarity,
        backend=update.settings.index.backend,
        texts=index.texts,
    )
    # From here on the generation is live, and the item-change worker keeps its collection; this is what was before.
    replay(update.settings, log, own)
    return own


def caught_up(update: FullUpdate, catch_up: str) -> Manifest:
    """The newest generation of a version that was offered, after it has learned what happened meanwhile.

    Args:
        update: All of whose other steps are done.
        catch_up: The version learns on its own base up to this moment, ISO 8601 with zone, or `now` for the newest
            interaction; empty: not at all.
    """
    if catch_up:
        moment = None if catch_up == "now" else parse_moment(catch_up, "catch_up")
        catch_up_to(update.settings, update.dataset, update.version().version, moment)
    return newest(update)


def newest(update: FullUpdate) -> Manifest:
    """What serves of a version, or would: with an incremental one when it has caught up."""
    return tip_of(open_log(update.settings).state(), update.version().version)


def probe_queries(files: FullVersionFiles, data: Dataset) -> NDArray[np.float32]:
    """Vectors of some of a version's users as of its window's end, float32 [n, dim], for the probe: all of each.

    Of a cascade, those that the collection is asked by.
    """
    from pagoda.version_files.open_version import OpenVersion

    users = np.asarray(files.users.ids)
    users = users[np.unique(np.linspace(0, len(users) - 1, _PROBES // files.interests).astype(int))]
    moments = np.full(len(users), to_us(files.lineage.window.end), np.int64)
    state = files.history()
    histories = state.read(users, moments) if state else no_histories(len(users))
    vectors = OpenVersion(files, data).user_vectors(users, moments, histories)
    return vectors.reshape(-1, vectors.shape[-1])[:, : files.config.vector_dim]


def _write(path: Path, report: IndexReport) -> None:
    path.write_text(report.model_dump_json(indent=1))
