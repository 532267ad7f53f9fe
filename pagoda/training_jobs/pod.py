"""What each pod of a training job runs: `python -m pagoda.training_jobs.pod TASK`.

The first pod does what a step that trains does: it brings the parent, has the processes of all pods learn the window,
shows their progress in MLflow, and shares the version. The others lend their processes. A pod that was lost and made
again finds in its home how far training was.
"""

from __future__ import annotations

import os
import sys

from pydantic import BaseModel, ConfigDict

from pagoda.errors import PagodaError
from pagoda.settings import Settings, load_settings
from pagoda.training.torchrun import is_first_pod, told_in, torchrun
from pagoda.updates import full_steps
from pagoda.updates.full import MODEL, FullUpdate


class PodTask(BaseModel):
    """What the pods of a job train; it holds no secret, since who may read jobs reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    update: dict[str, str]
    """As `FullUpdate.describe` gives it."""
    config: str
    teacher: str = ""
    teacher_scale: str = "logit"

    @property
    def command(self) -> tuple[str, ...]:
        """Of each pod."""
        return ("python", "-m", "pagoda.training_jobs.pod", self.model_dump_json())


def run(settings: Settings, task: PodTask) -> None:
    """Do this pod's part; nothing is left to do where the update's version is there already.

    In a pod that is not the first this does not return: torchrun takes the process over, and waits for the first one.

    Raises:
        PagodaError: Training failed.
    """
    update = FullUpdate.of(settings, task.update)
    if update.outputs.done(MODEL):
        return
    if is_first_pod():
        full_steps.train(update, task.config, task.teacher, task.teacher_scale)
        return
    command = torchrun(told_in(update.scratch / MODEL))
    os.execv(command[0], command)  # noqa: S606 - torchrun takes its place, and the signals that are meant for it


if __name__ == "__main__":
    try:
        run(load_settings(), PodTask.model_validate_json(sys.argv[1]))
    except PagodaError as error:
        sys.exit(f"{type(error).__name__}: {error}")
