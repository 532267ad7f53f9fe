"""The chart as Helm renders it, once for each set of arguments."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from helm.generate.chart import CHART, PROFILES, Resource, render

WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob", "Pod"}


class Chart:
    """A rendered chart."""

    def __init__(self, resources: list[Resource]) -> None:
        self.resources = resources

    def of(self, kind: str) -> list[Resource]:
        """All resources of a kind."""
        return [resource for resource in self.resources if resource["kind"] == kind]

    def one(self, kind: str, name: str) -> Resource:
        """The one resource of this kind and name."""
        (found,) = [resource for resource in self.of(kind) if resource["metadata"]["name"] == name]
        return found

    def for_steps(self, kind: str) -> Resource:
        """The one resource of this kind that stands where Kubeflow runs the pipelines' steps."""
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"].endswith("pagoda-pipelines")]
        return found

    def pods(self) -> Iterator[tuple[str, Resource]]:
        """Kind/name and pod template of everything that makes pods, KServe's included."""
        for resource in self.resources:
            name = f"{resource['kind']}/{resource['metadata']['name']}"
            if resource["kind"] in WORKLOADS:
                yield name, pod_template(resource)
            if resource["kind"] == "ServingRuntime":
                yield name, {"metadata": resource["spec"], "spec": resource["spec"]}

    def containers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Place and definition of every container."""
        for name, template in self.pods():
            for part in ("initContainers", "containers"):
                for container in template["spec"].get(part, []):
                    yield f"{name}/{container['name']}", container


def pod_template(resource: Resource) -> Resource:
    """The pods that a workload makes."""
    if resource["kind"] == "Pod":
        return resource
    spec = resource["spec"]["jobTemplate"]["spec"] if resource["kind"] == "CronJob" else resource["spec"]
    template: Resource = spec["template"]
    return template


@functools.cache
def rendered(*arguments: str) -> Chart:
    """The chart with these arguments; must not be changed."""
    return Chart(render(*arguments))


def in_profile(name: str, *sets: str) -> Chart:
    """The chart with a profile and `--set` arguments."""
    values = ("--values", str(CHART / "profiles" / f"{name}.yaml"))
    return rendered(*values, *(part for one in sets for part in ("--set", one)))


def with_values(*sets: str) -> Chart:
    """The chart with its defaults and `--set` arguments."""
    return rendered(*(part for one in sets for part in ("--set", one)))


EVERYTHING = (
    "workers.sink.enabled=true",
    "workers.items.enabled=true",
    "workers.sink.replicas=2",
    "workers.items.replicas=2",
    "events.dataset=s3://pagoda/dataset",
    "monitoring.serviceMonitors.enabled=true",
    "objectStorage.credentials.accessKeyId=a",
    "objectStorage.credentials.secretAccessKey=b",
    "pipelines.publish=resources",
    "monitoring.dashboard.enabled=true",
)


@functools.cache
def distinct() -> list[Resource]:
    """Every distinct resource of the defaults, of each profile, and of what no profile switches on."""
    charts = [with_values(), with_values(*EVERYTHING), *map(in_profile, PROFILES)]
    found = {json.dumps(resource, sort_keys=True): resource for chart in charts for resource in chart.resources}
    return list(found.values())
