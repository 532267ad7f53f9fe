"""A filter as the query that Elasticsearch and OpenSearch take: JSON, so a value never ends where it should not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pagoda.item_vectors.filter import Condition, Filter

Query = dict[str, Any]


def filter_query(wanted: Filter, excluded: Sequence[int]) -> Query | None:
    """The query of the items that satisfy a filter, without some; None when all will do.

    Args:
        wanted: Its fields' names are those of the mapping.
        excluded: Item IDs (int64) that must not come back; they are the documents' own IDs.
    """
    filters = [query for condition in wanted if condition.operator != "none" for query in _queries(condition)]
    refused: list[Query] = [_terms(condition) for condition in wanted if condition.operator == "none"]
    if excluded:
        refused.append({"ids": {"values": [str(item) for item in excluded]}})
    parts = {"filter": filters, "must_not": refused}
    return {"bool": {name: queries for name, queries in parts.items() if queries}} if filters or refused else None


def _queries(condition: Condition) -> list[Query]:
    if condition.operator == "any":
        return [_terms(condition)]
    if condition.operator == "all":
        return [{"term": {condition.field: {"value": value}}} for value in condition.values]
    return [{"range": {condition.field: {condition.operator: condition.values[0]}}}]


def _terms(condition: Condition) -> Query:
    return {"terms": {condition.field: list(condition.values)}}
