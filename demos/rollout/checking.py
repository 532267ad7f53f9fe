"""Whether each answer is wholly of the generation that it names.

The user's vector is computed again, from the files of the version and from what the tower was asked; its products with
the item vectors that the named generation's collection was built from must be the scores of the answer. Answers in
which something stood in for a server that was late say so; they are counted, not checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from demos.rollout.stage import Stage
from pagoda.data.history.histories import Histories
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.generations.manifest import Manifest
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.load_test.outcomes import OK
from pagoda.simulation.traffic import Answered
from pagoda.storage.copies import local_path
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

_TOLERANCE = 2e-3
"""Of a score. Between generations scores differ by some hundredths."""


@dataclass(frozen=True)
class CheckedAnswers:
    """What the checks found."""

    answers: int
    mixed: int
    """Not what the generation that they name would answer."""
    told_apart: int
    """Would have been found out, had another generation answered in part."""


class Reference:
    """One generation, opened from its files."""

    def __init__(self, stage: Stage, manifest: Manifest) -> None:
        self._stage, self._manifest = stage, manifest

    def vectors(self, asked: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Vectors float32 [n, dim] of what the tower was asked for."""
        users = np.array([one["user_id"] for one in asked], np.int64)
        moments = np.array([one["timestamp"] for one in asked], np.int64)
        return self._opened.user_vectors(users, moments, _histories(asked))

    def scores(self, vector: np.ndarray, items: Sequence[int]) -> np.ndarray:
        """Scores float32 [k] of items; NaN for those it does not have."""
        ids, vectors = self._items
        places = np.minimum(np.searchsorted(ids, items), len(ids) - 1)
        found: np.ndarray = np.where(ids[places] == items, vectors[places] @ vector, np.nan)
        return found

    @cached_property
    def _items(self) -> tuple[np.ndarray, np.ndarray]:
        path = local_path(self._manifest.item_vectors.uri)
        blocks = list(ItemVectors(path or Path(), self._manifest.spec).blocks())
        return np.concatenate([ids for ids, _ in blocks]), np.concatenate([vectors for _, vectors in blocks])

    @cached_property
    def _opened(self) -> OpenVersion:
        record = self._stage.log.state().version(self._manifest.full_version)
        files = FullVersionFiles(local_path(record.uri) or Path(), Path())
        segments = [Segment.open(local_path(part.uri) or Path()) for part in self._manifest.segments]
        return OpenVersion(files, self._stage.dataset).under(Overlay(files.users, segments))


def check(stage: Stage, answers: Iterable[Answered], asked: Path, begin: int, named: Collection[str]) -> CheckedAnswers:
    """Check answers against every generation that was named meanwhile.

    Args:
        stage: Where they were given.
        answers: All of a scenario.
        asked: What the tower was asked.
        begin: Where the scenario begins in that file, in bytes.
        named: Generations that an answer might be of, even if none says so.
    """
    given = [one for one in answers if one.status == OK and not one.degraded]
    state = stage.log.state()
    references = {id_: Reference(stage, state.generations[id_]) for id_ in {*named, *(one.generation for one in given)}}
    told = _told(asked, begin)
    mixed = apart = 0
    for id_, reference in references.items():
        mine = [one for one in given if one.generation == id_]
        known = [told.get((one.user, one.time_us, id_)) for one in mine]
        mixed += sum(one is None for one in known)
        pairs = [(one, what) for one, what in zip(mine, known, strict=True) if what is not None]
        vectors = reference.vectors([what for _, what in pairs])
        for (one, _), vector in zip(pairs, vectors, strict=True):
            mixed += not _is(reference, vector, one)
            others = (other for name, other in references.items() if name != id_)
            apart += all(not _is(other, vector, one) for other in others)
    return CheckedAnswers(len(given), mixed, apart)


def _is(reference: Reference, vector: np.ndarray, answer: Answered) -> bool:
    scores = reference.scores(vector, answer.items)
    given = np.array(answer.scores)  # Of what other channels found there is none to compare.
    return bool(np.nanmax(np.abs(scores - given), initial=0) < _TOLERANCE and not np.isnan(scores).any())


def _told(path: Path, begin: int) -> dict[tuple[int, int, str], Mapping[str, Any]]:
    """What the tower was asked, by user, moment and generation."""
    found = {}
    with path.open("rb") as lines:
        lines.seek(begin)
        for line in lines:
            body = orjson.loads(line)
            for instance in body["instances"]:
                if "timestamp" in instance:
                    found[instance["user_id"], instance["timestamp"], body["generation"]] = instance
    return found


def _histories(asked: Sequence[Mapping[str, Any]]) -> Histories:
    past = [[event for event in one.get("history") or [] if event["timestamp"] < one["timestamp"]] for one in asked]
    lengths = np.array([len(events) for events in past], np.int64)
    ends = np.cumsum(lengths)
    items = np.array([event["item_id"] for events in past for event in events], np.int64)
    times = np.array([event["timestamp"] for events in past for event in events], np.int64)
    return Histories(int(lengths.max(initial=0)), items, times, ends - lengths, ends)
