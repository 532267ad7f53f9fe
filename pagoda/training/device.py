"""Where tensors are computed, and in which precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from pagoda.config.device import DeviceName, Precision
from pagoda.errors import ConfigError

T = TypeVar("T")


def choose_device(name: DeviceName) -> torch.device:
    """The device that a configuration means: an accelerator where there is one, unless it names another.

    Raises:
        ConfigError: It names one that this machine lacks.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("device is cuda, but PyTorch finds no CUDA device on this machine; set device: auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def autocasts(precision: Precision, device: torch.device) -> bool:
    """Whether the towers compute in bfloat16; `auto` does on an accelerator. Rows and optimisers stay float32."""
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def moved(value: T, device: torch.device) -> T:
    """The same with all tensors in it on `device`: of a tensor, a dict, a dataclass, or a tuple of these."""
    if device.type == "cpu":
        return value
    return cast("T", _moved(value, device))


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    if type(value) is tuple:
        return tuple(_moved(each, device) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _moved(getattr(value, each.name), device) for each in fields(value)})
    return value


@contextmanager
def few_threads() -> Iterator[None]:
    """Let a tensor operation use half the cores.

    A step's operations are short, and each waits for its slowest thread. With a thread on every core, any other process
    stalls them all: on 2 busy cores, training was seen to take 12 times as long with 2 threads as with 1. The other
    half prepares batches and computes the softmax, whose threads wait for each other once a step.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
