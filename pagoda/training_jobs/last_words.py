"""What the pods of a job that failed said last, for the error of the step that followed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pagoda.cluster import Cluster
from pagoda.errors import PagodaError
from pagoda.training_jobs.job import JOB_LABEL

_LINES, _PODS = 20, 3
"""How much of it: when one process fails, the others say at length that they miss it."""


def last_words(cluster: Cluster, job: str) -> str:
    """The last lines of a job's pods, those that ended badly first, each under a line that says how it ended."""
    try:
        pods = cluster.find("v1", "pods", f"{JOB_LABEL}={job}")
    except PagodaError as error:
        return f"(its pods cannot be listed: {error})"
    chosen = sorted(pods, key=lambda pod: (not _ended_badly(pod), pod["metadata"]["name"]))[:_PODS]
    return "\n".join(_told(cluster, pod) for pod in chosen) or "(no pod of it is left)"


def _told(cluster: Cluster, pod: Mapping[str, Any]) -> str:
    name = pod["metadata"]["name"]
    container = pod["spec"]["containers"][0]["name"]
    try:
        lines = cluster.log(name, container, _LINES).strip() or "(it said nothing)"
    except PagodaError as error:
        lines = f"(its log cannot be read: {error})"
    return f"{name}, {', '.join(_ends(pod)) or pod.get('status', {}).get('phase', 'Unknown')}:\n{lines}"


def _ended_badly(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") == "Failed" or any(_ends(pod))


def _ends(pod: Mapping[str, Any]) -> Iterator[str]:
    """How its containers ended, now or before their last restart, where they ended badly."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            ended = state.get("terminated") or {}
            if ended.get("exitCode"):
                yield f"{ended.get('reason', 'Error')}, exit code {ended['exitCode']}"
                break
