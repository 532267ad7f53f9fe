"""What a server-side apply leaves as it was sent, and what an upgrade may not change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest

from helm.generate.chart import PROFILES, Resource, identity
from tests.helm.charts import Chart, distinct, in_profile, pod_template, with_values

_BUILTIN = re.compile(r"v1|(apps|batch|policy|autoscaling|networking\.k8s\.io|rbac.*|coordination.*)/.*")
_BINARY = ["", "Ki", "Mi", "Gi", "Ti"]
_MEANT_EMPTY = {"namespaceSelector", "podSelector"}
"""Selectors of everything."""


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*path, str(number)))
    else:
        yield path, value


def _builtin() -> list[Resource]:
    return [resource for resource in distinct() if _BUILTIN.fullmatch(resource["apiVersion"])]


def test_should_send_nothing_that_the_server_drops() -> None:
    """Nulls vanish everywhere, empty lists and maps on the way through the types of Kubernetes' own kinds."""
    for resource in distinct():
        dropped = [path for path, value in _leaves(resource) if value is None]
        assert not dropped, identity(resource)
    for resource in _builtin():
        dropped = [path for path, value in _leaves(resource) if value in ({}, []) and path[-1] not in _MEANT_EMPTY]
        assert not dropped, identity(resource)


def test_should_send_quantities_as_the_server_writes_them() -> None:
    for resource in _builtin():
        for path, value in _leaves(resource):
            if path[-2:-1] in (("requests",), ("limits",)) or path[-1] in ("sizeLimit", "averageValue"):
                assert value == _canonical(value), (identity(resource), path)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (2, "2"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("250m", "250m"),
        ("3Gi", "3Gi"),
    ],
)
def test_knows_how_the_server_writes_quantities(given: str | int, written: str) -> None:
    assert _canonical(given) == written


def _canonical(quantity: Any) -> str:
    """As Kubernetes' resource.Quantity prints it: the largest suffix that leaves an integer."""
    number, suffix = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi|Ti|)", str(quantity)).groups()
    value = Decimal(number)
    if suffix in ("", "m"):
        millis = value if suffix else value * 1000
        return str(int(millis / 1000)) if millis % 1000 == 0 else f"{int(millis)}m"
    size, step = value * 1024 ** _BINARY.index(suffix), 0
    while size % 1024 == 0 and step < len(_BINARY) - 1:
        size, step = size / 1024, step + 1
    return f"{int(size)}{_BINARY[step]}"


def test_should_ask_redis_so_that_an_error_is_no_answer() -> None:
    (container,) = with_values().one("StatefulSet", "pagoda-redis")["spec"]["template"]["spec"]["containers"]
    program, *arguments = container["readinessProbe"]["exec"]["command"]
    assert (program, arguments) == ("valkey-cli", ["-e", "ping"])


def test_should_name_the_protocol_of_every_port() -> None:
    """It is a part of the key by which server-side apply tells ports apart."""
    for resource in _builtin():
        for path, _ in _leaves(resource):
            if path[-1] in ("containerPort", "port") and "ports" in path:
                assert "protocol" in _at(resource, path[:-1]), (identity(resource), path)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def test_should_send_texts_where_kubernetes_keeps_texts() -> None:
    for resource in distinct():
        metadata = resource["metadata"]
        for pairs in (metadata.get("labels", {}), metadata.get("annotations", {}), resource.get("data", {})):
            assert all(isinstance(value, str) for value in pairs.values()), identity(resource)


_FIXED: dict[str, Callable[[Resource], Any]] = {
    "Deployment": lambda it: it["spec"]["selector"],
    "StatefulSet": lambda it: [it["spec"].get(key) for key in ("selector", "serviceName", "volumeClaimTemplates")],
    "Job": pod_template,
    "PersistentVolumeClaim": lambda it: {key: value for key, value in it["spec"].items() if key != "resources"},
    "RoleBinding": lambda it: it["roleRef"],
    "Service": lambda it: [it["spec"].get(key) for key in ("type", "clusterIP")],
    "PipelineVersion": lambda it: it["spec"],
    "Secret": lambda it: it["type"],
}
"""What the server refuses to change, by kind."""


def _all_profiles() -> dict[str, Chart]:
    return {"defaults": with_values(), **{name: in_profile(name) for name in PROFILES}}


def test_should_change_nothing_that_is_immutable_from_any_profile_to_any_other() -> None:
    compared = set()
    for (_, before), (_, after) in combinations(_all_profiles().items(), 2):
        old = {identity(resource): resource for resource in before.resources}
        for resource in after.resources:
            same, fixed = old.get(identity(resource)), _FIXED.get(resource["kind"])
            if same and fixed:
                assert fixed(same) == fixed(resource), identity(resource)
                compared.add(resource["kind"])
    assert {"Deployment", "Service", "RoleBinding", "PersistentVolumeClaim", "StatefulSet"} <= compared


def test_should_select_pods_by_labels_that_they_have(chart: Chart) -> None:
    for kind in ("Deployment", "StatefulSet"):
        for resource in chart.of(kind):
            labels = pod_template(resource)["metadata"]["labels"]
            assert resource["spec"]["selector"]["matchLabels"].items() <= labels.items()
