"""Whatever comes in, recall and tower answer it or refuse it: no body is an error of the server."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.recall.server import RecallServer
from serving.tower.replies import Replies
from serving.tower.runtime import TowerRuntime
from tests.serving.callers import HEADERS, tokens
from tests.serving.recall.setting import Setting

FIELDS = ["instances", "inputs", "user_id", "k", "history", "context", "profile", "filter", "exclude_seen", "timestamp"]
FIELDS += [
    "item_id",
    "genres",
    "year",
    "gte",
    "any",
    "age",
    "device",
    "name",
    "datatype",
    "shape",
    "data",
    "parameters",
]
leaves = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False) | st.text(max_size=5)
names = st.sampled_from(FIELDS) | st.text(max_size=3)
anything = st.recursive(
    leaves | st.sampled_from(["INT64", "BYTES", "{}", "[1]", "Drama"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
instance = st.fixed_dictionaries(
    {"user_id": st.integers(0, 50) | anything}, optional=dict.fromkeys(FIELDS[3:10], anything)
)
tensor = st.fixed_dictionaries(
    {
        "name": names,
        "datatype": st.sampled_from(["INT64", "BYTES", "BOOL"]) | anything,
        "shape": st.just([1]) | anything,
        "data": st.lists(anything, max_size=2) | anything,
    }
)


def dumps(value: Any) -> bytes:
    """JSON; Python's writer also takes integers of more than 64 bits."""
    return json.dumps(value).encode()


bodies = st.one_of(
    st.binary(max_size=40),
    st.just(b"[" * 100_000),
    anything.map(dumps),
    st.lists(instance, max_size=3).map(lambda rows: dumps({"instances": rows})),
    st.lists(tensor, max_size=3).map(lambda columns: dumps({"inputs": columns})),
)


@cache
def service() -> tuple[Setting, httpx.ASGITransport]:
    """One that all bodies come to."""
    setting = Setting()
    return setting, httpx.ASGITransport(RecallServer(setting.recall, setting.generations, tokens()).app)


async def post(path: str, content: bytes) -> httpx.Response:
    """Ask the service."""
    setting, transport = service()
    await setting.generations.refresh()
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as client:
        return await client.post(path, content=content)


@settings(max_examples=150)
@given(content=bodies, path=st.sampled_from(["/v1/models/recall:predict", "/v2/models/recall/infer"]))
async def test_recall_answers_or_refuses_any_body(content: bytes, path: str) -> None:
    answer = await post(path, content)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.json()["error"]


@settings(max_examples=150)
@given(contents=st.lists(bodies, min_size=1, max_size=3))
def test_the_tower_answers_or_refuses_any_body(runtime: TowerRuntime, contents: list[bytes]) -> None:
    for status, body in Replies(runtime, "3.0").to(contents):
        assert status in (200, 400, 409)
        assert status == 200 or orjson.loads(body)["error"]


async def test_what_is_nested_too_deeply_is_refused(runtime: TowerRuntime) -> None:
    content = b'{"instances": [{"user_id": 1, "profile": {"age": ' + b"[" * 500 + b"]" * 500 + b"}}]}"
    assert (await post("/v1/models/recall:predict", content)).status_code in (200, 400)
    ((status, body),) = Replies(runtime, "3.0").to([content])
    assert status == 400
    assert len(body) < 2000
