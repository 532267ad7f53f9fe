"""Item changes over HTTP and by `pagoda items`: checked before they enter the log, all or none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pagoda.cli.data.items import app as cli
from pagoda.data.ids import hash_ids
from pagoda.data.spec import Dense, FeatureSpec, MultiValued, Numeric
from pagoda.errors import PagodaError
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.changes import items_table, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.removals import RemovalLimit, TooManyRemovalsError
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from serving.events.item_changes import PATH, ItemIntake, items_router
from serving.http.connections import Limits
from serving.recall.app import build_items_app
from serving.recall.server import RecallServer
from tests.registry.worlds import World
from tests.serving.callers import HEADERS, tokens
from tests.serving.recall.setting import Setting
from tests.serving.recall.test_app import PREDICT

SPEC = FeatureSpec(
    title="title",
    features=(
        MultiValued(name="genres", tower="item", filterable=True),
        Numeric(name="year", tower="item", edges=(2000,)),
        Dense(name="picture", tower="item", length=2),
    ),
)


class Specs:
    """The declaration in force."""

    async def spec(self) -> FeatureSpec:
        return SPEC


@pytest.fixture
def log(tmp_path: Path) -> ItemLog:
    return ItemLog(str(tmp_path / "log" / "items"))


@pytest.fixture
async def client(log: ItemLog) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(log) as made:
        yield made


def opened(log: ItemLog) -> httpx.AsyncClient:
    made = build_items_app([items_router(ItemIntake(log, Specs()))], tokens())
    return httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://items", headers=HEADERS)


async def test_changes_enter_the_log_in_one_record(client: httpx.AsyncClient, log: ItemLog) -> None:
    item = {"item_id": 7, "genres": ["a", "b"], "year": 1999, "picture": [0, 1], "title": "Seven"}
    answer = await client.post(PATH, json={"upsert": [item, {"item_id": 8}], "remove": [9]})
    assert (answer.status_code, answer.json()) == (200, {"record": 1, "changes": 3})
    (record,) = log.records()
    assert [(change.item_id, change.features is None) for change in record.changes] == [
        (7, False),
        (8, False),
        (9, True),
    ]
    seven, eight = items_table(SPEC, [change for change in record.changes if change.features is not None]).to_pylist()
    assert seven == {**item, "year": 1999.0, "picture": [0.0, 1.0]}
    assert eight == {"item_id": 8, "genres": None, "year": None, "picture": None, "title": None}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "body: name at least one item"),
        ({"upsert": [{"year": 1}]}, "upsert.0.item_id: must be an integer"),
        ({"upsert": [{"item_id": "x"}]}, "upsert.0.item_id: must be an integer"),
        ({"upsert": [{"item_id": 1}, {"item_id": 2, "colour": 1}]}, "upsert.1.colour: unknown field"),
        ({"upsert": [{"item_id": 1, "year": "old"}]}, "upsert.0.year: feature 'year'"),
        ({"upsert": [{"item_id": 1, "picture": [1]}]}, "upsert.0.picture: expected a list of 2"),
        ({"upsert": [{"item_id": 1, "genres": ["x" * 2000]}]}, "upsert.0: item 1, column 'genres'"),
        ({"upsert": [{"item_id": 1, "title": 5}]}, "upsert.0.title: must be a string"),
        ({"remove": ["x"]}, "remove.0.item_id: must be an integer"),
        ({"remove": [True]}, "remove.0: must be an integer of 64 bits or a string"),
        ({"delete": [1]}, "delete: unknown field"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_taken(
    client: httpx.AsyncClient, log: ItemLog, body: dict[str, Any], named: str
) -> None:
    answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["error"][: len(named)]) == (400, named)
    assert list(log.records()) == []


async def test_the_catalogue_cannot_be_removed_by_requests_and_that_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = ItemLog(str(tmp_path), RemovalLimit(0.1, timedelta(days=1), lambda: 1682))
    async with opened(log) as client:
        whole = await client.post(PATH, json={"remove": list(range(1, 1683))})
        assert (whole.status_code, whole.json()["error"][:21]) == (400, "remove: 1,682 items, ")
        parts = [await client.post(PATH, json={"remove": list(range(n, n + 20))}) for n in range(1, 1683, 20)]
    assert sum(len(record.changes) for record in log.records()) == 160
    assert [part.status_code for part in parts[:9]] == [200] * 8 + [400]
    assert caplog.text.count("item changes are refused") == 2


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A server sets handlers for good."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
async def test_recalls_listener_takes_no_item_changes_and_the_items_listener_no_questions(log: ItemLog) -> None:
    setting = Setting()
    await setting.generations.refresh()
    server = RecallServer(setting.recall, setting.generations, tokens())
    items = build_items_app([items_router(ItemIntake(log, Specs()))], tokens())
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as own:
        serving = asyncio.create_task(server.serve(listener, 0, Limits(100, 100), {own: items}))
        recall_url, items_url = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (listener, own))
        async with httpx.AsyncClient(headers=HEADERS) as client:
            change, question = {"remove": [3]}, {"instances": [{"user_id": 5, "k": 2}]}
            pretends = {"Host": items_url.removeprefix("http://")}
            refused = [
                await client.post(recall_url + PATH, json=change, headers=pretends),
                await client.post(f"{recall_url}/{items_url}{PATH}", json=change),
                await client.post(items_url + PREDICT, json=question),
            ]
            assert [one.status_code for one in refused] == [404] * 3
            assert list(log.records()) == []
            assert (await client.post(items_url + PATH, json=change)).json() == {"record": 1, "changes": 1}
            assert (await client.post(recall_url + PREDICT, json=question)).status_code == 200
        os.kill(os.getpid(), signal.SIGTERM)
        await serving


def test_strings_are_hashed_and_kept() -> None:
    spec = FeatureSpec(id_type="string")
    rows = items_table(spec, [upserted(spec, {"item_id": name}, "item") for name in ("b", "a")]).to_pylist()
    hashes = {name: int(hash_ids([name])[0]) for name in ("a", "b")}
    assert rows == [
        {"item_id": number, "item_key": name} for name, number in sorted(hashes.items(), key=lambda pair: pair[1])
    ]


def test_the_command_line(tmp_path: Path) -> None:
    log, home = ReleaseLog(str(tmp_path / "log")), str(tmp_path)
    world = World(tmp_path / "made")
    world.serve_chain(FolderRegistry(tmp_path / "versions", log), log, 0)
    publish(log, "g1", "stable")
    pq.write_table(pa.table({"item_id": [1, 2]}), tmp_path / "items.parquet")
    (tmp_path / "items.jsonl").write_text('{"item_id": 3}\n{"item_id": 4}\n')
    run = CliRunner()

    def invoke(*words: str) -> Any:
        return json.loads(run.invoke(cli, [*words, "--home", home, "-o", "json"], catch_exceptions=False).stdout)

    assert invoke("upsert", str(tmp_path / "items.parquet")) == {"record": 1, "changes": 2}
    assert invoke("upsert", str(tmp_path / "items.jsonl")) == {"record": 2, "changes": 2}
    assert invoke("upsert", '{"item_id": 5}') == {"record": 3, "changes": 1}
    refused = run.invoke(cli, ["remove", "1", "5", "--home", home]).exception
    assert isinstance(refused, TooManyRemovalsError)
    assert invoke("remove", "1", "5", "--force") == {"record": 4, "changes": 2}
    ids = [change.item_id for record in ItemLog(f"{tmp_path}/log/items").records() for change in record.changes]
    assert ids == [1, 2, 3, 4, 5, 1, 5]
    assert invoke("undo", "4") == {"record": 5, "restored": 2, "left": []}
    assert [(row["upserted"], row["removed"], row["undoes"]) for row in invoke("log", "-n", "2")] == [
        (0, 2, None),
        (2, 0, 4),
    ]
    for words in (["remove", "x"], ["upsert", str(tmp_path / "none.json")], ["upsert", "[1]"]):
        assert isinstance(run.invoke(cli, [*words, "--home", home]).exception, PagodaError)
