"""What the leaderboard is about: MovieLens-100K and simulated worlds, or anyone's files."""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import typer
import xxhash

from pagoda.cli.data.imports import importing
from pagoda.data.imports.auto.proposal import propose
from pagoda.data.imports.movielens import import_movielens
from pagoda.errors import ConfigError, DataError
from pagoda.simulation import Drift, WorldConfig, simulate
from pagoda.storage.checksums import checksum_file

_SEQUENCES = (".txt", "")
"""Suffixes of files of sequences; anything else is interactions with times."""


@dataclass(frozen=True)
class BenchmarkSet:
    """One set."""

    name: str
    source: Path | WorldConfig | None
    """A file, or what a world follows from; None for MovieLens-100K."""

    @property
    def sequences(self) -> Path | None:
        """Its file, where that has an order, but no times."""
        return self.source if isinstance(self.source, Path) and self.source.suffix in _SEQUENCES else None

    @property
    def is_simulated(self) -> bool:
        """Whether it is a world."""
        return isinstance(self.source, WorldConfig)

    @property
    def checksum(self) -> str:
        """Of what it is made of."""
        if isinstance(self.source, Path):
            return checksum_file(self.source)
        made_of = self.source.model_dump_json() if self.source else self.name
        return xxhash.xxh3_64_hexdigest(made_of.encode())

    def write(self, path: Path) -> None:
        """Write its interactions with their times to the new dataset folder `path`.

        Raises:
            DataError: A file cannot be read, or does not say what a user, an item and a moment is.
        """
        if self.source is None:
            import_movielens(path)
        elif isinstance(self.source, WorldConfig):
            simulate(self.source, path)
        else:
            proposal, features = propose([self.source]), path.with_suffix(".features.yaml")
            features.write_text(proposal.features)
            command, arguments = typer.main.get_command(importing), proposal.arguments(path, features)
            with redirect_stdout(StringIO()):
                command.main(arguments, prog_name="pagoda data import", standalone_mode=False)


DEFAULT_SETS = (
    BenchmarkSet("movielens-100k", None),
    *(
        BenchmarkSet(
            f"world-{drift}",
            WorldConfig(users=1_000, items=2_000, days=9, events=300_000, drift=drift, seed=21, new_users=0),
        )
        for drift in (Drift.NONE, Drift.DEFAULT)
    ),
)


def sets_of(files: list[Path]) -> tuple[BenchmarkSet, ...]:
    """A set for each file, called like it, or for each name of a default one; without any, all default ones.

    Raises:
        ConfigError: Two files have one name.
        DataError: A file is not there.
    """
    by_name = {each.name: each for each in DEFAULT_SETS}
    chosen = [by_name.get(str(path)) or _of_file(path) for path in files]
    names = [each.name for each in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two files are called {twice[0]}, so their rows could not be told apart; rename one")
    return tuple(chosen) or DEFAULT_SETS


def _of_file(path: Path) -> BenchmarkSet:
    if not path.is_file():
        names = ", ".join(each.name for each in DEFAULT_SETS)
        raise DataError(
            f"{path}: no such file; name files of sequences (.txt) or of interactions with times, or any of {names}"
        )
    return BenchmarkSet(path.stem, path)
