"""What all processes of one update are told: a file, and beside it what they say when they fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict

from pagoda import errors
from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.window import Window
from pagoda.erasure.pending import Forgotten
from pagoda.errors import PagodaError
from pagoda.storage.atomic import write_atomic
from pagoda.version_files.full import FullVersionFiles

_FORGOTTEN, _JOB = "forgotten.npy", "job.json"


class SharedUpdate(BaseModel):
    """The arguments of a full update, see `full_update`; all paths are seen by all processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    window: Window
    parent: tuple[Path, Path] | None
    """Folder and state of its version."""
    config: str
    """YAML."""
    out: Path
    checkpoints: Path | None
    forgotten: int
    """`Forgotten.known`; the users stand in a file of their own."""

    def write(self, folder: Path, forgotten: Forgotten) -> Path:
        """Write it into `folder`, which exists; returns the file."""
        np.save(folder / _FORGOTTEN, forgotten.ids)
        write_atomic(folder / _JOB, self.model_dump_json(indent=1).encode())
        return folder / _JOB

    @classmethod
    def read(cls, file: Path) -> SharedUpdate:
        """Read what `write` wrote."""
        return cls.model_validate_json(file.read_bytes())

    def whom_to_forget(self, file: Path) -> Forgotten:
        """Whom the update leaves out, by the file of this job."""
        return Forgotten(np.load(file.with_name(_FORGOTTEN), allow_pickle=False), self.forgotten)

    def settings(self) -> TrainConfig:
        """The configuration."""
        return parse_config(self.config)

    def parent_files(self) -> FullVersionFiles | None:
        """The version to start from."""
        return FullVersionFiles(*self.parent) if self.parent else None


def tell_failure(file: Path, rank: int, error: PagodaError) -> None:
    """Leave beside the job's file what made a process fail."""
    about = {"kind": type(error).__name__, "message": str(error)}
    write_atomic(file.with_name(f"failure-{rank}.json"), orjson.dumps(about))


def failures(folder: Path) -> Sequence[PagodaError]:
    """What processes left of theirs, by number."""
    told = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("failure-*.json"))]
    return [_error(**about) for about in told]


def _error(kind: str, message: str) -> PagodaError:
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, PagodaError):
        return found(message)
    return PagodaError(message)
