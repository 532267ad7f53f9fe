"""What a generation has of the items, out of the steps of a full update: what the export wrote, and vectors by ID.

Vectors by ID lie beside the collection: the original ones where it holds less of them (codes, or fewer numbers), and
those of a cascade's second member; and what a pre-ranker reads of items.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError
from pagoda.generations.creation import ENCODER
from pagoda.generations.manifest import Artifact, Cascade, OriginalVectors, Prerank
from pagoda.generations.versions import CANDIDATES
from pagoda.item_vectors.item_fields import FIELDS_FILE, ItemFields, field_names
from pagoda.item_vectors.parts import PARTS_FILE, VectorPart, VectorParts
from pagoda.item_vectors.reduction import REDUCTION_FILE, Reduction
from pagoda.item_vectors.scoring import probe_queries, stored_dim
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById, write_vectors_by_id
from pagoda.prerank.items import ITEMS_FILE, write_items
from pagoda.prerank.report import PrerankReport
from pagoda.settings import Settings
from pagoda.storage.atomic import build_folder
from pagoda.updates.full import FullUpdate
from pagoda.updates.step_outputs import StepOutputs
from pagoda.version_files.full import PRERANK, PRERANK_PROGRAM, FullVersionFiles
from pagoda.version_files.preranked_items import preranked

VECTORS, FIELDS = "vectors", "fields"
"""Folders of the steps of the export; each part of the items has its own, see `part_of`."""
FIRST_FILE, SECOND_FILE = "item_vectors.parquet", "second_vectors.parquet"
"""What a collection is built from, and beside it what a cascade's second member makes of the same items."""
_SECOND_PARTS_FILE = "second_vectors.json"
_ORIGINALS, _SECOND = "originals", "second"


def part_of(update: FullUpdate, step: str, shard: int) -> str:
    """The name of a step for one part of the items."""
    return step if update.shards == 1 else f"{step}-{shard:05}-of-{update.shards:05}"


def all_vectors(update: FullUpdate) -> Path:
    """The vectors of all items, of which a collection is built: the one Parquet file, or the list of its parts.

    Raises:
        ConflictError: A part has not been exported yet.
    """
    one = update.shards == 1
    folder = update.outputs.get(VECTORS) if one else update.step(VECTORS, lambda folder: _gather(update, folder))
    # Whoever ran first decided the number of parts.
    return folder / (PARTS_FILE if (folder / PARTS_FILE).exists() else FIRST_FILE)


def second_vectors(update: FullUpdate) -> Path:
    """The same by a cascade's second member."""
    first = all_vectors(update)
    return first.with_name(_SECOND_PARTS_FILE if first.name == PARTS_FILE else SECOND_FILE)


def _gather(update: FullUpdate, folder: Path) -> None:
    """Write the lists of the parts, each member's."""
    steps, made = [part_of(update, VECTORS, shard) for shard in range(update.shards)], update.outputs
    lists = {PARTS_FILE: FIRST_FILE, **({_SECOND_PARTS_FILE: SECOND_FILE} if update.files().config.cascade else {})}
    for name, file in lists.items():
        parts = tuple(VectorPart(uri=made.uri(step, file), checksum=made.checksum(step, file)) for step in steps)
        VectorParts(parts=parts).write(folder / name)


def item_fields(update: FullUpdate) -> list[Artifact]:
    """What answers may say of items; nothing where the dataset has nothing, or an older release did the export."""
    made, steps = update.outputs, [part_of(update, FIELDS, shard) for shard in range(update.shards)]
    return [_artifact(made, step, FIELDS_FILE) for step in steps] if all(map(made.done, steps)) else []


def item_texts(update: FullUpdate) -> ItemFields | None:
    """Where the items' words are; None where `item_fields` has nothing."""
    steps = [part_of(update, FIELDS, shard) for shard in range(update.shards)]
    if not (field_names(update.data.spec) and all(map(update.outputs.done, steps))):
        return None
    return ItemFields([update.outputs.get(step) / FIELDS_FILE for step in steps])


def candidates_of(update: FullUpdate) -> int:
    """Items that a cascade's first member finds for its second to order; 0: the version is none."""
    return int(update.version().tags.get(CANDIDATES, 0))


def keep_second(update: FullUpdate) -> None:
    """Write the vectors of a cascade's second member by ID, once; nothing where there is none."""
    if candidates_of(update):
        spec = update.data.spec
        source = ItemVectors(second_vectors(update), spec)
        update.step(_SECOND, lambda folder: write_vectors_by_id(folder, source, spec))


