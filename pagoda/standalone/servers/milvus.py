"""The real Milvus server out of the `milvus` wheel: its program, unpacked once, and its configuration."""

from __future__ import annotations

import lzma
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import milvus
import yaml

from pagoda.errors import ConflictError
from pagoda.standalone.ports import LOOPBACK
from pagoda.storage.atomic import build_folder

PORTS = {
    "milvus": "proxy_port",
    "milvus_internal": "proxy_internal_port",
    "milvus_root_coord": "root_coord_port",
    "milvus_query_coord": "query_coord_port",
    "milvus_query_node": "query_node_port",
    "milvus_index_coord": "index_coord_port",
    "milvus_index_node": "index_node_port",
    "milvus_data_coord": "data_coord_port",
    "milvus_data_node": "data_node_port",
}
"""Our port names and the wheel's, as its configuration template has them."""
METRICS_PORT = "milvus_metrics"
ROOT, _FIRST_PASSWORD = "root", "Milvus"
"""What a server that was never used knows; 2.3.5 has no setting for another first password."""
_WHEEL = Path(milvus.__file__).parent / "data"
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*(?:\(\w+\))?\s*(?::\s*(.*?))?\s*\}\}")


def program_folder() -> Path:
    """Where the server's program and its libraries are, once `unpack_program` has been called."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pagoda" / f"milvus-{milvus.__version__}"


def unpack_program() -> None:
    """Unpack the wheel's 25 compressed files (250 MB, 5 s) into the user's cache, if that was not done before."""
    target = program_folder()
    if target.exists():
        return
    try:
        with build_folder(target) as folder, ThreadPoolExecutor() as pool:
            # Largest first, so that none is left for one core at the end.
            packed = sorted((_WHEEL / "bin").glob("*.lzma"), key=lambda path: -path.stat().st_size)
            list(pool.map(lambda source: _unpack(source, folder / source.stem), packed))
    except ConflictError:
        # Another process unpacked the same files meanwhile.
        return


def _unpack(source: Path, target: Path) -> None:
    with lzma.open(source) as compressed, target.open("wb") as file:
        shutil.copyfileobj(compressed, file, 1 << 20)
    target.chmod(0o755)


def environment(ports: Mapping[str, int]) -> dict[str, str]:
    """What the program reads from its environment."""
    return {
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(ports[METRICS_PORT]),
        "LD_LIBRARY_PATH": str(program_folder()),
    }


def set_password(address: str, password: str) -> None:
    """Change the password that every new Milvus has, unless that was done before.

    Raises:
        UnavailableError: Somebody else has changed it, or has made a user: then nothing there can be trusted.
    """
    from pagoda.index.milvus.password import replace_password

    replace_password(address, ROOT, _FIRST_PASSWORD, password)


def write_configuration(folder: Path, ports: Mapping[str, int]) -> None:
    """Write `configs/milvus.yaml` and `configs/etcd.yaml` below the server's working folder."""
    configs = folder / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    (configs / "etcd.yaml").write_text(yaml.safe_dump(_etcd(folder)))
    (configs / "milvus.yaml").write_text(yaml.safe_dump(_milvus(folder, ports)))
    (configs / "glog.conf").write_text("--logtostderr=true\n--minloglevel=1\n")


def _milvus(folder: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    values: dict[str, object] = {
        "etcd_log_path": "stdout",
        "etcd_log_level": "warn",
        "etcd_data_dir": folder / "data" / "etcd",
        "local_storage_dir": folder / "data",
        "rocksmq_data_dir": folder / "data" / "rocksmq",
        "system_log_path": "",
        **{theirs: ports[ours] for ours, theirs in PORTS.items()},
    }
    template = (_WHEEL / "config.yaml.template").read_text()
    text = _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[2] or "")), template)
    config: dict[str, Any] = yaml.safe_load(text)
    # The embedded etcd listens on 2379 unless a file of its own says otherwise.
    config["etcd"]["config"] = {"path": str(folder / "configs" / "etcd.yaml")}
    config["log"]["level"] = "warn"
    # Segments too small for an index are then searched exactly, not by a coarse one made in passing (recall 0.95).
    config["queryNode"]["segcore"]["interimIndex"]["enableIndex"] = False
    # Segments are closed when they are full. Closed at a quarter they were merged, and indexed once more when the build
    # was over: with 1 M items that kept two cores busy for more than five minutes.
    config["dataCoord"]["segment"] |= {"maxSize": 1024, "sealProportion": 1.0, "maxBinlogFileNumber": 1024}
    # A query node that stops first waits for others to take over what it has loaded. There are none: 30 minutes.
    config["common"]["gracefulStopTimeout"] = 1
    # After a kill, the next start waits until the dead one's sessions expire: searches come back in 16 s, not in 36.
    config["common"]["session"]["ttl"] = 10
    # It listens on every address, whatever `ip` says: that is what it tells others. So it has a password.
    config["common"]["security"]["authorizationEnabled"] = True
    # Nobody of ours speaks HTTP to it.
    config["proxy"]["http"] = {"enabled": False, "enablePprof": False}
    for section in config.values():
        if isinstance(section, dict) and "ip" in section:
            section["ip"] = LOOPBACK
    return config


def _etcd(folder: Path) -> dict[str, Any]:
    """Milvus speaks to it within its process; who else could would write Milvus' passwords. So it has no port, but
    sockets in the working folder, whose names must look like addresses."""
    client, peer = "unix://etcd:0", "unix://peer:0"
    return {
        "name": "default",
        "data-dir": str(folder / "data" / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }
