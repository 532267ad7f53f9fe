"""The channel `editorial`: the items that people chose, in the order in which they wrote them down."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from pagoda.channels.base import Int64Array, Ranked, TableSource
from pagoda.channels.situation import HOUR, HOURS, situation_of, words_of
from pagoda.channels.situation_lists import SituationLists
from pagoda.config.channels import Editorial, WrittenList
from pagoda.data.history.id_slots import MISSING, Slots
from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError

_NAMED = 10
"""Items or lists that a warning names."""
_log = logging.getLogger(__name__)


class EditorialKind:
    """Writes and opens the tables of `editorial`."""

    def refuse(self, declared: Editorial, spec: FeatureSpec) -> None:
        """See `ChannelKind.refuse`. Whether there are such items is not asked: a catalogue changes, and an update must
        not fail by one that went."""
        situation_of(declared, spec)
        wanted = str if spec.id_type == "string" else int
        for word, items in declared.written().items():
            if other := [item for item in items if not isinstance(item, wanted)]:
                raise ConfigError(
                    f"channels: editorial: {_name(word)} names {other[0]!r}, and items of this dataset are "
                    f"{'strings: put it in quotes' if wanted is str else 'integers: write it without quotes'}"
                )
        if declared.by == HOUR and (unknown := declared.lists.keys() - HOURS):
            raise ConfigError(f"channels: editorial: {min(unknown)!r} in lists is no hour of the day, 0 to 23")

    def write(self, folder: Path, declared: Editorial, source: TableSource) -> None:
        """See `ChannelKind.write`. The n-th item of a list has the score 1 / n."""
        known, lists = Slots(source.items), dict[str | None, Ranked]()
        for word, items in declared.written().items():
            ids = _ids(items, source.dataset.spec)
            there = known.find(ids) != MISSING
            if not there.all():
                gone = [item for item, kept in zip(items, there.tolist(), strict=True) if not kept]
                _warn(word, gone, len(items))
            if there.any():
                lists[word] = Ranked(ids[there], (1 / np.arange(1, there.sum() + 1)).astype(np.float32))
        if (situation := situation_of(declared, source.dataset.spec)) is not None:
            _warn_of_words(declared, words_of(situation, source))
        SituationLists.write(folder, lists, situation)

    def open(self, folder: Path, declared: Editorial) -> SituationLists:
        """See `ChannelKind.open`."""
        return SituationLists.open(folder, declared.by)


def _ids(items: WrittenList, spec: FeatureSpec) -> Int64Array:
    return np.asarray(hash_ids(list(map(str, items))) if spec.id_type == "string" else items, np.int64)


def _warn(word: str | None, gone: list[int | str], of: int) -> None:
    _log.warning(
        "channels: editorial: %d of the %d in %s are not in the dataset and are left out: %s",
        len(gone),
        of,
        _name(word),
        _first(list(map(str, gone))),
    )


def _warn_of_words(declared: Editorial, words: frozenset[str]) -> None:
    """Say which lists nobody gets. They are written: who has such a word may come, and a request may name it."""
    unknown = [word for word in declared.lists if word not in words]
    if unknown:
        _log.warning(
            "channels: editorial: nobody has the %s of %d of the %d lists so far, so nobody gets them; correct what is "
            "misspelt: %s",
            declared.by,
            len(unknown),
            len(declared.lists),
            # Of the named ones alone: to look for one among 20,000 words takes a tenth of a second.
            _first([_with_nearest(word, words) for word in unknown[:_NAMED]] + unknown[_NAMED:]),
        )


def _with_nearest(word: str, words: frozenset[str]) -> str:
    nearest = get_close_matches(word, sorted(words), 1)
    return f"{_name(word)} (is {nearest[0]} meant?)" if nearest else _name(word)


def _first(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _name(word: str | None) -> str:
    return "items" if word is None else f"lists.{word}"
