"""Lists of items by situation: files of a version, and the candidates that they give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from pagoda.channels.base import Allowed, ChannelTable, Known, Ranked
from pagoda.channels.item_lists import ItemLists, first_allowed
from pagoda.channels.situation import Situation
from pagoda.errors import IntegrityError

_SITUATION = "situation.json"


class SituationLists(ChannelTable):
    """The lists of one version."""

    def __init__(self, lists: ItemLists, situation: Situation | None) -> None:
        """Answer from `lists`; from the one for all alone, if `situation` is None."""
        self._lists, self._situation = lists, situation
        self.items = lists.items

    @classmethod
    def write(cls, folder: Path, lists: Mapping[str | None, Ranked], situation: Situation | None) -> None:
        """Write `lists` by the words of `situation` into `folder`, which has none."""
        if situation is not None:
            (folder / _SITUATION).write_bytes(orjson.dumps({"default": situation.default}))
        ItemLists.write(folder, lists)

    @classmethod
    def open(cls, folder: Path, by: str | None) -> SituationLists:
        """Map what `write` wrote, for the situation that `by` names.

        Raises:
            IntegrityError: A file is missing or damaged.
        """
        situation = None if by is None else Situation(by, _read_default(folder / _SITUATION))
        return cls(ItemLists.open(folder), situation)

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """See `ChannelTable.candidates`: the list of the request's situation, or where it has none, that for all."""
        word = None if self._situation is None else self._situation.word(known)
        return first_allowed(self._lists.of(word), allowed, k)


def _read_default(path: Path) -> str:
    try:
        default: str = orjson.loads(path.read_bytes())["default"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
    return default
