"""The processes that train one version together, as one of them sees the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.nn import functional
from typing_extensions import override

from pagoda.training.device import choose_device
from pagoda.training.share import Share

_PATIENCE = timedelta(minutes=30)
"""For who is slow: reading a window again after a kill is the longest that others wait for one."""


class TrainingRanks:
    """A group of processes; what is called here, all of them have to call, in the same order."""

    def __init__(self, device: torch.device) -> None:
        """Take the default group, which is there."""
        self.share = Share(distributed.get_rank(), distributed.get_world_size())
        self.device = device

    def total(self, tensor: Tensor) -> Tensor:
        """Make of a tensor, in place, the sum of those of all processes; the same bits for each."""
        distributed.all_reduce(tensor)
        return tensor

    def agreed(self, said: bool) -> bool:
        """What the first process says."""
        flag = torch.tensor(int(said), device=self.device)
        distributed.broadcast(flag, 0)
        return bool(flag)

    def of_each(self, value: Any) -> list[Any]:
        """What each process gives, in their order, as JSON; for little, and seldom.

        PyTorch's own would unpickle whatever comes from a port.
        """
        said = torch.frombuffer(bytearray(orjson.dumps(value)), dtype=torch.uint8).to(self.device)
        sizes = self._side_by_side(torch.tensor([len(said)], device=self.device)).flatten().tolist()
        every = self._side_by_side(functional.pad(said, (0, max(sizes) - len(said)))).cpu().numpy()
        return [orjson.loads(row[:size].tobytes()) for row, size in zip(every, sizes, strict=True)]

    def _side_by_side(self, part: Tensor) -> Tensor:
        """What each process has, all alike in shape and type, [processes, …]."""
        every = part.new_empty(self.share.count, *part.shape)
        distributed.all_gather_into_tensor(every.view(-1, *part.shape[1:]), part)
        return every

    def meet(self) -> None:
        """Wait for all."""
        self.of_each(None)

    def gathered(self, part: Tensor, size: int) -> Tensor:
        """All of `size` vectors, float32 [size, D], of which this process has `part`, its `Share.part` of them.

        Of its own part each gets the sum of the gradients that all have.
        """
        if self.share.count == 1:
            return part
        each = self.share.each(size)
        padded = functional.pad(part, (0, 0, 0, each - len(part)))
        every: Tensor = _Gathered.apply(padded, self.share)  # type: ignore[no-untyped-call]
        return every[:size]


class _Gathered(torch.autograd.Function):
    """`torch.distributed.nn.all_gather` scatters gradients one after another on gloo: ten times as long at two."""

    @staticmethod
    @override
    def forward(ctx: Any, part: Tensor, share: Share) -> Tensor:
        ctx.share = share
        every = part.new_empty(share.count * len(part), *part.shape[1:])
        distributed.all_gather_into_tensor(every, part.contiguous())
        return every

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        mine = torch.empty_like(gradient)
        distributed.all_to_all_single(mine, gradient.contiguous())
        return mine.view(ctx.share.count, -1, *gradient.shape[1:]).sum(0), None


@contextmanager
def joined_ranks(device_name: Any, meeting: Path | None = None) -> Iterator[TrainingRanks]:
    """Join the processes that were started beside this one: over NCCL on accelerators, gloo elsewhere.

    Which of them this is, stands in its environment, as torchrun or `beside_each_other` put it there.

    Args:
        device_name: Where each computes.
        meeting: A file where those of one machine find each other; None: at the address that torchrun tells.

    Raises:
        ConfigError: The device is not there.
    """
    device = choose_device(device_name)
    _keep_to_own_cores()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE, **_met(meeting))
    try:
        yield TrainingRanks(device)
    finally:
        distributed.destroy_process_group()


def _met(meeting: Path | None) -> dict[str, Any]:
    if meeting is None:
        return {}
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return {"init_method": meeting.absolute().as_uri(), "rank": rank, "world_size": count}


def _keep_to_own_cores() -> None:
    """Give each process of a machine as many cores of its own: on shared ones, each step waits for who got none."""
    place, count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= count > 1:
        os.sched_setaffinity(0, cores[place::count])
