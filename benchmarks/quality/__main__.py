"""How good what is found is: `python -m benchmarks.quality FILE`, the whole protocol on any file of sequences.

A seed that is finished is kept beside the document, under a key of all that it follows from, code included; so a
benchmark that was stopped goes on where it was, and further seeds join those that are there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import xxhash
from rich.console import Console

from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.kept_run import KeptRun, read_run
from benchmarks.quality.document import entry, table
from benchmarks.quality.protocol import LeaveOneOut, QualityProtocol
from benchmarks.quality.settings import TOWERS, Tower
from benchmarks.quality.unordered import Unordered
from pagoda.config.training import TrainConfig
from pagoda.errors import PagodaError
from pagoda.storage.atomic import write_atomic
from pagoda.storage.checksums import checksum_file
from pagoda.training.progress import TerminalProgress

_CONSOLE = Console(stderr=True)


def main() -> None:
    """Run the protocol, print the table, write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequences", type=Path, help="a line is a user and their items in the order of time")
    parser.add_argument("--towers", nargs="*", choices=TOWERS)
    parser.add_argument("--seeds", type=_numbers, default=(0,), help="of the trainings, say 0,1,2")
    parser.add_argument("--unordered", action="store_true", help="the order of a line says nothing; see --test")
    parser.add_argument("--test", type=Path, help="with --unordered: what to find of each user; else a tenth of FILE")
    parser.add_argument("--out", type=Path, default=Path("build/bench/quality.json"))
    arguments = parser.parse_args()
    if arguments.test and not arguments.unordered:
        parser.error("--test is for --unordered: of a file with an order, the last item of each user is the test")
    towers = arguments.towers or (("mean",) if arguments.unordered else TOWERS)
    try:
        found = _found(arguments, towers)
    except PagodaError as error:
        raise SystemExit(f"error: {error}") from None
    what = "pairs without order" if arguments.unordered else "leave-one-out"
    first = next(iter(found.values()))
    users = first.get("users") or first["validation"]["users"]
    asked = f"{arguments.sequences.stem}: {what}, {users:,} users asked among all items but their own"
    Console().print(asked, table(found), f"Written to {arguments.out}.", sep="\n", highlight=False)


def _found(arguments: argparse.Namespace, towers: tuple[Tower, ...]) -> dict[str, dict[str, Any]]:
    """The entry of each tower; the document has it after every seed."""
    stem, found = arguments.sequences.stem, dict[str, dict[str, Any]]()
    sources = [path for path in (arguments.sequences, arguments.test) if path]
    with tempfile.TemporaryDirectory(prefix="pagoda-quality-") as name:
        data = Path(name) / "data"
        protocol: QualityProtocol = (
            Unordered(arguments.sequences, arguments.test, data)
            if arguments.unordered
            else LeaveOneOut(arguments.sequences, data)
        )
        for tower in towers:
            key = _key(sources, protocol.config(tower, 0), unordered=arguments.unordered)
            kept = arguments.out.with_suffix("") / f"{stem}-{tower}-{key}"
            for seed in arguments.seeds:
                path = kept / f"{seed}.npz"
                if not path.exists():
                    _train(protocol, tower, seed, Path(name)).write(path)
                found[tower] = entry(_runs(kept))
                _write(arguments.out, stem, found)
    return found


def _train(protocol: QualityProtocol, tower: Tower, seed: int, folder: Path) -> KeptRun:
    _CONSOLE.print(f"{tower}, seed {seed}:")
    with TerminalProgress(_CONSOLE) as progress:
        return protocol.run(protocol.config(tower, seed), folder / f"{tower}-{seed}", progress)


def _runs(folder: Path) -> dict[int, KeptRun]:
    found = {int(path.stem): read_run(path) for path in folder.glob("[0-9]*.npz")}
    return {seed: run for seed, run in found.items() if run}


def _key(sources: list[Path], config: TrainConfig, *, unordered: bool) -> str:
    """What a seed's result follows from: the same key, the same result."""
    own = tuple(Path(__file__).with_name(f"{name}.py") for name in ("protocol", "unordered"))
    parts = [*map(checksum_file, sources), config.model_dump_json(), str(unordered), code_checksum(LEARNING, own)]
    return xxhash.xxh3_64_hexdigest(" ".join(parts).encode())


def _write(path: Path, stem: str, found: dict[str, dict[str, Any]]) -> None:
    """Add the towers' figures to those of other towers and other files."""
    document = json.loads(path.read_text()) if path.exists() else {}
    write_atomic(path, json.dumps(document | {stem: document.get(stem, {}) | found}, indent=1).encode())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))


if __name__ == "__main__":
    main()
