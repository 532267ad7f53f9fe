"""Processes of one machine that learn together: what each is told as it is started, and where they meet.

Not by torchrun: wherever its agent keeps what it knows itself, it opens a store for its processes that listens on all
addresses and asks nobody who they are (torch 2.13.0, distributed/elastic/rendezvous/dynamic_rendezvous.py:1126, 1214),
and with `--standalone` it unpickles what stands there (:444): whoever reaches the port runs code as this user.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from pagoda.access.permissions import OTHERS
from pagoda.errors import ConfigError
from pagoda.processes.together import Command

_MEETING = "ranks"
_LOOPBACK = "lo"


def beside_each_other(processes: int, module: str, *arguments: str, folder: Path) -> list[Command]:
    """The commands of so many processes of a module, which `joined_ranks` joins.

    Args:
        processes: How many.
        module: Gets the file where they meet as its last argument.
        arguments: Of each, before that.
        folder: For that file; it is this user's alone, and new: a file that others left there is met, too.

    Raises:
        ConfigError: Others may enter the folder.
    """
    _refuse_open(folder)
    words = [sys.executable, "-m", module, *arguments, str(folder / _MEETING)]
    # One thread each, unless somebody says how many, as torchrun has it (torch 2.13.0, distributed/run.py:872).
    of_all = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        # By itself each library takes the host's address, which others reach.
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
        "PYTHONWARNINGS": "ignore",
    }
    return [Command(words, {**of_all, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(processes)]


def _refuse_open(folder: Path) -> None:
    state = folder.stat()
    if state.st_uid != os.geteuid() or state.st_mode & OTHERS:
        raise ConfigError(
            f"{folder}: others may enter it (mode {stat.S_IMODE(state.st_mode):o}), who could join the processes that "
            "train there; write the version where the file system keeps permissions, or train by one process"
        )
