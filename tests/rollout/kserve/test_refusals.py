"""Pods that the cluster refuses are told of, with the reason and what to do."""

from __future__ import annotations

from typing import Any

from pagoda.rollout.backends.kserve.pod_refusals import refusals

# As pod-security-admission's admission.go:481 and check_seccompProfile_restricted.go write it (Kubernetes 1.36).
RESTRICTED = (
    'pods "tower-v1-predictor-5b8-x2x" is forbidden: violates PodSecurity "restricted:latest": seccompProfile (pod or '
    'container "storage-initializer" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)
QUOTA = 'pods "tower-v1-predictor-5b8-x2x" is forbidden: exceeded quota: cpu, requested: requests.cpu=4'


def deployment(*conditions: dict[str, Any]) -> dict[str, Any]:
    """One whose pods run, but for these conditions."""
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "…"}
    return {"metadata": {"name": "tower-v1-predictor"}, "status": {"conditions": [available, *conditions]}}


def failure(message: str, status: str = "True") -> dict[str, Any]:
    return {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": message}


def test_should_say_why_pods_are_refused_and_what_kserve_lacks() -> None:
    (said,) = refusals([deployment(failure(RESTRICTED))])
    assert said.startswith(f"the cluster refuses to make pods of tower-v1-predictor: {RESTRICTED}")
    assert "kserve.storage.containerSecurityContext" in said


def test_should_not_blame_kserve_for_a_quota() -> None:
    (said,) = refusals([deployment(failure(QUOTA))])
    assert said.endswith(QUOTA)


def test_should_be_silent_of_pods_that_are_made_and_of_what_is_over() -> None:
    new = {"metadata": {"name": "tower-v2-predictor"}}
    assert not list(refusals([deployment(), deployment(failure(QUOTA, "False")), new]))
