"""The vectors that a generation brings beside a collection which holds less of them: codes, or fewer numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError
from pagoda.generations.manifest import Artifact, OriginalVectors
from pagoda.item_vectors.reduction import REDUCTION_FILE, Reduction
from pagoda.item_vectors.scoring import probe_queries, stored_dim
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById, write_vectors_by_id
from pagoda.settings import Settings
from pagoda.storage.atomic import build_folder
from pagoda.updates.step_outputs import StepOutputs

_STEP = "originals"


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

    folder, dim = outputs.make(_STEP, make), settings.index.dim
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

    def artifact(step: str, name: str) -> Artifact:
        return Artifact(uri=outputs.uri(step, name), checksum=outputs.checksum(step, name))

    return OriginalVectors(
        ids=artifact(_STEP, IDS_FILE),
        vectors=artifact(_STEP, VECTORS_FILE),
        reduction=artifact(_reduction(settings.index.dim), REDUCTION_FILE) if settings.index.dim else None,
    )


def _reduction(dim: int) -> str:
    """The name of the step that learns the maps to so many numbers."""
    return f"reduction-{dim}"
