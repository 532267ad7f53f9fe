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


def given(values: dict[str, Any], *sets: str) -> Chart:
    """The chart with these values over its defaults, and `--set` arguments."""
    trees = (part for key, value in values.items() for part in ("--set-json", f"{key}={json.dumps(value)}"))
    return rendered(*trees, *(part for one in sets for part in ("--set", one)))


def composed(chart: Chart) -> Iterator[tuple[str, Resource]]:
    """Name and pod of every part.

    Of the tower's, KServe takes a few fields from the runtime and lays the predictor over them (KServe main of
    2026-08-21, pkg/controller/v1beta1/inferenceservice/utils/utils.go:264-297 and components/predictor.go:501-522).
    """
    for name, template in chart.pods():
        if not name.startswith("ServingRuntime/"):
            yield name, template
    service, runtime = (
        chart.one("InferenceService", "pagoda-tower"),
        chart.one("ServingRuntime", "pagoda-tower")["spec"],
    )
    kept = ("nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets", "containers")
    spec = {key: runtime[key] for key in kept if key in runtime} | service["spec"]["predictor"]
    metadata = {
        key: runtime.get(key, {}) | service["metadata"].get(key, {}) | service["spec"]["predictor"].get(key, {})
        for key in ("labels", "annotations")
    }
    yield "InferenceService/pagoda-tower", {"metadata": metadata, "spec": spec}


WORKERS = ("workers.sink.enabled=true", "workers.items.enabled=true", "events.dataset=s3://pagoda/dataset")
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
    "pipelines.trainJob.enabled=true",
    "monitoring.dashboard.enabled=true",
)


OTHER_SERVERS = (
    *WORKERS,
    *("tower.runtime=kserve", "index.backend=elasticsearch", "elasticsearch.existingSecret=search"),
    "monitoring.serviceMonitors.enabled=true",
)
"""Tower and search elsewhere than on TorchServe and Milvus, or in recall's pods."""


FOR_ALL: dict[str, Any] = {
    "labels": {"cost-centre": "42"},
    "annotations": {"owner": "recall-team"},
    "podLabels": {"team": "recall"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
    "service": {"annotations": {"mesh": "on"}, "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "ours"}}],
    "extraVolumes": [{"name": "ours", "secret": {"secretName": "ours"}}],
    "extraVolumeMounts": [{"name": "ours", "mountPath": "/ours", "readOnly": True}],
    "podSecurityContext": {"supplementalGroups": [30000]},
    "securityContext": {"seLinuxOptions": {"level": "s0:c1,c2"}},
    "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["s3.corp"]}],
    "dnsPolicy": "Default",
    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    "nodeSelector": {"pool": "recall"},
    "tolerations": [{"key": "recall", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "rack", "labelSelector": {"matchLabels": {"team": "recall"}}}}
    ]}},
    "priorityClassName": "high",
}  # fmt: skip
"""A value for every key of `common`."""


def fitted() -> Chart:
    """The chart in a cluster that asks for something of each kind."""
    ingress = {"enabled": True, "className": "traefik", "hostnames": ["recall.example.com"]}
    account = {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/recall"}}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ours"},
        "data": {"who": "{{ .Release.Name }}"},
    }
    values = {
        "common": FOR_ALL,
        "recall": {"ingress": ingress, "serviceAccount": account},
        "caBundle": {"configMap": "corporate-ca"},
        "images": {"mirror": "registry.corp:5000/mirror", "pullSecrets": ["registry-corp"]},
        "extraObjects": [config],
    }
    return given(
        values, *WORKERS, "objectStorage.credentials.accessKeyId=a", "objectStorage.credentials.secretAccessKey=b"
    )


@functools.cache
def distinct() -> list[Resource]:
    """Every distinct resource of the defaults, of each profile, and of what no profile switches on."""
    charts = [with_values(), with_values(*EVERYTHING), fitted(), with_values(*OTHER_SERVERS)]
    charts += map(in_profile, PROFILES)
    found = {json.dumps(resource, sort_keys=True): resource for chart in charts for resource in chart.resources}
    return list(found.values())
