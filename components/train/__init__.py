"""Learn one full version."""

from typing import Dict  # noqa: UP035 - what Kubeflow reads

from kfp.dsl import Dataset, Input, Model, Output

from components.base import component


@component
def train(  # noqa: PLR0917 - Kubeflow passes them by name
    window: Input[Dataset],
    config: str,
    teacher: str,
    teacher_scale: str,
    pods: int,
    cpu: str,
    memory: str,
    accelerators: int,
    accelerator: str,
    node_selector: Dict[str, str],  # noqa: UP006
    model: Output[Model],
) -> None:
    """Warm-start from the parent, shuffle the window, one epoch, all parameters.

    Args:
        window: What to learn, from load_window.
        config: Training configuration as YAML; empty: the defaults.
        teacher: Path or URL of a ranker's scores, where the configuration declares `distillation`.
        teacher_scale: What they are: `logit` or `probability`.
        pods: Among how many a job divides the processes that the configuration declares.
        cpu: Cores of each of them.
        memory: Memory of each.
        accelerators: GPUs of each.
        accelerator: Kubernetes' resource name of a GPU.
        node_selector: Labels of the nodes that they run on.
        model: The files of the version.
    """
    from pagoda.settings import load_settings
    from pagoda.training_jobs.job import PodNeeds
    from pagoda.training_jobs.pod import PodTask
    from pagoda.training_jobs.step import train as train_somewhere
    from pagoda.updates.full import FullUpdate

    settings = load_settings()
    update = FullUpdate.of(settings, window.metadata).describe()
    task = PodTask(update=update, config=config, teacher=teacher, teacher_scale=teacher_scale)
    needs = PodNeeds(cpu, memory, accelerators, accelerator, node_selector)
    model.uri = train_somewhere(task, settings, pods, needs, print)
