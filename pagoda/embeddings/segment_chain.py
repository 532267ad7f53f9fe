"""Which segments may lie over which: each for its own base, each right after the one below it."""

from __future__ import annotations

from collections.abc import Sequence

from pagoda.embeddings.segment import SegmentDescription
from pagoda.errors import IntegrityError


def check_chain(base_version: int, base_checksum: str, dim: int, segments: Sequence[SegmentDescription]) -> None:
    """Check that `segments`, newest first, lie over this base, each over the next.

    Raises:
        IntegrityError: One is for another base, or does not follow the one below it; the message says which and why.
    """
    below: SegmentDescription | None = None
    for segment in reversed(segments):
        check_base(segment, base_version, base_checksum, dim)
        check_follows(segment, below)
        below = segment


def check_base(segment: SegmentDescription, base_version: int, base_checksum: str, dim: int) -> None:
    """Refuse a segment that is for another base, with an `IntegrityError` that says so."""
    name = f"segment {segment.checksum}"
    if (segment.base_version, segment.base_checksum) != (base_version, base_checksum):
        raise IntegrityError(
            f"{name} is for another base: version {segment.base_version} ({segment.base_checksum}), "
            f"not version {base_version} ({base_checksum})"
        )
    if segment.dim != dim:
        raise IntegrityError(f"{name} has rows of length {segment.dim}, its base {dim}")


def check_follows(segment: SegmentDescription, applied: SegmentDescription | None) -> None:
    """Refuse a segment that does not come right after `applied`, the newest one below it (None: only the base).

    Raises:
        IntegrityError: It is older than what is applied, or one between them is missing.
    """
    # A merged segment stands for those that it was made of, and what follows names the newest of these.
    newest = applied.originals[0] if applied else None
    if segment.parent == newest:
        return
    name = f"segment {segment.checksum} (window {segment.window.key})"
    if applied and segment.window.end <= applied.window.end:
        raise IntegrityError(f"{name} is older than what is applied: {newest} (window {applied.window.key})")
    raise IntegrityError(f"{name} follows {segment.parent or 'its base'}, but applied is {newest or 'only the base'}")
