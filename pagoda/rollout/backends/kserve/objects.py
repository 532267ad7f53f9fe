"""What is read from Kubernetes' objects, and how towers are named in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pagoda.generations.manifest import Manifest
from pagoda.rollout.backends.kserve.pod_refusals import refusals

SERVING = "serving.kserve.io/v1beta1"
SERVICES = "inferenceservices"
APPS = "apps/v1"
AUTOSCALING = "autoscaling/v2"
AUTOSCALERS = "horizontalpodautoscalers"
LEASES = "coordination.k8s.io/v1"
KNATIVE = "serving.knative.dev/v1"

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
TAGS_ANNOTATION = "serving.kserve.io/enable-tag-routing"
CLASS_ANNOTATION = "serving.kserve.io/autoscalerClass"
SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""KServe writes it on each predictor's Deployment and its pods (pkg/constants/constants.go:158 and inferenceservice/
components/predictor.go:297-306 at main of 2026-08-21), and Knative on a revision's Deployment (serving,
pkg/reconciler/revision/resources/meta.go:49-77). Of all that Kubernetes shows, this alone says which tower the pods
run; `status.observedGeneration` of the InferenceService is the stable Deployment's in Standard mode, Knative's
Service's in the other (pkg/apis/serving/v1beta1/inference_service_status.go:455, 635), and says nothing of it."""
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
REVISION_LABEL = "serving.knative.dev/revision"
_MODES = {"Standard": "Standard", "RawDeployment": "Standard", "Knative": "Knative", "Serverless": "Knative"}


@dataclass(frozen=True)
class ServedTower:
    """The user tower of one full version, as an InferenceService names it."""

    version: int
    uri: str

    @classmethod
    def of(cls, manifest: Manifest) -> ServedTower:
        """The tower of a generation; all generations of a full version share it."""
        return cls(manifest.full_version, manifest.tower.uri)

    @property
    def name(self) -> str:
        """`predictor.name`, from which KServe names the Deployment and the Service."""
        return f"v{self.version}"


@dataclass(frozen=True)
class Deployment:
    """The pods of one predictor."""

    uri: str = ""
    """`storageUri` that its template brings."""
    replicas: int = 0
    """Wanted at present; an autoscaler may have set it."""
    ready: int = 0
    settled: bool = False
    """Whether all of them run the present template."""
    refusal: str = ""
    """Why the cluster refuses to make more of them; empty when it does not."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Deployment:
        """Read a Deployment object."""
        metadata, status = found["metadata"], found.get("status", {})
        current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
        settled = current and status.get("updatedReplicas", 0) == status.get("replicas", 0)
        uri = (metadata.get("annotations") or {}).get(SOURCE_ANNOTATION, "")
        replicas, ready = found.get("spec", {}).get("replicas", 1), status.get("readyReplicas", 0)
        return cls(uri, replicas, ready, settled, next(refusals([found]), ""))


@dataclass(frozen=True)
class Autoscaler:
    """A HorizontalPodAutoscaler that KServe made for a predictor."""

    targets: Mapping[str, int] = field(default_factory=dict)
    """Percent of the request that a pod shall use, by resource."""
    used: Mapping[str, int] = field(default_factory=dict)
    """What its pods use together, in percent of one pod's request; empty while there are no metrics."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Autoscaler:
        """Read its object."""
        status = found.get("status") or {}
        pods = status.get("currentReplicas") or 0
        used = _utilization(status.get("currentMetrics"), "current")
        return cls(
            _utilization(found["spec"].get("metrics"), "target"), {name: pods * share for name, share in used.items()}
        )


@dataclass(frozen=True)
class InferenceService:
    """An InferenceService and the Deployments that KServe made of it."""

    found: Mapping[str, Any]
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    """By name; in Knative mode by revision."""
    autoscalers: Mapping[str, Autoscaler] = field(default_factory=dict)
    """By name, which is their Deployment's; none in Knative mode."""

    @property
    def name(self) -> str:
        """Of the object."""
        return str(self.found["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Of the object."""
        return str(self.found["metadata"]["namespace"])

    @property
    def mode(self) -> str:
        """`Standard` or `Knative`, or what else KServe calls it; empty where neither KServe nor an annotation has said.

        Then it is what KServe's configuration says, which differs (its chart: Knative) and is not ours to read.
        """
        said = self.status.get("deploymentMode") or self.annotations.get(MODE_ANNOTATION) or ""
        return _MODES.get(said, str(said))

    @property
    def autoscaler_class(self) -> str:
        """What sets the replicas: `hpa` (KServe's default), `none`, or something that is not KServe's."""
        return self.annotations.get(CLASS_ANNOTATION, "hpa")

    @property
    def annotations(self) -> Mapping[str, str]:
        """Of the object."""
        return self.found["metadata"].get("annotations") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """As KServe last wrote it."""
        return self.found.get("status") or {}

    @property
    def predictor(self) -> Mapping[str, Any]:
        """The stable predictor in Standard mode, the latest one in Knative mode."""
        return dict(self.found["spec"]["predictor"])

    @property
    def uri(self) -> str | None:
        """`storageUri` of that predictor."""
        return (self.predictor.get("model") or {}).get("storageUri")

    @property
    def canaries(self) -> Mapping[str, Mapping[str, Any]]:
        """Entries of `spec.canary` by predictor name."""
        return {entry["predictor"]["name"]: entry for entry in self.found["spec"].get("canary") or []}

    def running(self, tower: ServedTower) -> InferenceService:
        """The same with another tower as the stable predictor."""
        predictor = self.predictor
        model = {**(predictor.get("model") or {}), "storageUri": tower.uri}
        spec = {**self.found["spec"], "predictor": {**predictor, "name": tower.name, "model": model}}
        return replace(self, found={**self.found, "spec": spec})

    def deployment(self, predictor_name: str) -> Deployment:
        """The pods of a predictor in Standard mode."""
        return self.deployments.get(deployment_name(self.name, predictor_name), Deployment())

    def appliers(self, *path: str) -> list[str]:
        """Field managers that own a field of the spec by server-side apply."""
        keys = [f"f:{name}" for name in ("spec", *path)]
        owners = []
        for entry in self.found["metadata"].get("managedFields") or []:
            fields: Any = entry.get("fieldsV1", {})
            for key in keys:
                fields = fields.get(key) if isinstance(fields, Mapping) else None
            if fields is not None and entry.get("operation") == "Apply":
                owners.append(str(entry["manager"]))
        return owners


def _utilization(metrics: Sequence[Mapping[str, Any]] | None, part: str) -> dict[str, int]:
    """Percent of the request by resource, of an autoscaler's `current` or `target` values."""
    found = {}
    for metric in metrics or ():
        resource = metric.get("resource") or {}
        if (percent := (resource.get(part) or {}).get("averageUtilization")) is not None:
            found[str(resource["name"])] = int(percent)
    return found


def deployment_name(service: str, predictor_name: str) -> str:
    """`{isvc}-{predictor.name}-predictor`, without a name `{isvc}-predictor`; the Service in front is named alike."""
    return f"{service}-{predictor_name}-predictor" if predictor_name else f"{service}-predictor"


def is_ours(predictor_name: str) -> bool:
    """Whether a canary entry has a name that `ServedTower.name` gives."""
    return re.fullmatch(r"v\d+", predictor_name) is not None


def standard_url(service: str, namespace: str, full_version: int) -> str:
    """Where a full version's tower answers in Standard mode, whichever arm it is; in a cluster of any domain."""
    name = deployment_name(service, f"v{full_version}")
    return f"http://{name}.{namespace}.svc"
