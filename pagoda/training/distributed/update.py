"""A full update by as many processes as the configuration says: this one, or others that it starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.erasure.pending import NOBODY, Forgotten
from pagoda.errors import ConfigError, ConflictError, PagodaError, UnavailableError
from pagoda.processes.together import Command, run_together
from pagoda.storage.atomic import make_folder
from pagoda.training.device import choose_device
from pagoda.training.distributed.job import SharedUpdate, failures
from pagoda.training.distributed.one_machine import beside_each_other
from pagoda.training.distributed.progress import relay
from pagoda.training.distributed.refusals import refuse_undistributed
from pagoda.training.full.loop import Progress, Silent
from pagoda.training.full.refusals import refuse_what_is_not_there
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.update import full_update, open_version
from pagoda.training.torchrun import ENGINE, is_in_a_job, told_in, torchrun
from pagoda.version_files.full import FullVersionFiles

_ERRORS = 4_000
"""Last characters of what processes said that failed in an unknown way."""


def update_by_processes(
    dataset: Dataset,
    window: Window,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    out: Path,
    *,
    beside: SideInputs = NOTHING_BESIDE,
    forgotten: Forgotten = NOBODY,
    progress: Progress | None = None,
    checkpoints: Path | None = None,
) -> FullVersionFiles:
    """Train a full version by `config.distributed.processes`; arguments, result and errors as for `full_update`.

    Of several processes the result is the same to the bit for the same number of them, and within rounding for another;
    but for what is dropped at random, which each draws for itself.

    Raises:
        ConfigError: Several processes cannot train what the configuration asks for.
        UnavailableError: A process was killed; the same call goes on where all were.
    """
    if config.distributed.processes == 1:
        return full_update(
            dataset,
            window,
            parent,
            config,
            out,
            beside=beside,
            forgotten=forgotten,
            progress=progress,
            checkpoints=checkpoints,
        )
    refuse_undistributed(config)
    choose_device(config.device)
    refuse_what_is_not_there(config, dataset, window, beside)
    if beside.relevance is not None:
        raise ConfigError("distributed.processes is above 1, and one process alone asks what is irrelevant so far")
    if out.exists():
        raise ConflictError(f"{out} exists already; another writer was first")
    make_folder(out.parent)
    with _job_folder(out) as folder:
        job = SharedUpdate(
            data=dataset.path,
            window=window,
            parent=(parent.folder, parent.state) if parent else None,
            config=config.to_yaml(),
            out=out,
            checkpoints=checkpoints,
            forgotten=forgotten.known,
        )
        file = job.write(folder, forgotten)
        _run(file, config.distributed.processes, progress or Silent())
    return open_version(out)


@contextmanager
def _job_folder(out: Path) -> Iterator[Path]:
    """Where the processes read what they learn; in a cluster's job at a place that its other pods know."""
    if is_in_a_job():
        folder = told_in(out).parent
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        yield folder
        return
    # Not in the system's own folder for such, which processes on other machines do not see.
    with TemporaryDirectory(dir=out.parent, prefix=f".job-{out.name}-") as made:
        yield Path(made)


def _run(file: Path, processes: int, progress: Progress) -> None:
    """Start the processes of this machine, and wait for all."""
    if is_in_a_job():
        commands = [Command(torchrun(file), {"PYTHONWARNINGS": "ignore"})]
    else:
        commands = beside_each_other(processes, ENGINE, str(file), folder=file.parent)
    said = file.with_name("said.txt")
    ended = run_together(commands, said, partial(relay, progress=progress))
    if any(ended.values()):
        raise _failure(file.parent, ended, said.read_text(), processes)


def _failure(folder: Path, ended: dict[int, int], said: str, processes: int) -> PagodaError:
    if told := failures(folder):
        return told[0]
    for rank, status in ended.items():
        if status < 0:
            return UnavailableError(
                f"process {rank} of the {processes} that trained was ended by signal {-status}, and the others with it "
                "(signal 9: by hand, or for want of memory); run the same again, and all go on from their last "
                "checkpoint"
            )
    return UnavailableError(f"the {processes} processes that trained ended without a version:\n{said[-_ERRORS:]}")
