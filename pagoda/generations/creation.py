"""Making generations: one immutable manifest each, under a name that follows from its versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pagoda.append_log.records import Draft
from pagoda.channels.factory import TABLES
from pagoda.channels.merging import SECOND
from pagoda.config.channels import ChannelConfig, MergingConfig
from pagoda.config.model import Similarity
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.embeddings.table import DESCRIPTION, FILES, combine
from pagoda.embeddings.tables.layout import SIDES
from pagoda.errors import ConflictError, GateError, IntegrityError
from pagoda.generations.manifest import (
    MILVUS,
    Artifact,
    Cascade,
    Manifest,
    Mixture,
    OriginalVectors,
    Prerank,
    SegmentRef,
    generation_id,
    versions_in,
)
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import SEGMENT, VersionRecord
from pagoda.storage.inventory import Inventory

ENCODER, _ONBOARDING = "encoder.json", "onboarding.parquet"


def create_generation(
    log: ReleaseLog,
    full_version: int,
    *,
    tower: Artifact,
    item_vectors: Artifact,
    item_fields: Sequence[Artifact] = (),
    originals: OriginalVectors | None = None,
    cascade: Cascade | None = None,
    prerank: Prerank | None = None,
    channels: Sequence[ChannelConfig] = (),
    merging: MergingConfig | None = None,
    collection: str,
    dim: int,
    interests: int = 1,
    item_count: int,
    spec: FeatureSpec,
    metric: str = "IP",
    similarity: Similarity = "cosine",
    backend: str = MILVUS,
    texts: Sequence[str] = (),
) -> Manifest:
    """Record the generation of a full version without incrementals; when it is there already, return that one.

    Args:
        log: The release log.
        full_version: Its number; its artifact holds `users/`, `items/` and `encoder.json`.
        tower: The user tower's model archive.
        item_vectors: The file that the collection was built from.
        item_fields: Files with what answers may say of items, in order of their IDs; none: they say nothing.
        originals: The vectors beside a collection of codes; None where nothing is scored again by them.
        cascade: The second member, by which what the collection finds is scored; None: there is one alone.
        prerank: The model that orders what is found; None: none does.
        channels: Where candidates come from, whose tables the version's artifact holds; none: from the towers alone.
        merging: How these become one answer; None: by its defaults.
        collection: Physical name of the verified collection.
        dim: Length of a vector.
        interests: Vectors of a user.
        item_count: Rows of the collection.
        spec: The feature declaration that the towers were trained with.
        metric: Of the collection.
        similarity: What vectors are compared by.
        backend: What keeps and searches the collection.
        texts: Columns of the items whose words it can be searched by.

    Raises:
        RequestError: There is no such version.
        GateError: It is no full version, or its artifacts are gone.
        IntegrityError: Its artifact lacks a table or the encoder.
    """

    def decide(state: ReleaseState) -> Draft | None:
        if generation_id(full_version) in state.generations:
            return None
        record = _usable(state, full_version, "full")
        manifest = Manifest(
            id=generation_id(full_version),
            full_version=full_version,
            base=Artifact(uri=record.uri, checksum=tables_checksum(record.files)),
            tower=tower,
            item_vectors=item_vectors,
            item_fields=tuple(item_fields),
            originals=originals,
            cascade=cascade,
            prerank=prerank,
            mixture=_mixture(state, record, channels, merging or MergingConfig()),
            onboarding=_onboarding(record),
            collection=collection,
            backend=backend,
            texts=tuple(texts),
            dim=dim,
            interests=interests,
            metric=metric,
            similarity=similarity,
            item_count=item_count,
            spec=spec,
            window=record.window,
            created_at=log.now(),
        )
        return Draft(kind="generation", body=manifest.model_dump(mode="json"))

    log.commit(decide)
    return log.state().generation(generation_id(full_version))


def add_incremental(log: ReleaseLog, version: int) -> Manifest:
    """Record the generation of an incremental version over its base; when it is there already, return that one.

    Tower, item vectors and collection stay its base's (invariant 3), the segments are those of its chain.

    Raises:
        RequestError: There is no such version.
        GateError: It is no incremental version, its artifacts are gone, or its base has no generation that can serve.
    """

    def decide(state: ReleaseState) -> Draft | None:
        record = _usable(state, version, "incremental")
        id_ = generation_id(record.full_version, version)
        return None if id_ in state.generations else Draft(kind="generation", body=_added(state, record, log))

    log.commit(decide)
    state = log.state()
    return state.generation(generation_id(state.version(version).full_version, version))


def add_build(
    log: ReleaseLog,
    full_version: int,
    backend: str,
    *,
    texts: Sequence[str] = (),
    originals: OriginalVectors | None = None,
) -> Manifest:
    """Record what is stable once more, with a collection of the same name in another backend.

    When such a generation is there already and can serve, return that one.

    Args:
        log: The release log.
        full_version: Whose vectors are in the collection.
        backend: Which one keeps it.
        texts: Columns of the items whose words it can be searched by.
        originals: The vectors beside it, as for `create_generation`.

    Raises:
        ConflictError: Another full version is stable by now.
    """

    def found(state: ReleaseState) -> Manifest | None:
        builds = state.builds(*versions_in(_stable(state, full_version).id))
        usable = (one for one in builds if one.backend == backend and one.id not in state.retired)
        return next(usable, None)

    def decide(state: ReleaseState) -> Draft | None:
        if found(state) is not None:
            return None
        stable = _stable(state, full_version)
        full, incremental = versions_in(stable.id)
        id_ = generation_id(full, incremental, len(state.builds(full, incremental)) + 1)
        new = {"id": id_, "backend": backend, "texts": tuple(texts), "originals": originals, "created_at": log.now()}
        manifest = stable.model_copy(update=new)
        return Draft(kind="generation", body=manifest.model_dump(mode="json"))

    while (made := found(log.state())) is None:
        log.commit(decide)
    return made


def _stable(state: ReleaseState, full_version: int) -> Manifest:
    stable = state.generations[state.stable] if state.stable else None
    if stable is None or stable.full_version != full_version:
        raise ConflictError(f"{state.stable} is stable by now, and no longer full version {full_version}; run it again")
    return stable


def _added(state: ReleaseState, record: VersionRecord, log: ReleaseLog) -> Mapping[str, Any]:
    """What the incremental adds to the nearest generation below it that can still serve."""
    segments: list[SegmentRef] = []
    link: VersionRecord | None = record
    while link is not None:
        segments.append(_segment(link))
        # Only what is added to the one below: manifests with whole chains would make the log grow with their square.
        if below := _below(state, record.full_version, link.parent):
            window = Window(start=below.window.start, end=record.window.end)
            return {
                "id": generation_id(record.full_version, record.version),
                "onto": below.id,
                "incremental_version": record.version,
                "segments": [segment.model_dump() for segment in segments],
                "window": window.model_dump(mode="json"),
                "created_at": log.now().isoformat(),
            }
        link = state.versions[link.parent] if link.parent else None
    raise GateError(
        f"incremental version {record.version}: no generation of its base, full version {record.full_version}, "
        "can serve any more, or there is none yet"
    )


def _below(state: ReleaseState, full_version: int, incremental_version: int | None) -> Manifest | None:
    """The generation of these versions that can serve: of several, one in the backend of what serves, or the newest."""
    builds = [one for one in state.builds(full_version, incremental_version) if one.id not in state.retired]
    serving = state.generations[state.stable].backend if state.stable else MILVUS
    return next((one for one in reversed(builds) if one.backend == serving), builds[-1] if builds else None)


def _segment(record: VersionRecord) -> SegmentRef:
    if record.segment is None or record.rows is None or record.pruned:
        raise GateError(f"version {record.version}: its segment is gone")
    return SegmentRef(version=record.version, uri=f"{record.uri}/{SEGMENT}", checksum=record.segment, rows=record.rows)


def _usable(state: ReleaseState, number: int, update: str) -> VersionRecord:
    record = state.version(number)
    if record.update != update:
        raise GateError(f"version {number} is {record.update}; this needs an {update} one")
    if record.pruned:
        raise GateError(f"version {number}: retention has deleted its artifacts")
    return record


def _mixture(
    state: ReleaseState, record: VersionRecord, channels: Sequence[ChannelConfig], merging: MergingConfig
) -> Mixture | None:
    if not channels:
        return None
    below = f"{TABLES}/"
    tables = {
        name.removeprefix(below): Artifact(uri=f"{record.uri}/{name}", checksum=checksum)
        for name, checksum in record.files.items()
        if name.startswith(below)
    }
    second = state.stable if any(channel.kind == SECOND for channel in channels) else None
    return Mixture(channels=tuple(channels), merging=merging, tables=tables, second=second)


def _onboarding(record: VersionRecord) -> Artifact | None:
    checksum = record.files.get(_ONBOARDING)
    return Artifact(uri=f"{record.uri}/{_ONBOARDING}", checksum=checksum) if checksum else None


def tables_checksum(files: Inventory) -> str:
    """What `pagoda.embeddings.tables.layout.tables_checksum` gives for a copy of these files."""
    try:
        arrays = [name for name in FILES if name != DESCRIPTION]
        parts = {side: combine({name: files[f"{side}/{name}"] for name in arrays}) for side in SIDES}
        return combine({**parts, ENCODER: files[ENCODER]})
    except KeyError as error:
        raise IntegrityError(f"a full version's artifact must hold {error}; it has {sorted(files)}") from None
