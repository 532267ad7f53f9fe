"""What the rendered network policies allow, decided as Kubernetes does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from helm.generate.chart import NAMESPACE, Resource

from .charts import Chart

Rule = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A pod, or an address outside the cluster (no labels)."""

    labels: tuple[tuple[str, str], ...] = ()
    namespace: str = NAMESPACE
    address: str = ""


def pod(namespace: str = NAMESPACE, **labels: str) -> Place:
    """A pod with these labels."""
    return Place(tuple(labels.items()), namespace)


OUTSIDE, OUTSIDE_V6 = Place(address="203.0.113.1"), Place(address="2001:db8::1")


class Network:
    """The policies of a chart."""

    def __init__(self, chart: Chart) -> None:
        self._policies = chart.of("NetworkPolicy")
        self._places = dict(_places(chart))

    def __getitem__(self, component: str) -> Place:
        return self._places[component]

    def components(self) -> set[str]:
        """Names of all components that have pods."""
        return set(self._places)

    def allows(self, source: Place | str, target: Place | str, port: int) -> bool:
        """Whether `source` may open a connection to `port` of `target`."""
        here = self[source] if isinstance(source, str) else source
        there = self[target] if isinstance(target, str) else target
        return self._passes(here, there, port, "egress", "to") and self._passes(there, here, port, "ingress", "from")

    def isolated(self, component: str) -> set[str]:
        """The directions in which nothing passes but what is allowed."""
        return {direction for policy in self._of(self[component]) for direction in policy["spec"]["policyTypes"]}

    def _of(self, place: Place) -> list[Resource]:
        return [
            policy
            for policy in self._policies
            if not place.address
            and policy["metadata"].get("namespace", NAMESPACE) == place.namespace
            and _labels_match(policy["spec"]["podSelector"], dict(place.labels))
        ]

    def _passes(self, subject: Place, peer: Place, port: int, direction: str, side: str) -> bool:
        policies = [
            policy["spec"] for policy in self._of(subject) if direction.title() in policy["spec"]["policyTypes"]
        ]
        rules: list[Rule] = [rule for policy in policies for rule in policy.get(direction) or []]
        return not policies or any(_rule_matches(rule, side, peer, port) for rule in rules)


def _places(chart: Chart) -> Iterator[tuple[str, Place]]:
    for name, template in chart.pods():
        if not name.startswith("ServingRuntime/"):
            labels = template["metadata"]["labels"]
            yield labels["app.kubernetes.io/component"], Place(tuple(labels.items()))
    for tower in chart.of("InferenceService"):
        yield "tower", Place(tuple(tower["metadata"]["labels"].items()))
    labels = {"app.kubernetes.io/name": "pagoda", "app.kubernetes.io/component": "pipelines"}
    yield "pipelines", Place(tuple(labels.items()), chart.for_steps("ConfigMap")["metadata"]["namespace"])
    if chart.of("Milvus"):
        labels = {"app.kubernetes.io/name": "milvus", "app.kubernetes.io/instance": "pagoda"}
        yield "milvus", Place(tuple(labels.items()))


# Ports by the names that pods give them.
_NAMED = {"http": {8080, 5000}, "redis": {6379}, "metrics": {9090}, "items": {8090}, "hosts": {9102}}


def _rule_matches(rule: Rule, side: str, peer: Place, port: int) -> bool:
    ports = rule.get("ports")
    if ports and not any(port == one["port"] or port in _NAMED.get(one["port"], ()) for one in ports):
        return False
    peers = rule.get(side)
    return not peers or any(_peer_matches(one, peer) for one in peers)


def _peer_matches(one: Rule, peer: Place) -> bool:
    if "ipBlock" in one:
        return bool(peer.address) and ip_address(peer.address) in ip_network(one["ipBlock"]["cidr"])
    if peer.address:
        return False
    if "namespaceSelector" in one:
        inside = _labels_match(one["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace})
    else:
        inside = peer.namespace == NAMESPACE
    return inside and _labels_match(one.get("podSelector", {}), dict(peer.labels))


def _labels_match(selector: Rule, labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    wanted: dict[str, str] = selector.get("matchLabels", {})
    expressions: list[Rule] = selector.get("matchExpressions", [])
    assert all(one["operator"] == "Exists" for one in expressions)  # The chart uses no other.
    return wanted.items() <= labels.items() and all(one["key"] in labels for one in expressions)
