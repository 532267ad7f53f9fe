"""The user tower's pod as KServe (main of 2026-08-21) makes it of the chart's InferenceService and ServingRuntime."""

from __future__ import annotations

from typing import Any

from .charts import Chart

STORAGE_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
"""charts/kserve-resources/values.yaml:30-37, in the ClusterStorageContainer `default`. That of the plain manifests
(config/storagecontainers/default.yaml) has none."""

QUEUE_PROXY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""knative/serving pkg/reconciler/revision/resources/queue.go:80-90 (98e5ef9)."""

_OF_RUNTIME = ("nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets")
"""pkg/controller/v1beta1/inferenceservice/utils/utils.go:267-276; a predictor's own win."""
_OF_KSERVE = {
    *("model", "name", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"),
    *("deploymentStrategy", "containerConcurrency", "timeout", "canaryTrafficPercent"),
}


def tower_pod(chart: Chart, storage_container: dict[str, Any] | None) -> dict[str, Any]:
    """Spec of the pod, its storage initializer with this security context."""
    runtime = chart.one("ServingRuntime", "pagoda-tower")["spec"]
    predictor = chart.one("InferenceService", "pagoda-tower")["spec"]["predictor"]
    pod = {key: runtime[key] for key in _OF_RUNTIME if key in runtime}
    pod |= {key: value for key, value in predictor.items() if key not in _OF_KSERVE}
    # pkg/utils/storage.go:311-334, with the storage container merged in: storage_initializer_injector.go:638-645.
    initializer: dict[str, Any] = {"name": "storage-initializer"}
    if storage_container is not None:
        initializer["securityContext"] = storage_container
    models = {"name": "kserve-provision-location", "emptyDir": {}}
    proxy = [{"name": "queue-proxy", "securityContext": QUEUE_PROXY}] if "containerConcurrency" in predictor else []
    return {
        **pod,
        "volumes": [*pod["volumes"], models],
        "initContainers": [initializer],
        "containers": [*runtime["containers"], *proxy],
    }
