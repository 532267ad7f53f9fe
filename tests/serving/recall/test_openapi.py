"""The OpenAPI pages of a recall process: valid, nothing undescribed, and true of what is answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import httpx
import pytest
import schemathesis
from jsonschema import Draft202012Validator

from pagoda.errors import RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_vectors.filter import Operator
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.settings import RedisSettings, Settings
from serving.events.factory import taking
from serving.http.door import Door
from serving.recall.api import RecallInstance
from serving.recall.app import build_items_app
from serving.recall.channels.tables import TableChannels
from serving.recall.items.item_values import ItemValues
from serving.recall.server import RecallServer
from serving.recall.similar.routes import similar_router
from serving.recall.similar.service import SimilarService
from serving.release_follower import ReleaseFollower
from tests.serving.callers import HEADERS, tokens
from tests.serving.worlds import make_spec

from .setting import Setting

Page = dict[str, Any]
INFER = "/v2/models/recall/infer"


async def applications(home: Path) -> dict[str, Door]:
    """Both listeners' of a process, with all that it takes in production."""
    setting = Setting()
    settings = Settings(home=home, redis=RedisSettings(url="redis://127.0.0.1:9"))
    similar = SimilarService(setting.generations, setting.index, TableChannels(), ItemValues({}))
    releases = ReleaseFollower(cast(ReleaseLog, setting.log))
    async with taking(settings, releases, lambda _: None) as intakes:
        further = [similar_router(similar), *intakes.events]
        recall = RecallServer(setting.recall, setting.generations, tokens(), further)
        return {"recall": recall.app, "items": build_items_app(intakes.items, tokens())}


async def read(app: Door) -> Page:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://recall") as client:
        page: Page = (await client.get("/openapi.json")).json()
    return page


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Door]:
    return asyncio.run(applications(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def pages(apps: dict[str, Door]) -> dict[str, Page]:
    return {name: asyncio.run(read(app)) for name, app in apps.items()}


@pytest.fixture(params=["recall", "items"])
def page(request: pytest.FixtureRequest, pages: dict[str, Page]) -> Page:
    """One application's."""
    return pages[request.param]


def parts(node: Any, *way: str | int) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """All mappings of a page, with the way to each."""
    if isinstance(node, dict):
        yield way, node
    for key, below in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key not in ("example", "examples", "default"):
            yield from parts(below, *way, key)


def operations(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def contents(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    """What requests and answers hold, by media type."""
    for name, operation in operations(page):
        for where in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media_type, content in where.get("content", {}).items():
                yield f"{name} {media_type}", content


def fits(page: Page, schema: dict[str, Any], value: object) -> None:
    """Raise ValidationError unless a value is what the page says."""
    Draft202012Validator({**schema, "components": page["components"]}).validate(value)


def test_a_page_is_valid(page: Page) -> None:
    schemathesis.openapi.from_dict(page).validate()
    for schema in page["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for name, operation in operations(page):
        named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", name)), name


def test_every_reference_resolves(page: Page) -> None:
    for way, node in parts(page):
        if isinstance(reference := node.get("$ref"), str):
            found: Any = page
            for key in reference.removeprefix("#/").split("/"):
                assert key in found, (way, reference)
                found = found[key]


def test_everything_is_described(page: Page) -> None:
    silent = [name for name, operation in operations(page) if not operation.get("description")]
    for way, node in parts(page):
        of_a_field = way[-2:-1] == ("properties",)
        if way[-2:-1] in [("schemas",), ("responses",), ("parameters",), ("headers",)] or of_a_field:
            silent += [".".join(map(str, way))] if not node.get("description") else []
    assert not silent
    for name, content in contents(page):
        assert content["schema"], f"{name}: says nothing of what it holds"


def test_nothing_answers_as_fastapi_itself_would(page: Page) -> None:
    assert not [name for name, operation in operations(page) if "422" in operation["responses"]]


def test_examples_are_what_the_page_says(page: Page) -> None:
    shown = [(content["schema"], content["example"]) for _, content in contents(page) if "example" in content]
    assert shown
    for way, node in parts(page["components"]["schemas"]):
        shown += [(node, example) for example in node.get("examples", ()) if way[-1:] != ("properties",)]
    for schema, example in shown:
        fits(page, schema, example)


async def test_what_is_only_read_is_as_the_page_says(apps: dict[str, Door], pages: dict[str, Page]) -> None:
    page, seen = pages["recall"], set()
    transport = httpx.ASGITransport(apps["recall"])
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as client:
        for path, methods in page["paths"].items():
            if (operation := methods.get("get")) is None or path == "/metrics":
                continue
            for model in ("recall", "another"):
                answer = await client.get(path.format(model_name=model))
                said = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
                fits(page, said, answer.json())
                seen.add(answer.status_code)
    assert seen == {200, 404, 503}


def test_the_page_says_every_input_of_a_v2_request(pages: dict[str, Page]) -> None:
    said = pages["recall"]["paths"][INFER]["post"]["description"]
    assert not [name for name in RecallInstance.model_fields if f"`{name}`" not in said]


def test_the_page_says_the_operators_of_a_filter(pages: dict[str, Page]) -> None:
    schemas = pages["recall"]["components"]["schemas"]
    texts, numbers = schemas["TextCondition"]["properties"], schemas["NumberCondition"]["properties"]
    assert {*texts, *numbers} == set(get_args(Operator))
    parser = FilterParser(make_spec())
    for name, values, allowed in (("genres", ["Drama", 1], texts), ("year", 1990.5, numbers)):
        for operator in (*texts, *numbers):
            if operator in allowed:
                assert parser.parse({name: {operator: values}})
            else:
                with pytest.raises(RequestError, match="unknown operator"):
                    parser.parse({name: {operator: values}})
