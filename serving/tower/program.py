"""The user tower's exported program, made quick for small batches.

The artifact is the program of `torch.export`, without the model's code, and read without pickle. Called as a module, it
checks every input against its declaration in Python, which takes longer than the tower itself; traced once when it is
loaded, it runs without.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pagoda.model.program_file import read_program

Program = Callable[..., torch.Tensor]
_TRACE: Callable[..., Any] = torch.jit.trace
_FREEZE: Callable[..., Any] = torch.jit.freeze
_TOLERANCE = 1e-6
_BATCHES = (1, 2, 5)
_logger = logging.getLogger(__name__)
_Inputs = tuple[Any, ...]


def load_program(path: Path) -> Program:
    """Load a program of the fields of `UserInputs`, one by one, for any batch size.

    Raises:
        IntegrityError: It cannot be read, or holds something that loading would run.
    """
    exported = read_program(path)
    module = exported.module()
    if exported.example_inputs is None:
        return module
    example = exported.example_inputs[0]
    with torch.inference_mode(), warnings.catch_warnings():
        # What depends on values is found by comparing.
        warnings.simplefilter("ignore")
        traced = _trace(module, example)
        if all(_agree(module, traced, _resized(example, rows)) for rows in _BATCHES):
            return traced
    # What is decided by values cannot be traced, a recurrent unit's number of steps, say.
    _logger.warning("%s: cannot be traced; it runs as exported, which is slower", path)
    return module


def _trace(module: torch.nn.Module, example: _Inputs) -> Program:
    *arrays, features = example
    if features:
        return _frozen(_TRACE(module, example_inputs=example, strict=False, check_trace=False))
    # The tracer takes no empty dictionary, which is what a tower without features is given.
    bare = _frozen(_TRACE(_Featureless(module), example_inputs=tuple(arrays), strict=False, check_trace=False))
    return lambda *inputs: bare(*inputs[:-1])


def _frozen(traced: Any) -> Program:
    """The same without looking its weights up at each call: half of its nodes did that."""
    frozen: Program = _FREEZE(traced.eval(), optimize_numerics=False)
    return frozen


class _Featureless(torch.nn.Module):
    """A tower without features."""

    def __init__(self, tower: torch.nn.Module) -> None:
        super().__init__()
        self._tower = tower

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        """As the tower, but for the dictionary."""
        vectors: torch.Tensor = self._tower(*arrays, {})
        return vectors


def _agree(module: Program, traced: Program, inputs: _Inputs) -> bool:
    try:
        found = traced(*inputs)
    except RuntimeError:
        return False
    expected = module(*inputs)
    return found.shape == expected.shape and bool(torch.allclose(found, expected, rtol=0, atol=_TOLERANCE))


def _resized(inputs: _Inputs, rows: int) -> _Inputs:
    """Inputs of `rows` rows with values that differ: what is an index or a flag stays as it is in the example."""
    generator = torch.Generator().manual_seed(rows)

    def resize(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: resize(inner) for name, inner in value.items()}
        resized = value[:1].expand(rows, *value.shape[1:]).clone()
        if resized.is_floating_point():
            resized += torch.rand(resized.shape, generator=generator)
        elif resized.dtype == torch.bool:
            resized = torch.randint(0, 2, resized.shape, generator=generator).bool()
        return resized

    return tuple(resize(value) for value in inputs)