def cascade_of(update: FullUpdate) -> Cascade | None:
    """What `keep_second` wrote, and how it is asked.

    Raises:
        ConflictError: It has not written it.
    """
    if not (candidates := candidates_of(update)):
        return None
    made = update.outputs
    return Cascade(
        ids=_artifact(made, _SECOND, IDS_FILE),
        vectors=_artifact(made, _SECOND, VECTORS_FILE),
        dim=ItemVectors(second_vectors(update), update.data.spec).dim,
        candidates=candidates,
    )


def searched_for(update: FullUpdate) -> int:
    """Items that recall asks the collection for at least: a cascade's candidates, or a pre-ranker's."""
    prerank = update.files().config.prerank
    return prerank.candidates if prerank else candidates_of(update)


def keep_encoded(files: FullVersionFiles, items: pa.Table, vectors: NDArray[np.float32], folder: Path) -> None:
    """Write what the version's pre-ranker reads of some items; nothing where it has none.

    Args:
        files: The full version.
        items: n rows of `Dataset.items()`.
        vectors: float32 [n, D], theirs.
        folder: Where to.
    """
    if files.config.prerank is None:
        return
    write_items(folder / ITEMS_FILE, *preranked(files, _prerank_report(files).groups, items, vectors))


def prerank_of(update: FullUpdate) -> Prerank | None:
    """The version's pre-ranker, and how it is asked; None: it has none."""
    files, made, version = update.files(), update.outputs, update.version()
    if (how := files.config.prerank) is None:
        return None
    steps = [part_of(update, VECTORS, shard) for shard in range(update.shards)]
    program, encoder = (
        Artifact(uri=f"{version.uri}/{name}", checksum=version.files[name]) for name in (PRERANK_PROGRAM, ENCODER)
    )
    return Prerank(
        candidates=how.candidates,
        budget_ms=how.budget_ms,
        groups=_prerank_report(files).groups,
        program=program,
        encoder=encoder,
        items=tuple(_artifact(made, step, ITEMS_FILE) for step in steps),
    )


def keep_originals(
    settings: Settings, outputs: StepOutputs, source: ItemVectors, spec: FeatureSpec, users: NDArray[np.float32]
) -> VectorsById | None:
    """Write them, once; None where recall does not score again by them.

    Args:
        settings: Say whether it does, and how many numbers the collection holds.
        outputs: Of the update that made the version.
        source: What the collection is built from.
        spec: What that was written with.
        users: Vectors of some users, [q, dim], by which it is learned what matters where there are fewer numbers.

    Raises:
        ConfigError: `index.dim` is not fewer than there are.
    """
    if not settings.index.keeps_originals:
        return None

    def make(folder: Path) -> None:
        with build_folder(folder) as aside:
            write_vectors_by_id(aside, source, spec)

    folder, dim = outputs.make(_ORIGINALS, make), settings.index.dim
    if dim is None:
        return VectorsById(folder / IDS_FILE, folder / VECTORS_FILE)
    if dim >= (whole := stored_dim(spec, source.dim)):
        raise ConfigError(f"index.dim is {dim}, and vectors have {whole} numbers: give fewer, or leave it out")

    def reduce(place: Path) -> None:
        with build_folder(place) as aside:
            vectors = (block for _, block in source.stored())
            Reduction.learn(probe_queries(spec, users), vectors, dim).write(aside)

    reduction = Reduction.read(outputs.make(_reduction(dim), reduce) / REDUCTION_FILE)
    return VectorsById(folder / IDS_FILE, folder / VECTORS_FILE, reduction)


def original_vectors(settings: Settings, outputs: StepOutputs) -> OriginalVectors | None:
    """Where that is which `keep_originals` wrote.

    Raises:
        ConflictError: It has not written it.
    """
    if not settings.index.keeps_originals:
        return None

    return OriginalVectors(
        ids=_artifact(outputs, _ORIGINALS, IDS_FILE),
        vectors=_artifact(outputs, _ORIGINALS, VECTORS_FILE),
        reduction=_artifact(outputs, _reduction(settings.index.dim), REDUCTION_FILE) if settings.index.dim else None,
    )


def _reduction(dim: int) -> str:
    """The name of the step that learns the maps to so many numbers."""
    return f"reduction-{dim}"


def _artifact(outputs: StepOutputs, step: str, name: str) -> Artifact:
    return Artifact(uri=outputs.uri(step, name), checksum=outputs.checksum(step, name))


def _prerank_report(files: FullVersionFiles) -> PrerankReport:
    return PrerankReport.model_validate_json((files.folder / PRERANK).read_bytes())
