"""The pre-ranker as an exported program: serving runs it without the code of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.export import Dim

from pagoda.model.program_file import read_program
from pagoda.prerank.inputs import PairInputs
from pagoda.prerank.network import PreRanker

_MOST_ROWS = 1 << 20


def export_preranker(ranker: PreRanker, example: PairInputs, path: Path) -> None:
    """Write it as a `torch.export` program (.pt2) of the fields of `PairInputs`, for any number of users and pairs.

    Args:
        ranker: Without gates.
        example: Some pairs, as many as users.
        path: The file.

    Raises:
        IntegrityError: A feature has a name that no program may hold.
    """
    # Made here: the first one brings sympy, which takes 1.5 s of each process that exports nothing.
    users, pairs = (Dim(name, min=1, max=_MOST_ROWS) for name in ("users", "pairs"))
    named = {name: {0: users if name.startswith("user.") else pairs} for name in example.features}
    shapes = ({0: users}, {0: pairs}, {0: pairs}, named)
    # All of the first user: whoever traces the program tries it with one, and keeps the example's indices.
    alone = example._replace(owner=np.zeros_like(example.owner)).tensors()
    program = torch.export.export(ranker.eval(), alone, dynamic_shapes=shapes)
    torch.export.save(program, path)
    read_program(path)
