"""What the OpenAPI page says of the headers that recall heeds."""

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
