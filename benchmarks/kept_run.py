"""A finished training and what it answered each user, kept in one file; so a benchmark that was killed goes on."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.storage.atomic import write_atomic

_FACTS, _USERS = "facts", "users"


@dataclass(frozen=True)
class UserValues:
    """Metrics of each user that was asked."""

    users: NDArray[np.int64]
    """int64 [u]."""
    values: dict[str, NDArray[np.float64]]
    """By name, float64 [u] each: `hr@10`, `ndcg@10` …"""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """All of them, float64 [u, metrics]."""
        return np.stack(list(self.values.values()), axis=1)


@dataclass(frozen=True)
class KeptRun:
    """One training."""

    asked: dict[str, UserValues]
    """By what was asked: `test`, `validation`."""
    facts: dict[str, Any]
    """All else, as JSON: seconds, coverage, the configuration."""

    def write(self, path: Path) -> None:
        """Write it to `path`, all or nothing."""
        arrays = {_FACTS: np.array(json.dumps(self.facts))}
        for what, found in self.asked.items():
            arrays |= {f"{what}/{name}": values for name, values in {_USERS: found.users, **found.values}.items()}
        made = io.BytesIO()
        np.savez_compressed(made, **arrays)  # type: ignore[arg-type]
        write_atomic(path, made.getvalue())


def read_run(path: Path) -> KeptRun | None:
    """What was kept at `path`; None where nothing was."""
    if not path.exists():
        return None
    with np.load(path) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays.pop(_FACTS)))
    asked: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in arrays.items():
        what, _, metric = name.partition("/")
        asked.setdefault(what, {})[metric] = values
    return KeptRun({what: UserValues(found.pop(_USERS), found) for what, found in asked.items()}, facts)
