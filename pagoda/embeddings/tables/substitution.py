"""Which installed segments a host opens for a manifest's chain, now that compaction has merged some of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pagoda.embeddings.segment import SegmentDescription


def substitute(chain: Sequence[str], installed: Mapping[str, SegmentDescription]) -> tuple[str, ...]:
    """Replace runs of `chain` (checksums, newest first) by installed segments that were merged from just these.

    Of several that begin alike the longest is taken. Where none fits, the chain's own segment stays.
    """
    originals: list[str] = []
    starts: dict[int, str] = {}
    for checksum in chain:
        starts[len(originals)] = checksum
        originals += installed[checksum].originals if checksum in installed else (checksum,)
    merged_from = _by_newest(installed.values())
    opens: list[str] = []
    place = 0
    while place < len(originals):
        for candidate in merged_from.get(originals[place], ()):
            stop = place + len(candidate.merged)
            # A run must end where a segment of the chain ends, or the rest of that one would be lost.
            if tuple(originals[place:stop]) == candidate.merged and (stop in starts or stop == len(originals)):
                opens.append(candidate.checksum)
                place = stop
                break
        else:
            checksum = starts[place]
            opens.append(checksum)
            place += len(installed[checksum].originals) if checksum in installed else 1
    return tuple(opens)


def _by_newest(installed: Iterable[SegmentDescription]) -> dict[str, list[SegmentDescription]]:
    groups: defaultdict[str, list[SegmentDescription]] = defaultdict(list)
    for description in installed:
        if description.merged:
            groups[description.merged[0]].append(description)
    return {newest: sorted(group, key=lambda d: -len(d.merged)) for newest, group in groups.items()}
