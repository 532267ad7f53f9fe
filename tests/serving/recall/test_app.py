"""The recall service over HTTP: statuses, errors that name the field, health, metrics and the OpenAPI page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pagoda.errors import UnavailableError
from pagoda.generations.arms import Arms
from serving.http.body_reading import MAX_BODY_BYTES
from serving.recall.server import RecallServer
from tests.serving.callers import HEADERS, tokens

from .setting import Setting

PREDICT, INFER = "/v1/models/recall:predict", "/v2/models/recall/infer"
BODY = {"instances": [{"user_id": 5, "k": 2}]}


@pytest.fixture
async def setting() -> Setting:
    """Nothing serves yet."""
    return Setting()


@pytest.fixture
async def client(setting: Setting) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application."""
    transport = httpx.ASGITransport(RecallServer(setting.recall, setting.generations, tokens()).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as made:
        yield made


HEALTH = ["/v2/health/ready", "/v1/models/recall", "/v2/models/recall/ready"]


async def test_it_is_ready_only_after_a_real_request_went_through(setting: Setting, client: httpx.AsyncClient) -> None:
    setting.log.arms = Arms()
    await setting.generations.refresh()
    assert [(await client.get(path)).status_code for path in HEALTH] == [503] * 3
    assert (await client.get("/v2/health/live")).status_code == 200
    refused = await client.post(PREDICT, json=BODY)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    setting.log.arms = Arms(stable="g3")
    setting.tower.held = set()
    await setting.generations.refresh()
    assert [(await client.get(path)).status_code for path in HEALTH] == [503] * 3
    setting.tower.held = {"g3"}
    await setting.generations.refresh()
    assert [(await client.get(path)).status_code for path in HEALTH] == [200] * 3
    assert (await client.post(PREDICT, json=BODY)).status_code == 200


async def test_v1_and_v2_give_the_same_items(setting: Setting, client: httpx.AsyncClient) -> None:
    await setting.generations.refresh()
    v1 = (await client.post(PREDICT, json=BODY)).json()["predictions"][0]
    inputs = [
        {"name": "user_id", "datatype": "INT64", "shape": [1], "data": [5]},
        {"name": "k", "datatype": "INT32", "shape": [1], "data": [2]},
    ]
    v2 = (await client.post(INFER, json={"inputs": inputs})).json()
    outputs = {output["name"]: output["data"] for output in v2["outputs"]}
    assert v2["model_name"] == "recall"
    assert outputs["item_id"] == [item["item_id"] for item in v1["items"]]
    assert outputs["score"] == [item["score"] for item in v1["items"]]
    assert outputs["generation"] == [v1["generation"]]


@pytest.mark.parametrize(
    ("path", "content", "status", "named"),
    [
        (PREDICT, b"{", 400, "body"),
        (PREDICT, b'{"instances": [{"user_id": 1, "k": 5000}]}', 400, "instances.0.k"),
        (PREDICT, b'{"instances": [{"user_id": 1, "filter": {"x": 1}}]}', 400, "instances.0.filter.x"),
        (
            INFER,
            b'{"inputs": [{"name": "k", "datatype": "INT32", "shape": [1], "data": [5]}]}',
            400,
            "inputs.0.user_id",
        ),
        (PREDICT, b" " * (MAX_BODY_BYTES + 1), 413, "body"),
        ("/v1/models/other:predict", b"{}", 405, ""),
        ("/v2/repository/models/recall/unload", b"", 404, ""),
        ("/v2/repository/models/recall/load", b"", 404, ""),
        ("/v1/models/recall:explain", b"{}", 405, ""),
    ],
)
async def test_what_is_wrong_is_refused_and_named(
    setting: Setting, client: httpx.AsyncClient, *, path: str, content: bytes, status: int, named: str
) -> None:
    await setting.generations.refresh()
    answer = await client.post(path, content=content)
    assert answer.status_code == status
    if named:
        assert answer.json()["error"].startswith(named)
    assert (await client.get("/v2/health/ready")).status_code == 200


async def test_what_nobody_foresaw_is_an_answer_too(setting: Setting) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    await setting.generations.refresh()
    setting.tower.before = fail
    application = RecallServer(setting.recall, setting.generations, tokens()).app
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as client:
        answer = await client.post(PREDICT, json=BODY)
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("internal error")


async def test_a_caller_reads_the_part_that_failed_and_the_log_no_password(
    setting: Setting, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        said = "online store at redis://:secret@10.1.2.3:6379/0: @user_script:1: OOM"
        raise UnavailableError(said, part="online store")

    await setting.generations.refresh()
    setting.tower.before = fail
    answer = await client.post(PREDICT, json=BODY)
    assert (answer.status_code, answer.json()) == (503, {"error": "online store: not available now; try again later"})
    assert "10.1.2.3" in caplog.text and "secret" not in caplog.text


async def test_a_caller_who_leaves_in_the_middle_is_no_failure(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": PREDICT,
        "headers": headers,
        "query_string": b"",
        "root_path": "",
    }

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        assert message.get("status", 400) == 400

    await RecallServer(setting.recall, setting.generations, tokens()).app(scope, receive, send)
    assert caplog.records == []


async def test_the_page_describes_real_requests(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    schemas = page["components"]["schemas"]

    def resolve(schema: dict[str, Any]) -> dict[str, Any]:
        return schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema

    body = resolve(page["paths"][PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"])
    instance = resolve(body["properties"]["instances"]["items"])
    assert set(instance["properties"]) >= {"user_id", "k", "filter", "exclude_seen", "history", "context", "profile"}
    assert (instance["properties"]["k"]["minimum"], instance["properties"]["k"]["maximum"]) == (1, 1000)
    assert instance["additionalProperties"] is False
    answer = resolve(page["paths"][PREDICT]["post"]["responses"]["200"]["content"]["application/json"]["schema"])
    assert "generation" in resolve(answer["properties"]["predictions"]["items"])["properties"]
    assert {"400", "413", "503"} <= page["paths"][INFER]["post"]["responses"].keys()
    docs = await client.get("/docs")
    assert "https://" not in docs.text.replace("https://fastapi", "")
    assert (await client.get("/static-offline-docs/swagger-ui-bundle.js")).status_code == 200


async def test_metrics_tell_stages_by_arm(setting: Setting, client: httpx.AsyncClient) -> None:
    await setting.generations.refresh()
    await client.post(PREDICT, json=BODY)
    await client.post(PREDICT, json={"instances": [{"user_id": 404}]})
    await client.post(PREDICT, content=b"{")
    await asyncio.sleep(0)  # Answers are counted in the loop's next turn.
    text = (await client.get("/metrics")).text
    for stage in ("store", "tower", "index", "total"):
        assert f'pagoda_recall_stage_seconds_count{{arm="stable",stage="{stage}"}}' in text
    assert 'pagoda_recall_requests_total{outcome="refused",protocol="v1"}' in text
    assert 'pagoda_recall_unknown_users_total{arm="stable",generation="g3"}' in text
    assert 'pagoda_recall_short_answers_total{arm="stable",generation="g3"}' in text


async def test_kserve_knows_the_model(setting: Setting, client: httpx.AsyncClient) -> None:
    await setting.generations.refresh()
    assert (await client.get("/v1/models")).json() == {"models": ["recall"]}
    metadata = (await client.get("/v2/models/recall")).json()
    assert {tensor["name"] for tensor in metadata["inputs"]} >= {"user_id", "k", "filter"}
    assert (await client.get("/v1/models/nothing")).status_code == 404
