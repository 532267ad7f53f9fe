"""Pods that the cluster refuses to make: by its Pod Security Standard, a quota, a policy.

Nobody tells the InferenceService. The ReplicaSet's controller puts the reason into a condition of the ReplicaSet
(Kubernetes 1.36, pkg/controller/replicaset/replica_set_utils.go:124-132), and the Deployment's controller takes it over
(pkg/controller/deployment/progress.go:99-122), so the right to list Deployments is enough. A namespace's own labels,
which would tell beforehand, belong to the cluster and are no Role's to grant; and without a version the tower's pods
have no storage initializer, so that only the first rollout meets a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_INITIALIZER = "storage-initializer"
_REMEDY = (
    "; KServe's storage initializer needs a seccomp profile and more: "
    "kserve.storage.containerSecurityContext at KServe's install (docs/kubernetes.md)"
)


def refusals(deployments: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One sentence for each Deployment whose pods are refused, with the cluster's reason."""
    for found in deployments:
        for condition in (found.get("status") or {}).get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                reason = str(condition.get("message") or condition.get("reason") or "no reason given")
                remedy = _REMEDY if "PodSecurity" in reason and _INITIALIZER in reason else ""
                yield f"the cluster refuses to make pods of {found['metadata']['name']}: {reason}{remedy}"
