"""An index of the fake: what the documentation says that Elasticsearch and OpenSearch do with one, in NumPy.

What it answers to is what the adapter sends and no more; whether they would is said by their specifications alone
(`tests/index/elasticsearch/test_specification.py`), and no server has been asked. In particular a graph is searched
exactly here, and a script is known by its text.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SECOND = 0.2
"""Of `refresh_interval`, so that tests wait less."""
MOST = 10_000
"""https://www.elastic.co/docs/reference/elasticsearch/rest-apis/retrievers/knn-retriever: `num_candidates` "cannot
exceed 10,000"."""
PAINLESS = (
    "double product = dotProduct(params.query_vector, 'vector'); return product < 0 ? 1 / (1 - product) : product + 1;"
)
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "gte": operator.ge,
    "gt": operator.gt,
    "lte": operator.le,
    "lt": operator.lt,
}


class RefusedError(Exception):
    """A request that the server answers with an error."""

    def __init__(self, kind: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status
        self.body = {"error": {"type": kind, "reason": reason, "root_cause": []}, "status": status}


@dataclass
class FakeIndex:
    """One index: what is written, and what searches see of it since the last refresh."""

    mappings: dict[str, Any]
    settings: dict[str, Any]
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    refreshed: float = 0.0
    segments: int = 0

    @property
    def dim(self) -> int:
        vector = self.mappings["properties"]["vector"]
        return int(vector.get("dims") or vector["dimension"])

    @property
    def graph(self) -> bool:
        """Whether there is one to be walked."""
        vector = self.mappings["properties"]["vector"]
        return bool(vector.get("index") or ("method" in vector and self.settings.get("knn")))

    def refresh(self) -> None:
        self.seen, self.refreshed = dict(self.written), time.monotonic()

    def look(self) -> None:
        """Refresh if the interval is over."""
        interval = self.settings.get("refresh_interval", "1s")
        if interval != "-1" and time.monotonic() - self.refreshed > SECOND:
            self.refresh()

    def put(self, id_: str, document: dict[str, Any]) -> str:
        if "vector" in self.mappings["properties"] and len(document["vector"]) != self.dim:
            raise RefusedError("document_parsing_exception", f"a vector has {self.dim} dimensions")
        for name, value in document.items():
            kind = self.mappings["properties"].get(name, {}).get("type")
            if kind == "double" and not isinstance(value, int | float):
                raise RefusedError("document_parsing_exception", f"failed to parse field [{name}] of type [double]")
        result = "updated" if id_ in self.written else "created"
        self.written[id_] = document
        return result

    def search(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one search of `_msearch`."""
        self.look()
        size, most = body["size"], int(self.settings.get("max_result_window", MOST))
        if size > most:
            raise RefusedError("illegal_argument_exception", f"Result window is too large: {size} > {most}")
        if looked_up := body.get("query", {}).get("ids"):
            return _answered([self._hit(id_, np.float32(1), body) for id_ in looked_up["values"] if id_ in self.seen])
        vector, passing, k = self._asked(body)
        if len(vector) != self.dim:
            raise RefusedError("illegal_argument_exception", f"the query vector has a different dimension [{self.dim}]")
        ids = [id_ for id_, document in self.seen.items() if passes(passing, id_, document)]
        stored = np.array([self.seen[id_]["vector"] for id_ in ids], np.float32).reshape(len(ids), self.dim)
        products = stored @ np.array(vector, np.float32)
        scores = np.where(products < 0, 1 / (1 - np.minimum(products, 0)), products + 1).astype(np.float32)
        best = np.argsort(-scores, kind="stable")[: min(k, size)]
        hits = [self._hit(ids[place], scores[place], body) for place in best.tolist()]
        return _answered(hits)

    def _asked(self, body: Mapping[str, Any]) -> tuple[list[float], Any, int]:
        """The vector, what must pass, and how many are wanted of each shard."""
        query = body.get("query", {})
        if "knn" in body or "knn" in query:
            knn = body.get("knn") or query["knn"]["vector"]
            held = knn["num_candidates"] if "knn" in body else knn["method_parameters"]["ef_search"]
            if not self.graph:
                raise RefusedError("illegal_argument_exception", "to perform knn search, [vector] must be indexed")
            if knn["k"] > held or held > MOST:
                raise RefusedError("illegal_argument_exception", f"[num_candidates] {held} with [k] {knn['k']}")
            return knn["query_vector"] if "knn" in body else knn["vector"], knn.get("filter"), knn["k"]
        scored = query["script_score"]
        script, params = scored["script"], scored["script"]["params"]
        if script["lang"] == "painless" and script["source"] == PAINLESS:
            return params["query_vector"], scored["query"], body["size"]
        if (script["lang"], script["source"], params["space_type"]) == ("knn", "knn_score", "innerproduct"):
            return params["query_value"], scored["query"], body["size"]
        raise RefusedError("script_exception", "compile error")

    def _hit(self, id_: str, score: np.float32, body: Mapping[str, Any]) -> dict[str, Any]:
        hit: dict[str, Any] = {"_index": "index", "_id": id_, "_score": score}
        if names := body.get("docvalue_fields"):
            hit["fields"] = {name: [self.seen[id_][name]] for name in names}
        if names := body.get("fields"):
            hit["fields"] = {name: self.seen[id_][name] for name in names}
        if names := body.get("_source"):
            hit["_source"] = {name: self.seen[id_][name] for name in names}
        return hit


def _answered(hits: list[dict[str, Any]]) -> dict[str, Any]:
    """A search's answer, of hits by falling score."""
    return {
        "took": 1,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": {"max_score": hits[0]["_score"] if hits else None, "hits": hits},
        "status": 200,
    }


def passes(query: Any, id_: str, document: Mapping[str, Any]) -> bool:
    """Whether a document matches a query of those that the adapter uses."""
    if not query:
        return True
    ((kind, asked),) = query.items()
    if kind == "match_all":
        return True
    if kind == "ids":
        return id_ in asked["values"]
    if kind == "bool":
        return all(passes(one, id_, document) for one in asked.get("filter", ())) and not any(
            passes(one, id_, document) for one in asked.get("must_not", ())
        )
    ((name, wanted),) = asked.items()
    value = document.get(name)
    values = value if isinstance(value, list) else [value]
    if kind in ("term", "terms"):
        return any(one in values for one in ([wanted["value"]] if kind == "term" else wanted))
    if kind == "range":
        return all(_COMPARISONS[how](one, than) for how, than in wanted.items() for one in values)
    raise RefusedError("parsing_exception", f"unknown query [{kind}]")
