"""Towers as exported programs: serving runs them without the code of the model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from pagoda.data.spec import Tower
from pagoda.model.encoder import Encoder
from pagoda.model.program_file import read_program
from pagoda.model.towers.towers import Towers

_EXAMPLE_ROWS = 3
_BATCH = Dim("batch", min=1, max=1 << 20)


def export_towers(towers: Towers, encoder: Encoder, dim: int, user_path: Path, item_path: Path) -> None:
    """Write both towers as `torch.export` programs (.pt2) that take any batch size from 1 on.

    The user program takes (id_rows, history_rows, history_mask, history_age, features) as `UserTower.forward` does,
    the item program (id_rows, features).

    Raises:
        IntegrityError: A feature has a name that no program may hold.
    """
    length = towers.history_length
    rows = torch.zeros(_EXAMPLE_ROWS, dim)
    history = torch.zeros(_EXAMPLE_ROWS, length, dim)
    mask, age = torch.zeros(_EXAMPLE_ROWS, length, dtype=torch.bool), torch.zeros(_EXAMPLE_ROWS, length)
    user_features, item_features = _example(encoder, "user"), _example(encoder, "item")
    _export(towers.user, (rows, history, mask, age, user_features), user_path)
    _export(towers.item, (rows, item_features), item_path)


def _example(encoder: Encoder, tower: Tower) -> dict[str, Tensor]:
    encoded = encoder.encode_rows(tower, [{}] * _EXAMPLE_ROWS)
    return {name: torch.from_numpy(array) for name, array in encoded.items()}


def _export(tower: nn.Module, inputs: tuple[Tensor | dict[str, Tensor], ...], path: Path) -> None:
    shapes = tuple(
        {name: {0: _BATCH} for name in given} if isinstance(given, dict) else {0: _BATCH} for given in inputs
    )
    program = torch.export.export(tower.eval(), inputs, dynamic_shapes=shapes)
    torch.export.save(program, path)
    # A name that serving would refuse, of a feature with a quote in it, say, is refused here.
    read_program(path)
