"""Fields of items in answers: as exported, as changed since, and what is said where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pyarrow as pa
import pytest

from pagoda.data.ids import hash_ids
from pagoda.errors import RequestError
from pagoda.generations.arms import Arms
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_vectors.item_fields import LONGEST, ItemFields, write_item_fields
from pagoda.storage.checksums import checksum_file
from serving.recall.api import parse_v1
from serving.recall.items import item_values
from serving.recall.items.item_log import ItemLogFollower
from serving.recall.items.item_values import ItemValues
from serving.recall.request.service import Recall
from serving.recall.request.warm_up import warm_again
from tests.serving.fakes import manifest
from tests.serving.recall.setting import CANARY_SECONDS, Setting, ask
from tests.serving.worlds import make_spec

SPEC = make_spec("string").model_copy(update={"title": "title"})
ITEM = "items_3/3"
"""What the stand-in for the index gives by generation g3."""


class Telling(Setting):
    """A recall service over stand-ins, whose generation g3 has fields of its items, and g4 none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(SPEC)
        self.item_log = ItemLog(str(folder / "items"))
        self.follower = ItemLogFollower(self.item_log)
        self.parts = replace(self.parts, item_values=ItemValues(self.follower.changed))
        self.recall = Recall(self.parts, self.generations, self.ledger, canary_seconds=CANARY_SECONDS)
        self.path = folder / "fields.arrow"
        row = {"item_id": hash_ids([ITEM]), "title": ["Alien"], "genres": [["Horror"]], "year": [1979.0]}
        write_item_fields(self.path, SPEC, pa.table(row))
        self.offer(f"file://{self.path}", checksum_file(self.path))

    def offer(self, uri: str, checksum: str) -> None:
        """Let g3 be made of this file."""
        file = Artifact(uri=uri, checksum=checksum)
        self.log.manifests[0] = manifest(3, SPEC).model_copy(update={"item_fields": (file,)})

    def change(self, **features: Any) -> None:
        """The item log says what the item is now, and recall has read it."""
        self.item_log.append([ItemChange(item_id=ITEM, features=features)])
        self.follower.read()

    async def told(self, *fields: str) -> Any:
        """The first item of an answer in which these are asked for."""
        (answer,) = await self.recall.answer(ask(user_id="ann", fields=list(fields)))
        return answer["items"][0]


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    """Nothing serves yet."""
    return Telling(tmp_path)


async def test_what_was_asked_stands_beside_each_item_and_nothing_else(telling: Telling) -> None:
    await telling.generations.refresh()
    assert await telling.told("title", "year") == {
        "item_id": ITEM,
        "score": 0.5,
        "fields": {"title": "Alien", "year": 1979.0},
    }
    assert (await telling.told("genres"))["fields"] == {"genres": ["Horror"]}
    assert await telling.told() == {"item_id": ITEM, "score": 0.5}


async def test_an_answer_says_no_more_than_others_can_wait_for(telling: Telling) -> None:
    await telling.generations.refresh()
    with pytest.raises(RequestError, match=r"fields: at most 20,000 values .*got 30,000"):
        await telling.recall.answer([*ask(k=1000, fields=["title", "year", "genres"])] * 10)
    with pytest.raises(RequestError, match=r"fields: .*each one once"):
        parse_v1(orjson.dumps({"instances": [{"user_id": "ann", "fields": ["title", "title"]}]}))
    row = {"item_id": hash_ids([ITEM]), "title": ["A" * 5000], "genres": [[]], "year": [1.0]}
    write_item_fields(telling.path, SPEC, pa.table(row))
    told = ItemFields([telling.path]).read(hash_ids([ITEM]), ["title"])
    assert len(told[0]["title"]) == LONGEST


async def test_what_was_changed_since_the_export_stands_before_it(telling: Telling) -> None:
    await telling.generations.refresh()
    telling.change(title="Aliens", genres=["Action"])
    assert (await telling.told("title", "year"))["fields"] == {"title": "Aliens", "year": None}
    telling.change(title="A" * 5000)
    assert len((await telling.told("title"))["fields"]["title"]) == LONGEST
    telling.change()
    assert (await telling.told("title"))["fields"] == {"title": None}


def test_of_many_changed_items_those_changed_last_are_kept_without_their_vectors(tmp_path: Path) -> None:
    log = ItemLog(str(tmp_path))
    for item in (1, 2, 1, 3):
        log.append([ItemChange(item_id=item, features={"title": f"Film {item}", "image": [0.5, 1.0]})])
    follower = ItemLogFollower(log, most_bytes=500)
    follower.read()
    assert follower.changed == {1: b'{"title":"Film 1"}', 3: b'{"title":"Film 3"}'}


