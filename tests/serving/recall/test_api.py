"""Bodies of the recall service: v1 and v2 ask the same, and what is wrong is named."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pagoda.errors import RequestError
from serving.recall.api import Prediction, parse_v1, parse_v2, read_v1, render_v1, render_v2, write_v1


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def test_v1_and_v2_ask_the_same() -> None:
    instances = [
        {
            "user_id": 5,
            "k": 20,
            "context": {"device": "tv"},
            "history": [{"item_id": 7, "timestamp": 1_700_000_000_000_000}],
            "filter": {"genres": ["Drama"]},
            "fields": ["title"],
            "exclude_seen": True,
        },
        {"user_id": 6, "k": 3, "context": {}, "history": [], "filter": {}, "fields": [], "exclude_seen": False},
    ]
    columns = [tensor(name, "INT64", [row[name] for row in instances]) for name in ("user_id", "k")]
    columns += [
        tensor(name, "BYTES", [orjson.dumps(row[name]).decode() for row in instances])
        for name in ("context", "history", "filter", "fields")
    ]
    columns.append(tensor("exclude_seen", "BOOL", [True, False]))
    asked, request_id = parse_v2(orjson.dumps({"id": "a7", "inputs": columns}))
    assert request_id == "a7"
    assert asked == parse_v1(orjson.dumps({"instances": instances}))


def test_what_is_not_said_has_a_default() -> None:
    (asked,) = parse_v1(b'{"instances": [{"user_id": "ann"}]}')
    assert (asked.user_id, asked.k, asked.history, asked.exclude_seen, asked.timestamp) == (
        "ann",
        100,
        None,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "body: not JSON"),
        (b"null", "body: must be a JSON object"),
        (b"{}", "instances: is required"),
        (b'{"instances": []}', "instances: "),
        (b'{"instances": [{}]}', "instances.0.user_id: is required"),
        (
            b'{"instances": [{"user_id": null}]}',
            "instances.0.user_id: must be an integer of 64 bits or a string",
        ),
        (b'{"instances": [{"user_id": 1, "k": 0}]}', "instances.0.k: "),
        (b'{"instances": [{"user_id": 1, "k": 1001}]}', "instances.0.k: "),
        (b'{"instances": [{"user_id": 1, "k": "5"}]}', "instances.0.k: "),
        (b'{"instances": [{"user_id": 1, "k": 5.0}]}', "instances.0.k: "),
        (b'{"instances": [{"user_id": 1, "exclude_seen": 1}]}', "instances.0.exclude_seen: "),
        (b'{"instances": [{"user_id": 1, "filter": ["Drama"]}]}', "instances.0.filter: "),
        (b'{"instances": [{"user_id": 1}, {"user_id": 2, "topk": 5}]}', "instances.1.topk: unknown field"),
        (b'{"instances": [{"user_id": 1}], "parameters": {}}', "parameters: unknown field"),
        (b'{"instances": [{"user_id": 1, "timestamp": "soon"}]}', "instances.0.timestamp: must be ISO 8601"),
        (
            b'{"instances": [{"user_id": 1, "history": [{"item_id": 1, "timestamp": 1, "x": 1}]}]}',
            "instances.0.history",
        ),
    ],
)
def test_bad_v1_bodies_are_refused_by_the_name_of_the_field(content: bytes, named: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_v1(content)
    assert str(error.value).startswith(named)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ([tensor("k", "INT32", [5])], "inputs.0.user_id: is required"),
        ([tensor("user_id", "INT64", [1]), tensor("k", "INT32", [5000])], "inputs.0.k: "),
        ([tensor("user_id", "INT64", [1]), tensor("topk", "INT32", [5])], "inputs.0.topk: unknown field"),
        ([tensor("user_id", "INT64", [1]), tensor("user_id", "INT64", [1])], "inputs: 'user_id' is given twice"),
        ([tensor("user_id", "INT64", [1]), tensor("filter", "BYTES", ["{"])], "inputs.filter: each value must be"),
        ([tensor("user_id", "INT64", [1]), tensor("filter", "BYTES", [7])], "inputs.filter: each value must be"),
        ([tensor("user_id", "INT64", [])], "inputs: "),
        ([{**tensor("user_id", "INT64", [1]), "shape": [1, 2]}], "inputs.user_id: shape [1, 2]"),
    ],
)
def test_bad_v2_bodies_are_refused_by_the_name_of_the_field(columns: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_v2(orjson.dumps({"inputs": columns}))
    assert str(error.value).startswith(named)


def prediction(items: list[tuple[int | str, float]]) -> Prediction:
    return {
        "items": [{"item_id": item, "score": score} for item, score in items],
        "generation": "g3",
        "arm": "stable",
        "known_user": True,
        "degraded": [],
        "timing_ms": {"total": 1.0},
    }


def test_a_v2_answer_can_be_taken_apart_again() -> None:
    predictions = [prediction([("a", 0.5), ("b", 0.25)]), prediction([]), prediction([("c", 1.0)])]
    answer = orjson.loads(render_v2(predictions, "a7"))
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert answer["id"] == "a7"
    assert outputs["count"]["data"] == [2, 0, 1]
    assert (outputs["item_id"]["datatype"], outputs["item_id"]["data"]) == ("BYTES", ["a", "b", "c"])
    assert outputs["score"]["data"] == [0.5, 0.25, 1.0]
    assert all(output["shape"] == [len(output["data"])] for output in answer["outputs"])
    assert orjson.loads(render_v1(predictions)) == {"predictions": predictions}


async def test_a_long_body_is_read_piece_by_piece_and_refused_alike() -> None:
    past = [{"item_id": 1, "timestamp": 2}] * 100
    instances: list[dict[str, Any]] = [{"user_id": user, "history": past} for user in range(20)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    raw = orjson.dumps({"instances": instances})
    assert await read_v1(raw) == parse_v1(raw)
    assert turns >= 20
    waiting.cancel()
    for content, named in (
        ({"instances": [*instances[:7], {**instances[7], "k": 0}]}, "instances.7.k: "),
        ({"instances": instances[:1] * 101}, "instances: at most 100 users"),
        ({"instances": instances, "x": 1}, "x: unknown field"),
    ):
        with pytest.raises(RequestError) as error:
            await read_v1(orjson.dumps(content))
        assert str(error.value).startswith(named)


async def test_a_long_answer_is_written_alike() -> None:
    predictions = [prediction([(item, 0.5) for item in range(1000)]) for _ in range(10)]
    assert orjson.loads(await write_v1(predictions)) == {"predictions": predictions}


def test_a_v2_answer_says_of_each_item_what_was_asked_as_json() -> None:
    told, plain = prediction([("a", 0.5)]), prediction([("b", 0.25)])
    told["items"][0]["fields"] = {"title": "Alien", "year": None}
    outputs = {output["name"]: output for output in orjson.loads(render_v2([told, plain], "a7"))["outputs"]}
    assert [orjson.loads(text) for text in outputs["fields"]["data"]] == [{"title": "Alien", "year": None}, {}]
    assert "fields" not in {output["name"] for output in orjson.loads(render_v2([plain], "a7"))["outputs"]}
