"""Say what the pod of the training step needs."""

from typing import Dict, NamedTuple  # noqa: UP035 - what Kubeflow reads

from components.base import component


@component
def place_training(
    config: str,
    cpu: str,
    memory: str,
    accelerators: int,
    node_selector: Dict[str, str],  # noqa: UP006
) -> NamedTuple("Place", cpu=str, memory=str, accelerators=int, node_selector=Dict[str, str]):  # type: ignore[valid-type]  # noqa: UP006
    """What training needs, where the step itself trains; little, where it makes a job and follows it.

    Args:
        config: Training configuration as YAML; empty: the defaults.
        cpu: Cores of a pod that trains.
        memory: Its memory.
        accelerators: Its GPUs.
        node_selector: Labels of the nodes that train.

    Returns:
        The same of the step's own pod.
    """
    from collections import namedtuple

    from pagoda.settings import load_settings
    from pagoda.training_jobs.step import makes_a_job

    Place = namedtuple("Place", ["cpu", "memory", "accelerators", "node_selector"])
    if makes_a_job(load_settings(), config):
        return Place("500m", "2Gi", 0, {})
    return Place(cpu, memory, accelerators, node_selector)
