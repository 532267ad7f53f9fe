"""Where Elasticsearch and OpenSearch differ: how a vector is mapped, and how its nearest are asked for.

Both keep an inner product m as a `_score` that is never negative, in the same way: m + 1 for m ≥ 0, 1 / (1 - m) below.
Elasticsearch: `max_inner_product` in specification/_types/mapping/DenseVectorProperty.ts of elastic/
elasticsearch-specification at 9d9b9a52. OpenSearch: `innerproduct` of Faiss in _mappings/supported-field-types/
knn-spaces.md of opensearch-project/documentation-website at 0333fbd2; its scoring script gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from pagoda.index.elasticsearch.filter_query import Query
from pagoda.item_vectors.fields import VECTOR
from pagoda.settings import CollectionConfig

Vector = Sequence[float]
Dialect = Literal["elasticsearch", "opensearch"]
EVERY_ITEM: Query = {"match_all": {}}


class VectorDialect(Protocol):
    """What one of the two servers calls vectors and their neighbours."""

    def settings(self, config: CollectionConfig) -> dict[str, Any]:
        """Settings that an index of vectors needs."""

    def field(self, dim: int, config: CollectionConfig) -> dict[str, Any]:
        """Mapping of the vectors' field, for HNSW or FLAT."""

    def dim(self, field: Mapping[str, Any]) -> int:
        """The length of a vector, as such a mapping says it."""

    def nearest(self, vector: Vector, k: int, candidates: int, passing: Query | None) -> dict[str, Any]:
        """The part of a search that walks the graph; `candidates` (at least k, at most 10,000) are held on the way."""

    def script(self, vector: Vector) -> dict[str, Any]:
        """Script that gives each item the score that the graph would give it."""

    def telling(self) -> dict[str, Any]:
        """The part of a search that has its hits tell their vectors."""

    def told(self, hit: Mapping[str, Any]) -> list[float]:
        """The vector that a hit tells."""


class ElasticsearchDialect:
    """Elasticsearch 8.11 and later."""

    def settings(self, config: CollectionConfig) -> dict[str, Any]:
        """See `VectorDialect.settings`."""
        return {}

    def field(self, dim: int, config: CollectionConfig) -> dict[str, Any]:
        """See `VectorDialect.field`. Nothing is left to the defaults: those are codes of a byte a number by now."""
        if config.kind == "FLAT":
            return {"type": "dense_vector", "dims": dim, "index": False}
        options = {"type": "hnsw", "m": config.m, "ef_construction": config.ef_construction}
        similarity = {"similarity": "max_inner_product", "index_options": options}
        return {"type": "dense_vector", "dims": dim, "index": True, **similarity}

    def dim(self, field: Mapping[str, Any]) -> int:
        """See `VectorDialect.dim`."""
        return int(field["dims"])

    def nearest(self, vector: Vector, k: int, candidates: int, passing: Query | None) -> dict[str, Any]:
        """See `VectorDialect.nearest`."""
        knn = {"field": VECTOR, "query_vector": vector, "k": k, "num_candidates": candidates}
        return {"knn": knn | ({"filter": passing} if passing else {})}

    def script(self, vector: Vector) -> dict[str, Any]:
        """See `VectorDialect.script`. A script's score must not be negative."""
        source = (
            f"double product = dotProduct(params.query_vector, '{VECTOR}'); "
            "return product < 0 ? 1 / (1 - product) : product + 1;"
        )
        return {"lang": "painless", "source": source, "params": {"query_vector": vector}}

    def telling(self) -> dict[str, Any]:
        """See `VectorDialect.telling`. Since 9.2 `_source` has no vectors, unless it is told so in words that earlier
        versions refuse (`exclude_vectors` of specification/_global/search/_types/SourceFilter.ts, as above)."""
        return {"_source": False, "fields": [VECTOR]}

    def told(self, hit: Mapping[str, Any]) -> list[float]:
        """See `VectorDialect.told`."""
        return list(hit["fields"][VECTOR])


class OpenSearchDialect:
    """OpenSearch 2.16 and later, with its k-NN plugin."""

    def settings(self, config: CollectionConfig) -> dict[str, Any]:
        """See `VectorDialect.settings`. Without it no graph is built."""
        return {} if config.kind == "FLAT" else {"knn": True}

    def field(self, dim: int, config: CollectionConfig) -> dict[str, Any]:
        """See `VectorDialect.field`."""
        field: dict[str, Any] = {"type": "knn_vector", "dimension": dim}
        if config.kind == "FLAT":
            return field
        parameters = {"m": config.m, "ef_construction": config.ef_construction}
        method = {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct", "parameters": parameters}
        return field | {"method": method}

    def dim(self, field: Mapping[str, Any]) -> int:
        """See `VectorDialect.dim`."""
        return int(field["dimension"])

    def nearest(self, vector: Vector, k: int, candidates: int, passing: Query | None) -> dict[str, Any]:
        """See `VectorDialect.nearest`."""
        knn = {"vector": vector, "k": k, "method_parameters": {"ef_search": candidates}}
        return {"query": {"knn": {VECTOR: knn | ({"filter": passing} if passing else {})}}}

    def script(self, vector: Vector) -> dict[str, Any]:
        """See `VectorDialect.script`. The script of the k-NN plugin."""
        params = {"field": VECTOR, "query_value": vector, "space_type": "innerproduct"}
        return {"lang": "knn", "source": "knn_score", "params": params}

    def telling(self) -> dict[str, Any]:
        """See `VectorDialect.telling`."""
        return {"_source": [VECTOR]}

    def told(self, hit: Mapping[str, Any]) -> list[float]:
        """See `VectorDialect.told`."""
        return list(hit["_source"][VECTOR])


DIALECTS: dict[Dialect, VectorDialect] = {"elasticsearch": ElasticsearchDialect(), "opensearch": OpenSearchDialect()}
