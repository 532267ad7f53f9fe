"""Optimisers: row-wise Adagrad for the ID rows that a batch touches, AdamW for the towers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pagoda.config.training import OptimiserConfig
from pagoda.training.tables import TrainableTable

EPSILON = 1e-10
_MOMENTS = ("exp_avg", "exp_avg_sq")


def adagrad_step(
    table: TrainableTable, places: Tensor, gradients: Sequence[Tensor], learning_rate: float, memory: float = 1.0
) -> None:
    """Row-wise Adagrad in place: one sum of squares a row, grown by the mean square of the row's gradient.

    As in FBGEMM's `EXACT_ROWWISE_ADAGRAD`; Duchi et al. 2011 has one for each number, 64 times the state. With a
    `memory` below 1 it is RMSprop with Adagrad's first steps: these shrink until 1 / (1 - memory) of them are summed.

    Args:
        table: Its rows and sums change.
        places: int64 [m], distinct.
        gradients: float32 [m, dim], or the parts of that which lie beside each other.
        learning_rate: Length of a row's first step relative to its gradient's root mean square.
        memory: Share of a row's sum that stays at each of its steps.
    """
    total = torch.stack([torch.linalg.vector_norm(part, dim=1).square() for part in gradients]).sum(0)
    squares = memory * table.squares[places] + total / table.rows.shape[1]
    table.squares[places] = squares
    paces = (-learning_rate / (squares.sqrt() + EPSILON))[:, None]
    steps = [part * paces for part in gradients]
    # Added to parts of rows, they would take four times as long.
    table.rows.index_add_(0, places, steps[0] if len(steps) == 1 else torch.cat(steps, 1))


def dense_optimiser(towers: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW; only matrices decay, since biases and half-lives have no reason to be small."""
    matrices = [parameter for parameter in towers.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in towers.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.dense_learning_rate)


def dense_state(towers: nn.Module, optimiser: torch.optim.AdamW) -> dict[str, Tensor]:
    """AdamW's state under names made of the parameters' own."""
    return {
        f"{name}.{part}": value
        for name, parameter in towers.named_parameters()
        for part, value in optimiser.state[parameter].items()
    }


def restore_dense_state(towers: nn.Module, optimiser: torch.optim.AdamW, state: Mapping[str, Tensor]) -> None:
    """Put back what `dense_state` gave; embeddings that have grown since get moments of zero for their new rows."""
    for name, parameter in towers.named_parameters():
        moments = {}
        for part in _MOMENTS:
            # By name and not by number: a child's towers may have features between those of its parent.
            saved = state[f"{name}.{part}"]
            moments[part] = torch.zeros_like(parameter)
            moments[part][: len(saved)] = saved
        optimiser.state[parameter] = {"step": state[f"{name}.step"].clone(), **moments}
