"""Where recall's searches run: a quick one where it is asked, all others in threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pagoda.index.base import Hits
from pagoda.index.in_process.search import FolderSearch
from pagoda.item_vectors.filter import EVERYTHING


class Recorded:
    """Stands for collections in memory: searches take as long as it is told, and it knows which thread they ran in."""

    def __init__(self) -> None:
        self.seconds, self.is_known = 0.0, True
        self.threads: list[str] = []

    def known(self, _: str) -> bool:
        return self.is_known

    def close(self) -> None:
        pass

    def search(self, _: str, vectors: np.ndarray, *__: object, **___: object) -> list[Hits]:
        self.threads.append("here" if threading.current_thread() is threading.main_thread() else "thread")
        end = time.thread_time() + self.seconds * len(vectors)
        while time.thread_time() < end:
            pass
        return [Hits(np.array([int(vector[0])]), np.array([1.0], np.float32), None) for vector in vectors]


async def test_one_vector_is_searched_where_it_is_asked_when_the_last_was_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, recorded = FolderSearch(tmp_path), Recorded()
    monkeypatch.setattr(search, "_collections", recorded)

    async def ask(*vectors: float, k: int = 1) -> list[int | str]:
        asked = [[one] for one in vectors]
        found = await search.search("items", asked, k, wanted=EVERYTHING, excluded=(), keys=False)
        return [item["item_id"] for (item,) in found]

    assert [await ask(1), await ask(2)] == [[1], [2]]
    assert recorded.threads == ["thread", "here"]  # Of the first one nothing was known.
    assert await ask(*range(5)) == [0, 1, 2, 3, 4]
    recorded.seconds = 0.003
    await ask(1)
    await ask(1)
    assert recorded.threads[-2:] == ["here", "thread"]
    recorded.seconds = 0.0
    await ask(1)
    recorded.is_known = False  # It is time to look at the files.
    await ask(1)
    assert recorded.threads[-2:] == ["thread", "thread"]
    await search.close()
