"""The proof that an incremental version changes users' rows and nothing else (invariant 3), before it is registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pagoda.embeddings.segment import DESCRIPTION, FILES, read_description
from pagoda.embeddings.table import combine
from pagoda.errors import IntegrityError
from pagoda.training.incremental.frozen_base import ITEM_VECTORS, exported_checksum
from pagoda.version_files.full import TOWERS, USERS
from pagoda.version_files.incremental import SEGMENT, IncrementalFiles


def check_incremental(files: IncrementalFiles, base_version: int, base: Mapping[str, str], vectors: Path) -> None:
    """Check an incremental version against what its base was registered with.

    Args:
        files: The version.
        base_version: The full version's number.
        base: Checksum of each file of the full version, as registered.
        vectors: The base's exported item vectors, verified.

    Raises:
        IntegrityError: A frozen part is not the base's to the bit, the first artifact holds anything but a segment, or
            the segment is for another base.
    """
    files.verify()
    _check_contents(files.folder)
    frozen = files.description.frozen
    if TOWERS not in frozen or ITEM_VECTORS not in frozen:
        raise IntegrityError(f"{files.state}: says nothing of {TOWERS} or {ITEM_VECTORS}, so nothing is proved")
    registered = {**base, ITEM_VECTORS: exported_checksum(vectors)}
    for part, checksum in frozen.items():
        if registered.get(part) != checksum:
            raise IntegrityError(
                f"{files.folder}: was learned over {part} {checksum}, but full version {base_version} has "
                f"{registered.get(part)}: an incremental may change nothing but users' rows"
            )
    _check_base(files, base_version, base)


def _check_contents(folder: Path) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wanted = {f"{SEGMENT}/{name}" for name in FILES}
    if found != wanted:
        raise IntegrityError(f"{folder}: holds {sorted(found)}; an incremental version is {sorted(wanted)}")


def _check_base(files: IncrementalFiles, version: int, base: Mapping[str, str]) -> None:
    segment = read_description(files.segment)
    arrays = ("ids.npy", "rows.npy", "oov.npy")
    users = combine({name: base.get(f"{USERS}/{name}", "") for name in arrays})
    if (segment.base_version, segment.base_checksum) != (version, users):
        raise IntegrityError(
            f"{files.segment / DESCRIPTION}: is for version {segment.base_version} ({segment.base_checksum}), "
            f"not version {version} ({users})"
        )
