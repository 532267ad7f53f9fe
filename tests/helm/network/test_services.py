"""Address families: services, and what listens behind them."""

from __future__ import annotations

import pytest

from tests.helm.charts import Chart, fitted, with_values

SERVICES = ("pagoda-recall", "pagoda-mlflow", "pagoda-redis")


def _listens(chart: Chart, part: str) -> str:
    (container,) = chart.one("Deployment", f"pagoda-{part}")["spec"]["template"]["spec"]["containers"]
    return next(argument.split("=", 1)[1] for argument in container["args"] if argument.startswith("--host="))


def test_should_give_services_the_address_families_that_are_asked_for() -> None:
    for name in SERVICES:
        spec = fitted().one("Service", name)["spec"]
        assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("PreferDualStack", ["IPv6", "IPv4"]), name
        assert fitted().one("Service", name)["metadata"]["annotations"]["mesh"] == "on"


@pytest.mark.parametrize(
    ("asked", "listens"),
    [
        ("common.service.ipFamilies={IPv4}", "0.0.0.0"),  # noqa: S104
        ("common.service.ipFamilies={IPv6}", "::"),
        ("common.service.ipFamilyPolicy=PreferDualStack", "::"),
        ("recall.service.ipFamilyPolicy=RequireDualStack,mlflow.service.ipFamilyPolicy=RequireDualStack", "::"),
    ],
)
def test_should_listen_where_the_service_sends_requests(asked: str, listens: str) -> None:
    chart = with_values(*asked.split(","))
    assert {_listens(chart, part) for part in ("recall", "mlflow")} == {listens}


def test_should_choose_families_for_one_service_alone() -> None:
    chart = with_values("redis.service.ipFamilies={IPv6}", "redis.service.annotations.a=b")
    assert {name for name in SERVICES if "ipFamilies" in chart.one("Service", name)["spec"]} == {"pagoda-redis"}
    assert chart.one("Service", "pagoda-redis")["metadata"]["annotations"] == {"a": "b"}