def test_changed_items_take_no_more_memory_however_much_is_said_of_each(tmp_path: Path) -> None:
    log = ItemLog(str(tmp_path))
    for item in range(20):
        log.append([ItemChange(item_id=item, features={"title": "x" * 100_000, "genres": ["y" * 10_000] * (item % 3)})])
    follower = ItemLogFollower(log, most_bytes=30_000)
    follower.read()
    assert sum(map(len, follower.changed.values())) <= 30_000
    assert list(follower.changed) == [18, 19]
    log.append([ItemChange(item_id=19, features={"title": "x"}), ItemChange(item_id=7, features={})])
    follower.read()
    assert list(follower.changed) == [18, 19, 7], "what a change replaces makes room"


async def test_a_generation_without_fields_answers_and_says_so_and_is_not_blamed(telling: Telling) -> None:
    telling.log.arms = Arms(stable="g4")
    await telling.generations.refresh()
    plain, asked = await telling.recall.answer([*ask(user_id="ann"), *ask(user_id="ann", fields=["title"])])
    assert (plain["degraded"], asked["degraded"]) == ([], ["fields_missing"])
    assert asked["items"] == plain["items"]
    assert not telling.ledger.timings[-1][0].failed, "or a rollout would compare arms by it"


async def test_a_store_that_did_not_answer_at_the_warm_up_is_asked_again_until_it_does(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    telling.offer("memory://generations/later", checksum_file(telling.path))
    await telling.generations.refresh()
    for _ in range(3):
        (answer,) = await telling.recall.answer(ask(user_id="ann", fields=["title"]))
        assert answer["degraded"] == ["fields_missing"]
        await warm_again(telling.generations, telling.parts)
    assert caplog.text.count("g3 answers without fields of items: ") == 1, "and the log is not filled with it"
    fsspec.filesystem("memory").pipe("/generations/later", telling.path.read_bytes())
    await warm_again(telling.generations, telling.parts)
    assert (await telling.told("title"))["fields"] == {"title": "Alien"}


async def test_a_file_that_is_not_what_the_manifest_says_is_not_read(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    telling.offer(f"file://{telling.path}", "xxh3:0")
    await telling.generations.refresh()
    (answer,) = await telling.recall.answer(ask(user_id="ann", fields=["title"]))
    assert answer["degraded"] == ["fields_missing"]
    assert "g3 answers without fields of items: " in caplog.text and "the manifest says xxh3:0" in caplog.text
    telling.path.unlink()
    await warm_again(telling.generations, telling.parts)
    assert len(caplog.records) == 1, "nor is it copied again and again"


async def test_a_file_in_a_store_is_copied_and_leaves_no_copy_behind(
    telling: Telling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    fsspec.filesystem("memory").pipe("/generations/fields", telling.path.read_bytes())
    telling.offer("memory://generations/fields", checksum_file(telling.path))
    await telling.generations.refresh()
    assert (await telling.told("title"))["fields"] == {"title": "Alien"}
    assert not list(scratch.iterdir())


async def test_a_copy_that_would_fill_the_disk_is_not_made(
    telling: Telling, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(item_values, "MOST_BYTES", 10)
    fsspec.filesystem("memory").pipe("/generations/large", telling.path.read_bytes())
    telling.offer("memory://generations/large", checksum_file(telling.path))
    await telling.generations.refresh()
    (answer,) = await telling.recall.answer(ask(user_id="ann", fields=["title"]))
    assert answer["degraded"] == ["fields_missing"] and "10 at most are copied" in caplog.text


async def test_what_is_not_said_of_items_is_refused_with_what_is(telling: Telling) -> None:
    await telling.generations.refresh()
    with pytest.raises(RequestError) as refused:
        await telling.told("title", "price")
    assert str(refused.value) == (
        "instances.0.fields: 'price' is not said of items; this generation's dataset has genres, title, year"
    )


def test_a_manifest_without_fields_is_written_as_it_always_was() -> None:
    assert "item_fields" not in manifest(3).model_dump(mode="json")
    told = manifest(3).model_copy(update={"item_fields": (Artifact(uri="a", checksum="b"),)})
    assert Manifest.model_validate_json(told.model_dump_json()) == told
