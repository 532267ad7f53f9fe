"""Everything that a learner changes beside the ID tables, as named tensors; and where all of it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pagoda.training.learner.learner import Learner

_TOWERS, _OBJECTIVE, _OPTIMISER, _CANDIDATES = "towers", "objective", "optimiser", "candidates"


def tensors_of(learner: Learner) -> dict[str, Tensor]:
    """By name: what towers, objective, the dense optimiser and the candidates of earlier batches are made of."""
    tensors = {f"{part}.{name}": value for part, module in _modules(learner) for name, value in _state(module)}
    for number, parameter in enumerate(_optimised(learner)):
        for name, value in learner.optimiser.state[parameter].items():
            tensors[f"{_OPTIMISER}.{number}.{name}"] = value
    for number, member in enumerate(learner.members):
        state = member.candidates.state_dict()
        tensors |= {f"{_CANDIDATES}.{number}.{name}": value for name, value in state.items()}
    return tensors


def restore(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `tensors_of` gave for a learner that was made alike."""
    for part, module in _modules(learner):
        module.load_state_dict(_under(tensors, part))
    for number, parameter in enumerate(_optimised(learner)):
        state = _under(tensors, f"{_OPTIMISER}.{number}")
        learner.optimiser.state[parameter] = {name: _beside(parameter, value) for name, value in state.items()}
    for number, member in enumerate(learner.members):
        member.candidates.load_state_dict(_under(tensors, f"{_CANDIDATES}.{number}"))


@contextmanager
def on_device(learner: Learner, device: torch.device) -> Iterator[None]:
    """Have all of a learner on a device inside, and where it was again afterwards."""
    before = learner.device
    _move(learner, device)
    try:
        yield
    finally:
        _move(learner, before)


def _move(learner: Learner, device: torch.device) -> None:
    if learner.device == device:
        return
    learner.device = device
    for _, module in _modules(learner):
        module.to(device)
    for table in (learner.users, learner.items):
        table.rows, table.squares = table.rows.to(device), table.squares.to(device)
    for parameter in _optimised(learner):
        state = learner.optimiser.state[parameter]
        state.update({name: _beside(parameter, value) for name, value in state.items()})


def _modules(learner: Learner) -> Iterator[tuple[str, nn.Module]]:
    yield _TOWERS, learner.towers
    yield _OBJECTIVE, learner.objective


def _state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.state_dict().items()


def _optimised(learner: Learner) -> Iterator[nn.Parameter]:
    return (parameter for group in learner.optimiser.param_groups for parameter in group["params"])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _beside(parameter: Tensor, value: Tensor) -> Tensor:
    """Numbers of steps stay in main memory, where AdamW reads them; moments lie beside their parameter."""
    return value.to(parameter.device) if value.ndim else value
