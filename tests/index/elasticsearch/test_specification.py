"""Whatever is sent, and what the fake answers, against the API specifications of the two projects.

The excerpts are `elasticsearch-api.json` and `opensearch-api.json` of `SCHEMAS`; they name their source, commit and
licence. What they do not name, they refuse; a document's fields and a script's text they cannot judge.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pagoda.index.build import build_collection
from pagoda.index.factory import open_collections, open_search
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import vectors_batch
from tests.index.elasticsearch.fakes.server import Exchange
from tests.index.elasticsearch.installations import DIALECTS, Installed, installed
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / os.environ.get("SCHEMAS", "../shared/schemas")
WANTED: dict[str, Any] = {
    "kind": {"any": ["kind 1", "kind 2"], "none": "kind 3"},
    "genres": {"all": ["all", "g1"]},
    "release_year": {"gte": 1950, "lt": 2000},
}


class Specification:
    """One dialect's excerpt."""

    def __init__(self, dialect: str) -> None:
        path = SCHEMAS / f"{dialect}-api.json"
        if not path.is_file():
            pytest.skip(f"no excerpt {path}; set SCHEMAS")
        self._content = json.loads(path.read_text())
        self.operations = set(self._content["operations"])

    @staticmethod
    def operation(exchange: Exchange) -> str:
        """As the specification calls it."""
        return f"{exchange.method} " + re.sub(r"^/[a-z0-9]\w*", "/{index}", exchange.path)

    def complaints(self, exchange: Exchange) -> list[str]:
        """What a request, or a good answer to it, has that the specification has not."""
        name = self.operation(exchange)
        operation = self._content["operations"].get(name)
        if operation is None:
            return [f"{name} is no operation"]
        wrong = [f"parameter {given}" for given in exchange.params if given not in operation["parameters"]]
        if operation["body"] and "lines" in operation["body"]:
            for line, schema in self._lines(exchange.body, operation["body"]["lines"]):
                wrong += self._problems(schema, line)
        elif operation["body"] or exchange.body:
            wrong += self._problems(operation["body"] or False, exchange.body)
        if operation["answer"] and exchange.status == 200:
            wrong += self._problems(operation["answer"], json.loads(json.dumps(exchange.answer, default=float)))
        return [f"{name}: {problem}" for problem in wrong]

    @staticmethod
    def _lines(lines: Sequence[Any], schemas: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        left = iter(lines)
        for line in left:
            yield line, schemas[0]
            if "delete" not in line:
                yield next(left), schemas[1]

    def _problems(self, schema: Any, value: Any) -> list[str]:
        whole = {"$defs": self._content["$defs"], "allOf": [schema]}
        found = jsonschema.Draft202012Validator(whole).iter_errors(value)
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found]


@pytest.fixture(params=DIALECTS)
def specification(request: pytest.FixtureRequest) -> Specification:
    return Specification(request.param)


@pytest.fixture
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installed]:
    with installed(tmp_path, request.node.callspec.params["specification"]) as made:
        yield made


def test_all_that_jobs_and_recall_send_is_in_the_specification(
    specification: Specification, installation: Installed, tmp_path: Path
) -> None:
    collections, vectors = open_collections(installation.settings), tmp_path / "v.parquet"
    write_vectors(vectors, 50)
    for kind in ("HNSW", "FLAT"):
        config = installation.settings.index.collection.model_copy(update={"kind": kind})
        build_collection(collections, "built", vectors, SPEC, queries=unit_vectors(3), config=config)
        wanted = FilterParser(SPEC).parse(WANTED)
        collections.search("built", unit_vectors(2), 5, effort=64, wanted=wanted, excluded=(1, -(2**63)))
        collections.drop("built")
    build_collection(collections, "built", vectors, SPEC, queries=unit_vectors(3))
    collections.search("built", unit_vectors(1), 16_384, effort=64)
    collections.upsert("built", vectors_batch(SPEC, items_table(2), unit_vectors(2)))
    collections.delete("built", np.array([3, 12345]))
    asyncio.run(_recall(installation))
    assert (collections.names(), collections.exists("absent")) == (["built"], False)
    collections.release("built")
    collections.close()

    exchanges = installation.fake.exchanges
    assert {specification.operation(exchange) for exchange in exchanges} == specification.operations
    assert [complaint for exchange in exchanges for complaint in specification.complaints(exchange)] == []


async def _recall(installation: Installed) -> None:
    search = open_search(installation.settings, lambda: "a-trace")
    await search.search(
        "built", unit_vectors(2).tolist(), 5, wanted=FilterParser(SPEC).parse(), excluded=(), keys=False
    )
    await search.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("PUT", "/new", {"mappings": {"properties": {"vector": {"type": "dense_vectors"}}}}, "vector"),
        ("PUT", "/new", {"settings": {"index": {"number_of_shard": 1}}}, "number_of_shard"),
        ("POST", "/new/_msearch", [{}, {"query": {"term": {"kind": {"values": ["a"]}}}}], "values"),
        ("POST", "/new/_bulk", [{"index": {"id": "1"}}, {}], "id"),
        ("POST", "/new/_merge", None, "is no operation"),
    ],
)
def test_a_mistake_is_seen(specification: Specification, method: str, path: str, body: Any, complaint: str) -> None:
    found = specification.complaints(Exchange(method, path, {"refesh": "true"}, body, 400, None))
    assert complaint in " ".join(found)
    assert "no operation" in complaint or "parameter refesh" in found[0]
