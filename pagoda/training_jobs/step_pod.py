"""The pod of the step itself: what its image, settings and secrets are, a job's pods have too.

Kubeflow's driver puts the platform spec into the pod's container `main`: environment from ConfigMaps and secrets by
reference (kubeflow/pipelines 2.17.0, backend/src/v2/driver/k8s.go, extendPodSpecPatch), so that no secret's value is
read or written here. Its pod belongs to Argo's Workflow (`ownerReferences`), and the job does, too: what deletes the
run deletes the job. Labels of Argo's own are not taken: its controller would take the job's pods for steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pagoda.cluster import Cluster
from pagoda.errors import ConfigError, UnavailableError

POD_VARIABLE = "KFP_POD_NAME"
"""backend/src/v2/compiler/argocompiler/container.go: the pod's name, in the environment of each step."""
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MAIN, _OURS = "main", "app.kubernetes.io/"
_BY_REFERENCE = {"configMapKeyRef", "secretKeyRef"}


@dataclass(frozen=True, slots=True)
class StepPod:
    """What a job's pods take over from the step's."""

    name: str
    image: str
    env: Sequence[Mapping[str, Any]] = ()
    service_account: str = ""
    pull_secrets: Sequence[Mapping[str, str]] = ()
    tolerations: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> StepPod:
        """Read a Pod object."""
        metadata, spec = found["metadata"], found["spec"]
        (main,) = (each for each in spec["containers"] if each["name"] == _MAIN)
        env = [each for each in main.get("env") or [] if _BY_REFERENCE & set(each.get("valueFrom") or {})]
        owners = metadata.get("ownerReferences") or []
        owner: Mapping[str, Any] = next((each for each in owners if each.get("controller")), {})
        # To hold the Workflow back until the job is gone takes a right over Workflows; and it is no controller of it.
        named = {key: owner[key] for key in ("apiVersion", "kind", "name", "uid") if key in owner}
        # The scheduler adds its own, five minutes of a lost node, which the job's pods get anew.
        tolerations = [
            each for each in spec.get("tolerations") or [] if not each.get("key", "").startswith("node.kubernetes.io/")
        ]
        return cls(
            name=metadata["name"],
            image=main["image"],
            env=env,
            service_account=spec.get("serviceAccountName", ""),
            pull_secrets=spec.get("imagePullSecrets") or [],
            tolerations=tolerations,
            labels={key: value for key, value in metadata.get("labels", {}).items() if key.startswith(_OURS)},
            owner=named,
        )


def own_namespace() -> str:
    """The namespace of this pod.

    Raises:
        ConfigError: This is no pod.
    """
    if not _NAMESPACE_FILE.exists():
        raise ConfigError(
            "training.jobs is set, and this is no pod of a cluster: leave it empty on one machine, where the processes "
            "run beside each other"
        )
    return _NAMESPACE_FILE.read_text().strip()


def own_pod(cluster: Cluster) -> dict[str, Any]:
    """The pod that this process runs in.

    Raises:
        UnavailableError: It cannot be read.
    """
    name = os.environ.get(POD_VARIABLE, "")
    found = cluster.get("v1", "pods", name) if name else None
    if found is None:
        raise UnavailableError(
            f"pod {cluster.namespace}/{name or f'({POD_VARIABLE} is empty)'} of this step is not there"
        )
    return found
