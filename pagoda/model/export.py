"""Towers as exported programs: serving runs them without the code of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from pagoda.model.encoder import Encoder
from pagoda.model.program_file import read_program
from pagoda.model.table_inputs import no_histories
from pagoda.model.tensors import tensors
from pagoda.model.towers.ensemble import AnyTowers
from pagoda.model.user_inputs import Array, UserKeys
from pagoda.model.user_moments import UserMoments

_EXAMPLE_ROWS = 3
_MOST_ROWS = 1 << 20


def export_towers(towers: AnyTowers, encoder: Encoder, row_dim: int, user_path: Path, item_path: Path) -> None:
    """Write both towers as `torch.export` programs (.pt2) that take any batch size from 1 on.

    The user program takes the fields of `UserInputs` one by one, the item program (id_rows, features); `row_dim` is the
    length of an ID row, as `ModelConfig` has it.

    Raises:
        IntegrityError: A feature has a name that no program may hold.
    """
    length, rows = towers.history_length, torch.zeros(_EXAMPLE_ROWS, row_dim)
    keys = _nobodies(encoder, length)
    _export(towers.user, (*keys.tensors().with_rows(rows, torch.zeros(_EXAMPLE_ROWS, length, row_dim)),), user_path)
    _export(towers.item, (rows, tensors(encoder.encode_rows("item", [{}] * _EXAMPLE_ROWS))), item_path)


def _nobodies(encoder: Encoder, length: int) -> UserKeys[Array]:
    """Users of whom nothing is known."""
    zeros = np.zeros(_EXAMPLE_ROWS, np.int64)
    features = encoder.encode_rows("user", [{}] * _EXAMPLE_ROWS)
    histories = no_histories(_EXAMPLE_ROWS, length, kinds=encoder.spec.embeds_events)
    moments = UserMoments(zeros, zeros, histories, {}, zeros, features)
    return moments.keys(np.arange(_EXAMPLE_ROWS))


def _export(tower: nn.Module, inputs: tuple[Tensor | dict[str, Tensor], ...], path: Path) -> None:
    # Made here: the first one brings sympy, which takes 1.5 s of each process that exports nothing.
    batch = {0: Dim("batch", min=1, max=_MOST_ROWS)}
    shapes = tuple(dict.fromkeys(given, batch) if isinstance(given, dict) else batch for given in inputs)
    program = torch.export.export(tower.eval(), inputs, dynamic_shapes=shapes)
    torch.export.save(program, path)
    # A name that serving would refuse, of a feature with a quote in it, say, is refused here.
    read_program(path)
