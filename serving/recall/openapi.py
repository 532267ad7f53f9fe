"""What the OpenAPI page says of the headers that recall heeds, and its examples."""

from __future__ import annotations

from typing import Any

from pagoda.generations.arms import ARMS
from pagoda.rollout.state.split import ARM_HEADER
from serving.http.deadlines import DEADLINE_HEADER, LONGEST_MS

HEADERS: dict[str, Any] = {
    "parameters": [
        {
            "name": ARM_HEADER,
            "in": "header",
            "description": "For testers: the arm that answers. Such requests do not count in a rollout.",
            "schema": {"type": "string", "enum": list(ARMS)},
        },
        {
            "name": DEADLINE_HEADER,
            "in": "header",
            "description": "Milliseconds that the caller waits. What cannot be had by then is stood in for.",
            "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_MS},
        },
    ]
}
"""`openapi_extra` of a route that heeds these headers."""
V1_REQUEST: dict[str, Any] = {
    "instances": [{"user_id": 5, "k": 2, "exclude_seen": True, "filter": {"genres": ["Comedy"], "year": {"gte": 1990}}}]
}
V1_ANSWER = {
    "predictions": [
        {
            "items": [{"item_id": 970, "score": 0.4747}, {"item_id": 17, "score": 0.4391}],
            "generation": "g3",
            "arm": "stable",
            "known_user": True,
            "degraded": [],
            "timing_ms": {"store": 0.312, "tower": 2.604, "index": 4.095, "total": 7.2},
        }
    ]
}


def _tensor(name: str, datatype: str, *data: object) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data)}


V2_REQUEST = {
    "inputs": [
        _tensor("user_id", "INT64", 5),
        _tensor("k", "INT32", 2),
        _tensor("filter", "BYTES", '{"genres": ["Comedy"]}'),
    ]
}
V2_ANSWER = {
    "model_name": "recall",
    "id": "",
    "outputs": [
        _tensor("item_id", "INT64", 970, 17),
        _tensor("score", "FP32", 0.4747, 0.4391),
        _tensor("count", "INT32", 2),
        _tensor("generation", "BYTES", "g3"),
        _tensor("arm", "BYTES", "stable"),
        _tensor("known_user", "BOOL", True),
        _tensor("degraded", "BYTES", ""),
    ],
}
