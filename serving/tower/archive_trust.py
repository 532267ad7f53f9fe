"""Which model archives a host may load: an archive is code, so it has to be what a manifest says.

The follower, which reads the manifests, writes `archives.json` into the folder of the ID tables; TorchServe's start
compares what lies in its store with that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pagoda.storage.atomic import write_atomic
from pagoda.storage.checksums import checksum_file
from serving.tower.archive import archive_version, archives

_FILE = "archives.json"
_POLL_SECONDS = 0.2
_CHECKSUMS: TypeAdapter[dict[int, str]] = TypeAdapter(dict[int, str])
_log = logging.getLogger(__name__)


def write_checksums(tables: Path, checksums: Mapping[int, str]) -> None:
    """Say what the archives of full versions must be."""
    write_atomic(tables / _FILE, _CHECKSUMS.dump_json(dict(checksums)))


def read_checksums(tables: Path) -> dict[int, str]:
    """What the archives of full versions must be; nothing before a follower has said it, or where that is damaged."""
    try:
        return _CHECKSUMS.validate_json((tables / _FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError:
        # The follower writes it anew when it starts, and it starts after this server.
        return {}


def trusted(store: Path, tables: Path) -> list[Path]:
    """The archives in `store` that are what a manifest says, oldest version first; the others are named in the log."""
    checksums = read_checksums(tables)
    found = []
    for archive in archives(store):
        if problem := distrust(archive, checksums):
            _log.error("%s is not loaded: %s", archive, problem)
        else:
            found.append(archive)
    return found


def await_checksums(store: Path, tables: Path) -> None:
    """Wait until a follower has said what every archive in `store` must be."""
    said = False
    while unknown := [path for path in archives(store) if archive_version(path) not in read_checksums(tables)]:
        if not said:
            _log.warning("waiting for the follower to say what %s must be; does it run?", unknown[0])
            said = True
        time.sleep(_POLL_SECONDS)


def distrust(archive: Path, checksums: Mapping[int, str]) -> str | None:
    """Why an archive may not be loaded; None where it may."""
    expected = checksums.get(archive_version(archive))
    if expected is None:
        return "no manifest that the follower has read names it"
    if (actual := checksum_file(archive, expected)) != expected:
        return f"its checksum is {actual}, the manifest says {expected}"
    return None
