"""An exported program, of the user tower or of a pre-ranker, made quick for small batches.

The artifact is the program of `torch.export`, without the model's code, and read without pickle. Called as a module, it
checks every input against its declaration in Python, which takes longer than the tower itself; traced once when it is
loaded, it runs without.

`python -m serving.tower.program FROM TO` traces one in a process of its own. See `load_small`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.model.program_file import read_program

Program = Callable[..., torch.Tensor]
_TRACE: Callable[..., Any] = torch.jit.trace
_FREEZE: Callable[..., Any] = torch.jit.freeze
_TOLERANCE = 1e-6
_BATCHES = (1, 2, 5)
_logger = logging.getLogger(__name__)
_Inputs = tuple[Any, ...]


def load_program(path: Path) -> Program:
    """Load a program of the fields of `UserInputs`, or of `PairInputs`, one by one, for any batch size.

    Raises:
        IntegrityError: It cannot be read, or holds something that loading would run.
    """
    module, traced = _read(path)
    return module if traced is None else _program(traced)


def load_small(path: Path) -> Program:
    """The same, with what reads and traces a program in a process of its own, which ends: PyTorch's compiler and sympy
    are 90 MiB that would stay, and seconds in which nothing is answered.

    Raises:
        IntegrityError: As `load_program`.
        UnavailableError: The process was killed, or could not go on, for want of memory or disk, say.
    """
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "traced.pt"
        ended = subprocess.run(
            (sys.executable, "-m", __name__, str(path), str(traced)), capture_output=True, text=True, check=False
        )
        _require_read(path, ended)
        if not traced.exists():  # It cannot be traced.
            return load_program(path)
        return _program(torch.jit.load(traced))  # type: ignore[no-untyped-call]


def _require_read(path: Path, ended: subprocess.CompletedProcess[str]) -> None:
    if not ended.returncode:
        return
    # As `serving.process.run` says it: other lines, of a trace, may name it further on.
    said, refused, why = f"\n{ended.stderr.strip()}".partition("\nIntegrityError: ")
    if refused:
        raise IntegrityError(why)
    killed = f"was killed by signal {-ended.returncode}; is there enough memory?"
    why = killed if ended.returncode < 0 else f"failed: {said.splitlines()[-1]}"
    raise UnavailableError(f"{path}: the process that reads it {why}")


def main(program: Path, to: Path) -> None:
    """Write a program traced, if it can be."""
    _, traced = _read(program)
    if traced is not None:
        torch.jit.save(traced, to)


def _read(path: Path) -> tuple[Program, Any]:
    """A program as exported, and traced; None: it cannot be."""
    exported = read_program(path)
    module = exported.module()
    if exported.example_inputs is None:
        return module, None
    example = exported.example_inputs[0]
    with torch.inference_mode(), warnings.catch_warnings():
        # What depends on values is found by comparing.
        warnings.simplefilter("ignore")
        traced = _traced(module, example)
        program = _program(traced)
        if all(_agree(module, program, _resized(example, rows)) for rows in _BATCHES):
            return module, traced
    # What is decided by values cannot be traced, a recurrent unit's number of steps, say.
    _logger.warning("%s: cannot be traced; it runs as exported, which is slower", path)
    return module, None


def _traced(module: torch.nn.Module, example: _Inputs) -> Any:
    *arrays, features = example
    # The tracer takes no empty dictionary, which is what a tower without features is given.
    bare, given = (module, example) if features else (_Featureless(module), tuple(arrays))
    traced = _TRACE(bare, example_inputs=given, strict=False, check_trace=False)
    # Without looking its weights up at each call: half of its nodes did that.
    return _FREEZE(traced.eval(), optimize_numerics=False)


def _program(traced: Any) -> Program:
    """What was traced, as a program of all fields, features or not."""
    *_, last = traced.graph.inputs()
    if last.type().kind() == "DictType":
        return traced  # type: ignore[no-any-return]
    return lambda *inputs: traced(*inputs[:-1])


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


if __name__ == "__main__":
    from serving.process import run

    run(main)
