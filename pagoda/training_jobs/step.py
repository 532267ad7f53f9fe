"""The pipeline's training step: in its own pod, or by a job that it follows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import xxhash

from pagoda.cluster import Cluster
from pagoda.config.training import parse_config
from pagoda.settings import Settings
from pagoda.training_jobs.following import Following
from pagoda.training_jobs.job import JobDraft, PodNeeds
from pagoda.training_jobs.kinds import kind_in
from pagoda.training_jobs.pod import PodTask
from pagoda.training_jobs.step_pod import StepPod, own_namespace, own_pod
from pagoda.updates import full_steps
from pagoda.updates.full import MODEL, FullUpdate


def makes_a_job(settings: Settings, config: str) -> bool:
    """Whether a training file's processes run in a job's pods rather than in the step's own.

    Raises:
        ConfigError: `config` is no training file.
    """
    return parse_config(config).distributed.processes > 1 and bool(settings.training.jobs)


def train(task: PodTask, settings: Settings, pods: int, needs: PodNeeds, say: Callable[[str], None]) -> str:
    """Learn a window, wherever that is done, and return where the version is.

    Args:
        task: What is learned, and how.
        settings: Of the installation.
        pods: Among how many a job divides its processes.
        needs: Of each of them.
        say: Told how far a job is.

    Raises:
        ConfigError: What is wanted contradicts itself, or the cluster has no such jobs.
        PagodaError: Training failed.
    """
    update = FullUpdate.of(settings, task.update)
    if makes_a_job(settings, task.config):
        cluster = Cluster(own_namespace())
        kind = kind_in(cluster, settings.training.jobs)
        draft = draft_of(update, task, StepPod.of(own_pod(cluster)), pods, needs)
        Following(cluster, kind, draft, partial(update.outputs.done, MODEL), say).run()
        return update.outputs.uri(MODEL, "version")
    return full_steps.train(update, task.config, task.teacher, task.teacher_scale).as_uri()


def draft_of(update: FullUpdate, task: PodTask, step: StepPod, pods: int, needs: PodNeeds) -> JobDraft:
    """The job of an update.

    Its name is of the update and of where its outputs are, so that installations of one namespace do not meet; 29
    characters, since JobSet makes longer ones of it, for Jobs and pods, which must not exceed 63 either.
    """
    place = f"{update.settings.artifacts_url} {update.key}"
    chosen = update.settings.training
    processes = parse_config(task.config).distributed.processes
    return JobDraft(
        name=f"pagoda-train-{xxhash.xxh3_64_hexdigest(place.encode())}",
        key=update.key,
        content=xxhash.xxh3_128_hexdigest(task.model_dump_json().encode()),
        processes=processes,
        pods=pods,
        command=task.command,
        needs=needs,
        step=step,
        queue=chosen.queue,
        claim=chosen.claim,
        runtime=chosen.runtime,
    )
