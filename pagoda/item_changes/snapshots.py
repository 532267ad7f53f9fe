"""What the first records of the item log say together, so that they need not be kept for ever.

`compacted/<number>-<page>.json` hold it in pages, `compacted/<number>.json` says how many, and is written last: with it
the snapshot is there, whole. All are written if absent and follow from the records alone, so any number of workers may
make one at once, and be killed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from pagoda.append_log.records import record_name
from pagoda.append_log.signing import open_signed
from pagoda.errors import ConflictError, IntegrityError
from pagoda.item_changes.records import MAX_CHANGES, ItemChange, ItemRecord, parse_item_record
from pagoda.storage.copies import children

FOLDER = "compacted"
_CONTENTS = re.compile(r"(\d{8,})\.json")


class _Contents(BaseModel):
    model_config = ConfigDict(frozen=True)

    pages: int
    changes: int


class Snapshots:
    """Those of one item log."""

    def __init__(self, url: str, key: str = "") -> None:
        """Of the log at `url`, signed with `key` where there is one; nothing is read yet."""
        self._url = f"{url.rstrip('/')}/{FOLDER}"
        self._store = open_signed(self._url, "snapshots of the item log", key)

    def numbers(self) -> list[int]:
        """By the number of the last record in them, ascending."""
        return sorted(int(found[1]) for name in children(self._url) if (found := _CONTENTS.fullmatch(name)))

    def newest(self) -> int:
        """The last one's number, 0 where there is none."""
        return max(self.numbers(), default=0)

    def read(self, number: int) -> ItemRecord:
        """The snapshot as one record.

        Raises:
            IntegrityError: A part is missing or damaged.
            UnavailableError: The store does not answer.
        """
        name = record_name(number)
        try:
            contents = _Contents.model_validate_json(b"".join(self._store.read([name])))
        except ValidationError as error:
            raise IntegrityError(f"item log: {FOLDER}/{name} is damaged: {error.errors()[0]['msg']}") from error
        names = [_page(number, page) for page in range(contents.pages)]
        pages = [
            parse_item_record(content, number, f"{FOLDER}/{page}")
            for page, content in zip(names, self._store.read(names), strict=False)
        ]
        changes = tuple(change for page in pages for change in page.changes)
        if len(pages) < contents.pages or len(changes) != contents.changes:
            raise IntegrityError(f"item log: {FOLDER}/{name} lacks {contents.pages - len(pages)} of its parts")
        return pages[0].model_copy(update={"changes": changes})

    def write(self, record: ItemRecord) -> None:
        """Keep what the records up to `record.number` say."""
        pages = [record.changes[at : at + MAX_CHANGES] for at in range(0, len(record.changes) or 1, MAX_CHANGES)]
        for number, changes in enumerate(pages):
            part = record.model_copy(update={"changes": changes})
            self._put(_page(record.number, number), part.to_json())
        contents = _Contents(pages=len(pages), changes=len(record.changes))
        self._put(record_name(record.number), contents.model_dump_json().encode())

    def _put(self, name: str, content: bytes) -> None:
        with suppress(ConflictError):  # By another worker, or this one before it was killed; both made the same.
            self._store.put(name, content)


def _page(number: int, page: int) -> str:
    return f"{record_name(number).removesuffix('.json')}-{page:05}.json"


class Fold:
    """What records say of every item, together."""

    def __init__(self) -> None:
        self._last: ItemRecord | None = None
        self._features: dict[int | str, ItemChange] = {}
        self._gone: dict[int | str, ItemChange] = {}
        self._offsets: dict[str, int] = {}

    def take(self, record: ItemRecord) -> None:
        """Take in the next record."""
        self._last = record
        self._offsets.update(record.offsets)
        for change in record.changes:
            if change.features is None:
                self._gone[change.item_id] = change
            else:
                self._features[change.item_id] = change
                self._gone.pop(change.item_id, None)

    def take_all(self, records: Iterable[ItemRecord]) -> None:
        """Take in records, in order."""
        for record in records:
            self.take(record)

    def state_of(self, item_id: int | str) -> ItemChange | None:
        """What was last said of an item; None: nothing."""
        return self._gone.get(item_id) or self._features.get(item_id)

    def record(self) -> ItemRecord:
        """One record that stands for all. Of a removed item it gives the last features too, and then removes it: later
        updates go on to learn what users did with it."""
        if self._last is None:
            raise ValueError("no record was taken")
        changes = (*self._features.values(), *self._gone.values())
        return ItemRecord(number=self._last.number, at=self._last.at, token="", changes=changes, offsets=self._offsets)
