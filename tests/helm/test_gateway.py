"""What a gateway lets through to recall."""

from __future__ import annotations

import pytest

from helm.generate.chart import Resource

from .charts import in_profile


def _matches(match: Resource, path: str) -> bool:
    """As the Gateway API has it: a prefix is made of whole elements of a path."""
    kind, value = match["path"]["type"], match["path"]["value"]
    if kind == "Exact":
        return bool(path == value)
    assert kind == "PathPrefix"
    return bool(f"{path}/".startswith(f"{value.rstrip('/')}/"))


@pytest.mark.parametrize(
    ("path", "through"),
    [
        ("/v1/models/recall:predict", True),
        ("/v1/models/recall", True),
        ("/v2/models/recall/infer", True),
        ("/v2/models/recall/ready", True),
        ("/v1/events", False),
        ("/v1/models/recall:explain", False),
        ("/metrics", False),
        ("/docs", False),
        ("/", False),
    ],
)
def test_should_offer_what_answers_recall_and_nothing_else(path: str, through: bool) -> None:
    route = in_profile("production").one("HTTPRoute", "pagoda-recall")
    (rule,) = route["spec"]["rules"]
    assert any(_matches(match, path) for match in rule["matches"]) is through
