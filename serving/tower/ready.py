"""`python -m serving.tower.ready`: exit 0 when this host's TorchServe answers for the generation that it is here for.

A probe on a cluster, run every few seconds beside the server; so it starts with nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

_ARCHIVE = re.compile(r"pagoda-(\d+)\.mar")
_GENERATION = re.compile(r"g(\d+)(?:\.(\d+))?")
_SECONDS = 3
# 400: the tower refuses the ID (it may want strings), which it says only once it holds the generation.
_ANSWERED = (200, 400)


def newest(names: Iterable[str], version: int) -> str | None:
    """The newest generation of a full version among `names`, or None."""
    found = [match for name in names if (match := _GENERATION.fullmatch(name)) and int(match[1]) == version]
    return max(found, key=lambda match: int(match[2] or 0))[0] if found else None


def missing(url: str, store: Path, tables: Path) -> str | None:
    """What keeps the server at `url` from being ready, or None.

    Args:
        url: Of the inference API.
        store: Folder of the model archives.
        tables: Folder of the ID tables.
    """
    versions = [int(match[1]) for path in store.glob("*.mar") if (match := _ARCHIVE.fullmatch(path.name))]
    if not versions:
        return f"there is no model archive in {store}"
    version = max(versions)
    generation = newest((path.stem for path in (tables / "generations").glob("*.json")), version)
    if generation is None:
        return f"no generation of version {version} is in {tables}"
    return _ask(f"{url}/predictions/pagoda/{version}.0", generation)


def _ask(url: str, generation: str) -> str | None:
    body = json.dumps({"instances": [{"user_id": 0}], "generation": generation}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - http of this pod
    try:
        # Of this pod, by loopback: the certificate names the service.
        context = ssl._create_unverified_context() if url.startswith("https:") else None  # noqa: S323
        with urllib.request.urlopen(request, timeout=_SECONDS, context=context):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return None if error.code in _ANSWERED else f"generation {generation}: {error.code} {error.read(300).decode()}"
    except OSError as error:
        return f"{url}: {error}"


def main() -> None:
    """Ask the server of this pod; its archives and tables are where the image has them."""
    tables = Path(os.environ.get("PAGODA_TOWER__TABLES") or Path(os.environ["PAGODA_HOME"]) / "tables")
    scheme = os.environ.get("PAGODA_TOWER_INFERENCE", "http:").partition(":")[0]
    problem = missing(f"{scheme}://127.0.0.1:8080", Path("/mnt/models"), tables)
    if problem:
        sys.exit(f"not ready: {problem}")


if __name__ == "__main__":
    main()
