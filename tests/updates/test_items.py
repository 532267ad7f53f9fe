"""What the item log says while a new collection is brought in line with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.log import ItemLog, open_item_log
from pagoda.item_changes.records import ItemChange
from pagoda.settings import Settings
from pagoda.updates import item_replay as subject


class Collection:
    """What is in it; the worker removes item 1 while older changes are on their way."""

    def __init__(self, log: ItemLog) -> None:
        self.items: set[int | str] = set()
        self._log = log

    def apply(self, _: Any, changes: Sequence[ItemChange], _head: int) -> None:
        """As `ItemReplay.apply`, with the worker in between."""
        if not list(self._log.records(1)):
            self._log.append([ItemChange(item_id=1, features=None)])
            self.items.discard(1)
        for change in changes:
            (self.items.discard if change.features is None else self.items.add)(change.item_id)

    def close(self) -> None:
        """As `ItemReplay.close`."""


def test_what_is_removed_during_a_replay_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    log = open_item_log(settings)
    log.append([ItemChange(item_id=item, features={}) for item in (1, 2)])
    collection = Collection(log)
    monkeypatch.setattr(subject, "ItemReplay", lambda *_: collection)
    manifest: Any = None
    assert subject.replay(settings, ReleaseLog(settings.log_url), manifest) == 2
    assert collection.items == {2}
