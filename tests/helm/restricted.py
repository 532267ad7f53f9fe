"""The *restricted* Pod Security Standard, as admission checks it, for the fields that Pagoda's pods use.

After k8s.io/pod-security-admission/policy/check_*.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
}
_PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: Spec) -> list[str]:
    """What admission has against a pod's spec, one sentence each."""
    return [*_of_pod(pod), *(problem for one in _containers(pod) for problem in _of_container(pod, one))]


def _containers(pod: Spec) -> Iterator[Spec]:
    for part in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(part, [])


def _of_pod(pod: Spec) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"pod must not set {key}"
    for volume in pod.get("volumes", []):
        if kinds := set(volume) - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} uses {', '.join(sorted(kinds))}"
    context = pod.get("securityContext", {})
    if context.get("runAsUser") == 0:
        yield "pod must not set runAsUser=0"
    if context.get("sysctls"):
        yield "pod must not set sysctls"


def _of_container(pod: Spec, container: Spec) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    whole = pod.get("securityContext", {})
    capabilities = context.get("capabilities", {})
    if context.get("privileged"):
        yield f"{name} must not set privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name} must set allowPrivilegeEscalation=false"
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name} must drop ALL capabilities"
    if context.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield f"{name} must set runAsNonRoot=true"
    if context.get("runAsUser") == 0:
        yield f"{name} must not set runAsUser=0"
    if context.get("seccompProfile", whole.get("seccompProfile", {})).get("type") not in _PROFILES:
        yield f"{name} must set seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{name} must not set hostPort"
