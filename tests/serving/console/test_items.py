"""The console's pages of items, users and data: what is known, and changes that bear the name of who made them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pagoda.item_changes.log import open_item_log
from pagoda.item_changes.records import ItemChange, ItemRecord
from pagoda.settings import load_settings
from serving.console import items, users
from serving.console.users import KnownUser
from serving.events.redis_stream import RedisStream
from serving.events.rules import Accepted
from tests.data.folders import write_dataset
from tests.redis_databases import database
from tests.rollout.worlds import Stage
from tests.serving.console.test_ask import PAST, Installation, installation
from tests.serving.console.test_pages import EVERYTHING, Browser

__all__ = ["installation"]
IMPORTED: dict[int, dict[str, Any]] = {7: {"item_id": 7, "title": "Alien", "year": 1979.0, "genres": ["Horror"]}}


@pytest.fixture
async def person(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """Somebody before an installation whose dataset has one item."""
    monkeypatch.setenv("PAGODA_RECALL__URL", installation.url)
    monkeypatch.setenv("PAGODA_REDIS__URL", "redis://nobody")
    monkeypatch.setattr(
        items, "imported_items", lambda _, __, ids: {id_: IMPORTED[id_] for id_ in ids if id_ in IMPORTED}
    )
    stage = Stage()
    stage.log = installation.log.as_log()  # type: ignore[assignment]
    browser = Browser(stage, installation.home, load_settings(installation.home))
    async with browser.client:
        yield await browser.come_in()


def _records(installation: Installation) -> list[ItemRecord]:
    return list(open_item_log(load_settings(installation.home)).records())


async def test_an_item_is_edited_removed_and_given_back_by_somebody(
    person: Browser, installation: Installation
) -> None:
    page = await person.get("/items?item=7")
    assert "Alien" in page and "Horror" in page and "as it was imported" in page and "Film 2, whose title" in page
    text = json.loads(await person.get("/api/items?item=7"))["text"]
    await person.post("/items/edit", item="7", said=json.dumps({**json.loads(text), "year": 1980}))
    await person.post("/items/remove", item="7")
    assert "removed</span>" in await person.get("/items?item=7")
    await person.post("/items/undo", item="7", record="2")
    first, second, third = _records(installation)
    assert {one.by for one in (first, second, third)} == {"ann"} and third.undoes == 2
    assert first.changes[0].features == {"title": "Alien", "year": 1980.0, "genres": ["Horror"]}
    assert second.changes[0].features is None and third.changes == first.changes
    page = await person.get("/items?item=7")
    assert "takes back record 2" in page and "removed</span>" not in page and page.count("<td>ann</td>") == 3


async def test_an_undo_that_is_of_other_items_too_says_so(person: Browser, installation: Installation) -> None:
    changes = [ItemChange(item_id=one, features=None) for one in (6, 7, 8)]
    open_item_log(load_settings(installation.home)).append(changes)
    page = await person.get("/items?item=7")
    assert "removed, with 2 others" in page and "undo all" in page and "not said" in page


async def test_what_is_wrong_is_said_and_changes_nothing(person: Browser, installation: Installation) -> None:
    assert "knows it" in await person.get("/items?item=8", 409)
    assert "are integers" in await person.get("/items?item=Alien", 409)
    assert "is not JSON" in await person.post("/items/edit", 409, item="7", said="year: 1980")
    assert "colour" in await person.post("/items/edit", 409, item="7", said='{"colour": "red"}')
    assert "edited or removed" in await person.post("/items/sell", 409, item="7")
    await person.post("/items/undo", 409, item="7", record="1")
    assert not _records(installation)


async def test_vectors_are_not_typed_and_stay(person: Browser, installation: Installation, monkeypatch: Any) -> None:
    picture = [0.5, 0.25]
    monkeypatch.setitem(IMPORTED, 7, {**IMPORTED[7], "picture": picture})
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(
        items, "upserted", lambda _, item, __: told.append(item) or items.removed(_, item["item_id"], "")
    )
    shown = json.loads(await person.get("/api/items?item=7"))
    assert shown["vectors"] == ["picture"] and "picture" not in shown["text"]
    await person.post("/items/edit", item="7", said='{"title": "Aliens"}')
    assert told == [{"item_id": 7, "title": "Aliens", "picture": picture}]


async def test_who_may_not_change_items_sees_them_without_buttons(person: Browser) -> None:
    await person.come_in(EVERYTHING - {"ask"})
    assert "role `ask`" in await person.get("/items?item=7", 403)
    await person.come_in(EVERYTHING - {"items"})
    assert "/items/edit" not in await person.get("/items?item=7")
    assert "role `items`" in await person.post("/items/remove", 403, item="7")


async def test_a_user_is_shown_with_what_they_did(person: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownUser({"gender": "<b>M</b>"}, [{"item_id": 7, "timestamp": PAST, "event": "click"}], 12)
    monkeypatch.setattr(users, "known_user", lambda *_: known)
    page = await person.get("/users?user=5")
    assert "Alien [red]" in page and "click" in page and "12 items were had" in page and "<b>M" not in page
    assert "integer" in await person.get("/users?user=ann")
    monkeypatch.setattr(users, "known_user", lambda *_: KnownUser({}, [], 0))
    assert "answered as a newcomer" in await person.get("/users?user=6")
    await person.come_in(EVERYTHING - {"users"})
    assert "role `users`" in await person.get("/users?user=5", 403)


async def test_data_is_shown_by_day_and_what_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGODA_REDIS__URL", "redis://127.0.0.1:1/0")
    person = Browser(Stage(), tmp_path, load_settings(tmp_path))
    async with person.client:
        await person.come_in()
        shown = json.loads(await person.get("/api/data"))
        assert not shown["days"] and shown["trouble"] and "does not answer" in shown["unseen"]
        assert "none is named" in await person.get("/data")
        write_dataset(tmp_path / "dataset")
        shown = json.loads(await person.get("/api/data"))
        assert shown["days"] == [{"day": "2024-05-01", "rows": 2, "part": 1.0}] and not shown["trouble"]
        assert shown["newest"].startswith("2024-05-01T11:00:00") and "pagoda data check" in await person.get("/data")


@pytest.mark.integration
async def test_events_are_shown_as_they_came(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGODA_REDIS__URL", url := database(redis_url, 13))
    stream, person = RedisStream(url, length=100), Browser(Stage(), tmp_path, load_settings(tmp_path))
    async with person.client:
        await person.come_in()
        assert "All that came is in the data" in await person.get("/events")
        for number, user in enumerate((5, "<i>6</i>")):
            row = {"event_id": f"e{number}", "user_id": user, "item_id": 7, "event": "click", "timestamp": PAST}
            await stream.append([Accepted(row, enters=True, positive=True)])
        shown = json.loads(await person.get("/api/events"))
        assert shown["waiting"] == 2 and [one["user_id"] for one in shown["events"]] == ["<i>6</i>", 5]
        page = await person.get("/events")
        assert "<i>6" not in page and "/items?item=7" in page and "1998-04-22 23:10" in page
        assert json.loads(await person.get("/api/data"))["waiting"] == 2
        await person.come_in(EVERYTHING - {"users"})
        assert "role `users`" in await person.get("/events", 403)
    await stream.close()
