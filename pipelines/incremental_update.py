"""The incremental update as a Kubeflow pipeline: one task, since a pod a step would cost more than the work."""

from kfp import dsl

from components.incremental_update import incremental_update as incremental_update_task
from pipelines.kubernetes_platform import StepResources, on_cluster


@dsl.pipeline(
    name="incremental-update",
    description="Every tens of minutes: interactions in time order, only user-ID rows; served in seconds.",
)
def incremental_update(
    dataset: str = "", now: str = "", release: str = "auto", cpu: str = "1", memory: str = "4Gi"
) -> str:
    """Learn what happened since the watermark, for every full version that answers requests, and serve it.

    Args:
        dataset: Folder or URL of the dataset; empty: the one that events are written into (`events.dataset`).
        now: The present, ISO 8601 with zone; empty: the clock's.
        release: `rollout`, `now`, or `auto`: by a rollout where a driver runs.
        cpu: Cores of the task on a cluster.
        memory: Memory of the task on a cluster.

    Returns:
        The ids of the new generations, separated by commas; empty when nothing had happened.
    """
    task = on_cluster(incremental_update_task(dataset=dataset, now=now, release=release), StepResources(cpu, memory))
    return task.outputs["Output"]
