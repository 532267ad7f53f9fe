"""The full update as a Kubeflow pipeline: interactions in, a served generation out."""

from kfp import dsl

from components.build_index import build_index
from components.evaluate import evaluate
from components.export_vectors import export_vectors
from components.load_window import load_window
from components.package_tower import package_tower
from components.place_training import place_training
from components.publish import publish
from components.register import register
from components.train import train
from pipelines.kubernetes_platform import LARGE, Accelerators, StepResources, on_cluster


@dsl.pipeline(
    name="full-update", description="Daily: warm start, shuffle, one epoch, all parameters; new tower and item vectors."
)
def full_update(  # noqa: PLR0917 - Kubeflow passes them by position
    dataset: str = "",
    window_end: str = "",
    config: str = "",
    catch_up: str = "",
    release: str = "auto",
    teacher: str = "",
    teacher_scale: str = "logit",
    export_shards: int = 1,
    train_cpu: str = "4",
    train_memory: str = "16Gi",
    train_accelerators: int = 0,
    train_accelerator: str = "nvidia.com/gpu",
    train_node_selector: dict[str, str] = {},  # noqa: B006 - Kubeflow makes it a parameter
    train_pods: int = 1,
) -> str:
    """Learn the interactions since the champion's window and bring what was learned to the users.

    Every step is keyed by window and parent version: a run that was killed is simply run again.

    Args:
        dataset: Folder or URL of the dataset; empty: the one that events are written into (`events.dataset`).
        window_end: End of the window, ISO 8601 with zone; empty: the last interaction.
        config: Training configuration as YAML; empty: the defaults.
        catch_up: Before it is offered, the version learns on its own base up to this moment, ISO 8601 with zone, or
            `now` for the newest interaction; empty: not at all.
        export_shards: Parts in which the item vectors are exported, on a cluster each by a pod of its own: one for
            every ten million items.
        release: `rollout`, `now`, or `auto`: by a rollout where a driver runs. The first generation of all has nothing
            to be compared with and is released at once.
        teacher: Path or URL of a ranker's scores (Parquet), where the configuration declares `distillation`.
        teacher_scale: What these scores are: `logit` or `probability`.
        train_cpu: Cores of a pod that trains, on a cluster.
        train_memory: Memory of a pod that trains, on a cluster.
        train_accelerators: GPUs of a pod that trains, on a cluster; 0: none.
        train_accelerator: Kubernetes' resource name of a GPU.
        train_node_selector: Labels of the nodes that train, as a JSON object; empty: any.
        train_pods: Pods among which a job divides the processes of a configuration with `distributed.processes`, where
            the installation trains by jobs; several need a volume that they share.

    Returns:
        The id of the generation that serves, or whose rollout began.
    """
    loaded = on_cluster(load_window(dataset=dataset, window_end=window_end, export_shards=export_shards))
    window = loaded.outputs["window"]
    needs = {"cpu": train_cpu, "memory": train_memory, "accelerators": train_accelerators}
    # Not beside the first step: where that has nothing to learn, nothing else begins.
    placed = place_training(config=config, node_selector=train_node_selector, **needs).after(loaded)
    place = on_cluster(placed).outputs
    learning = train(
        window=window,
        config=config,
        teacher=teacher,
        teacher_scale=teacher_scale,
        pods=train_pods,
        accelerator=train_accelerator,
        node_selector=train_node_selector,
        **needs,
    )
    gpus = Accelerators(place["accelerators"], train_accelerator, place["node_selector"])
    trained = on_cluster(learning, StepResources(place["cpu"], place["memory"]), gpus)
    metrics = on_cluster(evaluate(window=window, model=trained.outputs["model"]), LARGE).outputs["metrics"]
    registered = on_cluster(register(window=window, model=trained.outputs["model"], metrics=metrics))
    version = registered.outputs["version"]
    with dsl.ParallelFor(loaded.outputs["Output"], name="export-shards") as shard:
        exported = on_cluster(export_vectors(shard=shard, window=window, version=version), LARGE)
    vectors = dsl.Collected(exported.outputs["vectors"])
    collection = on_cluster(build_index(window=window, version=version, vectors=vectors), LARGE).outputs["collection"]
    archive = on_cluster(package_tower(window=window, version=version)).outputs["archive"]
    published = on_cluster(
        publish(window=window, archive=archive, collection=collection, catch_up=catch_up, release=release)
    )
    return published.outputs["Output"]
