"""What is sent for a search, and what its answer says: the same for jobs and for recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from pagoda.index.base import FoundItem, Hits
from pagoda.index.elasticsearch.dialects import EVERY_ITEM, Vector, VectorDialect
from pagoda.index.elasticsearch.filter_query import filter_query
from pagoda.item_vectors.fields import ITEM_KEY
from pagoda.item_vectors.filter import Filter

MOST_CANDIDATES = 10_000
"""Of a walk through a graph: Elasticsearch refuses a larger `num_candidates` and a k above it, OpenSearch a larger k.
https://www.elastic.co/docs/reference/elasticsearch/rest-apis/retrievers/knn-retriever"""
_FILTERED = 4
"""How much more effort a filtered search gets, as on Milvus."""
LIMITS = ("maxClauseCount", "index.max_terms_count")
"""Said by the reasons of those refusals that a filter of fewer values would not get: of Lucene's TooManyClauses and
TooManyNestedClauses (IndexSearcher.java, which both servers search by), and of `terms` (TermsQueryBuilder.java of both,
`doToQuery`). What else they refuse is wrong in the mapping, in the settings or here, whatever the filter is."""
_OK = 200


def searches(
    dialect: VectorDialect,
    kind: str,
    vectors: Sequence[Vector],
    k: int,
    *,
    effort: int,
    wanted: Filter,
    excluded: Sequence[int],
    keys: bool,
) -> bytes:
    """Body of `POST /INDEX/_msearch`: a line that says nothing and a search, for each vector.

    Where there is no graph, or it cannot give so many, every item that passes is compared: exact.
    """
    passing = filter_query(wanted, excluded)
    candidates = min(max(effort, 2 * k) * (_FILTERED if wanted else 1), MOST_CANDIDATES)
    by_graph = kind != "FLAT" and k <= MOST_CANDIDATES
    common: dict[str, Any] = {"size": k, "_source": False, "track_total_hits": False}
    if keys:
        common["docvalue_fields"] = [ITEM_KEY]
    lines = []
    for vector in vectors:
        if by_graph:
            asked = dialect.nearest(vector, k, candidates, passing)
        else:
            asked = {"query": {"script_score": {"query": passing or EVERY_ITEM, "script": dialect.script(vector)}}}
        lines += [b"{}", orjson.dumps(asked | common)]
    return b"\n".join([*lines, b""])


def looked_up(dialect: VectorDialect, ids: Sequence[int]) -> bytes:
    """Body of `POST /INDEX/_msearch` for the vectors of items by their IDs."""
    of_these = {"query": {"ids": {"values": list(map(str, ids))}}, "size": len(ids), "track_total_hits": False}
    return b"\n".join([b"{}", orjson.dumps(of_these | dialect.telling()), b""])


def refusal(answer: Any) -> tuple[int, str] | None:
    """Status and reason of the first search that was not answered, or not by all shards; None: all were."""
    for response in answer["responses"]:
        if (status := response.get("status", _OK)) != _OK:
            return status, reason(response)
        if response.get("timed_out") or response.get("_shards", {}).get("failed"):
            return _OK, "some of its shards have not answered"
    return None


def reason(answer: Any) -> str:
    """What an error says: its type, and for people why."""
    error = answer.get("error") if isinstance(answer, Mapping) else None
    if not isinstance(error, Mapping):
        return str(error or answer)[:300]
    causes = error.get("root_cause") or [error]
    return f"{error.get('type')}: {causes[0].get('reason') or error.get('reason')}"[:300]


def hits_of(response: Mapping[str, Any], *, keys: bool) -> Hits:
    """One search's answer, for jobs."""
    hits = response["hits"]["hits"]
    return Hits(
        ids=np.array([int(hit["_id"]) for hit in hits], np.int64),
        scores=inner_products([hit["_score"] for hit in hits]).astype(np.float32),
        keys=[_key(hit) for hit in hits] if keys else None,
    )


def items_of(response: Mapping[str, Any], *, keys: bool) -> list[FoundItem]:
    """One search's answer, for recall."""
    hits = response["hits"]["hits"]
    scores = inner_products([hit["_score"] for hit in hits]).tolist()
    return [
        {"item_id": _key(hit) if keys else int(hit["_id"]), "score": score}
        for hit, score in zip(hits, scores, strict=True)
    ]


def inner_products(scores: Sequence[float]) -> np.ndarray:
    """What `_score`s were made of, float64; see `pagoda.index.elasticsearch.dialects`."""
    given = np.array(scores, np.float64)
    return np.where(given >= 1, given - 1, 1 - 1 / np.minimum(given, 1))


def _key(hit: Mapping[str, Any]) -> str:
    return str(hit["fields"][ITEM_KEY][0])
