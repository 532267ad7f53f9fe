"""`python -m serving.tower.ready`: whether this host's user tower answers for what its follower brought.

A container's readiness probe, run every few seconds: so it uses the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

_ARCHIVE = re.compile(r"pagoda-(\d+)\.mar")
_TIMEOUT_SECONDS = 4
_TABLES = "PAGODA_TOWER__TABLES"


def unready(url: str, store: Path, tables: Path) -> str | None:
    """Why the tower is not ready; None when each archive's newest generation answered a user.

    Args:
        url: Base URL of the inference API.
        store: Folder of the archives that TorchServe serves.
        tables: Folder that the follower fills.
    """
    versions = [int(match[1]) for path in store.glob("*.mar") if (match := _ARCHIVE.fullmatch(path.name))]
    if not versions:
        return f"{store} holds no archive"
    newest = _newest(tables)
    for version in versions:
        if version not in newest:
            return f"{tables} holds no generation of full version {version} yet"
        if problem := _refused(url, version, newest[version], tables):
            return f"generation {newest[version]}: {problem}"
    return None


def _newest(tables: Path) -> dict[int, str]:
    """The newest generation that is held, by full version."""
    records = [(path.stat().st_mtime_ns, path) for path in (tables / "generations").glob("*.json")]
    return {json.loads(path.read_text())["full_version"]: path.stem for _, path in sorted(records)}


def _refused(url: str, version: int, generation: str, tables: Path) -> str | None:
    spec = json.loads((tables / "full" / str(version) / "encoder.json").read_text())["spec"]
    user = "ready" if spec["id_type"] == "string" else 0
    body = json.dumps({"user_id": user, "generation": generation}).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{url}/predictions/pagoda/{version}.0", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read()[:200].decode(errors='replace')}"
    except OSError as error:
        return f"no answer from {url}: {error}"


def main() -> None:
    """Exit with 0 if the tower is ready, otherwise say why not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="base URL of the inference API")
    parser.add_argument("--store", type=Path, default=Path("/mnt/models"), help="folder of model archives")
    parser.add_argument("--tables", type=Path, default=Path(os.environ.get(_TABLES, "/tables")))
    given = parser.parse_args()
    try:
        problem = unready(given.url, given.store, given.tables)
    except (OSError, ValueError, KeyError) as error:
        problem = str(error)  # files are being brought or taken away this moment
    sys.exit(f"not ready: {problem}" if problem else 0)


if __name__ == "__main__":
    main()
