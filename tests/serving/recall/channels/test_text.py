"""Text beside the vector: one list of two, by places or by scores, and one of them where the other is missing."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import orjson
import pytest

from pagoda.errors import RequestError, UnavailableError
from serving.recall.api import RecalledItem, RecallInstance, parse_v2
from serving.recall.channels.text import TextChannel
from serving.recall.generations.generation import LiveGeneration
from serving.recall.request.answer import answer_by
from serving.recall.request.parts import Parts
from tests.serving.fakes import FakeIndex, FakeText, manifest
from tests.serving.recall.setting import Setting, ask, begun
from tests.serving.worlds import make_spec

TITLED = make_spec().model_copy(update={"title": "title"})
LIVE = LiveGeneration(manifest(3, TITLED).model_copy(update={"texts": ("title",), "backend": "in_process"}))


class ScoredIndex(FakeIndex):
    """Gives items 1, 2 and 3 with these cosines."""

    async def search(self, *_: Any, **__: Any) -> list[list[RecalledItem]]:
        return [[{"item_id": item, "score": score} for item, score in ((1, 0.9), (2, 0.8), (3, 0.5))]]


def parts_of(text: FakeText | None) -> Parts:
    setting = Setting()
    setting.index.search = ScoredIndex().search  # type: ignore[method-assign]
    return replace(setting.parts, text=TextChannel(text) if text else None)


async def answered(searched: FakeText | None, **fields: Any) -> tuple[dict[Any, float], list[str]]:
    (one,) = await answer_by(LIVE, "stable", parts_of(searched), begun(LIVE, **fields))
    return {item["item_id"]: item["score"] for item in one["items"]}, one["degraded"]


async def test_places_decide_unless_the_request_says_that_scores_do() -> None:
    text = FakeText((3, 12.0), (7, 11.0), (2, 2.0))
    by_places, _ = await answered(text, text="a word")
    assert list(by_places) == [3, 2, 1, 7]
    assert by_places[3] == pytest.approx(1 / 63 + 1 / 61)
    by_scores, degraded = await answered(text, text="a word", merge="sum")
    assert by_scores == pytest.approx({3: 1.0, 1: 1.0, 7: 0.9, 2: 0.75})
    assert degraded == []


async def test_both_are_looked_through_further_than_is_asked_for_under_the_same_conditions() -> None:
    text = FakeText((2, 3.0), (9, 2.0))
    items, _ = await answered(
        text,
        text="a word",
        k=1,
        filter={"genres": "Drama"},
        exclude_seen=True,
        history=[{"item_id": 8, "timestamp": 5}],
    )
    assert list(items) == [2]
    ((collection, said, k, wanted, excluded, keys),) = text.asked
    assert (collection, said, k, excluded, keys) == ("items_3", "a word", 100, (8,), False)
    assert [(condition.field, condition.values) for condition in wanted] == [("genres", ("Drama",))]


async def test_without_text_nothing_is_asked_of_it() -> None:
    text = FakeText((7, 1.0))
    assert await answered(text) == ({1: 0.9, 2: 0.8, 3: 0.5}, [])
    assert text.asked == []


@pytest.mark.parametrize("there", [True, False])
async def test_where_the_words_cannot_be_searched_the_vector_answers_and_the_answer_says_so(there: bool) -> None:
    text = FakeText()
    text.error = UnavailableError("the index of words is damaged")
    assert await answered(text if there else None, text="a word", k=2) == ({1: 0.9, 2: 0.8}, ["text_missing"])


async def test_words_that_nothing_has_leave_the_answer_to_the_vector() -> None:
    items, degraded = await answered(FakeText(), text="?!")
    assert (list(items), degraded) == ([1, 2, 3], [])


async def test_a_generation_whose_words_cannot_be_opened_serves_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text, told = FakeText(), "g3 answers without text: gone"
    text.error = UnavailableError("gone")
    channel = TextChannel(text)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await channel.warm(LIVE)
    assert [record.getMessage() for record in caplog.records] == [told]
    text.error = None
    for _ in range(2):
        await channel.warm(LIVE)
    await channel.warm(LiveGeneration(manifest(4)))
    assert len(text.asked) == 3, "once it is open, or where there are no words, nothing is asked"


@pytest.mark.parametrize(
    ("live", "fields", "why"),
    [
        (
            LiveGeneration(manifest(3, TITLED)),
            {"text": "a"},
            r"in Milvus and was built without words; .* where Milvus is 2.5 or later .* `pagoda index rebuild",
        ),
        (
            LiveGeneration(manifest(3, TITLED).model_copy(update={"backend": "in_process"})),
            {"text": "a"},
            "built without words; with index.text: true .* the next full update",
        ),
        (
            LiveGeneration(manifest(3, TITLED).model_copy(update={"backend": "elasticsearch"})),
            {"text": "a"},
            "in Elasticsearch.* `pagoda index rebuild",
        ),
        (LiveGeneration(manifest(3)), {"text": "a"}, "neither a title nor text features"),
        (LIVE, {"merge": "sum"}, "merge: .* there is no text"),
    ],
)
def test_what_cannot_be_searched_by_words_says_what_to_do(live: LiveGeneration, fields: Any, why: str) -> None:
    with pytest.raises(RequestError, match=rf"instances\.0\..*{why}"):
        begun(live, **fields)


def test_a_request_says_it_in_either_form() -> None:
    def column(name: str, datatype: str, value: Any) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [1], "data": [value]}

    inputs = [column("user_id", "INT64", 5), column("text", "BYTES", "red dress"), column("merge", "BYTES", "sum")]
    (instance,), _ = parse_v2(orjson.dumps({"inputs": inputs}))
    assert instance == ask(text="red dress", merge="sum")[0]
    assert RecallInstance.model_json_schema()["properties"]["text"]["anyOf"][0]["maxLength"] == 1000
