"""What a neighbour gets of TorchServe: no port, no socket, no archive of theirs run."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import httpx
import psutil
import pytest
import ts

from pagoda.errors import ConfigError
from pagoda.storage.checksums import SHA256, checksum_file
from serving.tower.archive import HANDLER, archive_name, package, place
from serving.tower.archive_trust import write_checksums
from serving.tower.ready import missing
from serving.tower.torchserve_models import TowerModels
from serving.tower.torchserve_process import TowerServer, run_folder
from tests.certificates import write_certificate
from tests.neighbour import as_nobody
from tests.serving.torchserve import RunningTower, free_port, torchserve
from tests.serving.worlds import World, make_world
from tests.waiting import wait_for

CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
APIS = ("inference", "management", "metrics")


@pytest.mark.integration
def test_it_listens_on_no_port(tower: RunningTower) -> None:
    java = psutil.Process(tower.process.pid)
    for process in (java, *java.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # Java starts short ones to look at the machine.
            assert [c for c in process.connections(kind="inet") if c.status == psutil.CONN_LISTEN] == []


@pytest.mark.integration
@pytest.mark.parametrize("api", APIS)
def test_another_user_reaches_none_of_its_sockets(tower: RunningTower, api: str) -> None:
    socket = run_folder(tower.home) / f"{api}.sock"
    assert socket.is_socket()
    assert "PermissionError" in as_nobody(CONNECT, str(socket)).stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/evil.mar",
        "file:///srv/evil.mar",
        "file://{store}/%2e%2e/evil.mar",
        "file://{store}/{known}",
        "../evil.mar",
        "/srv/evil.mar",
        archive_name(99),
    ],
)
def test_nothing_is_registered_by_a_url_or_from_outside_the_store(tower: RunningTower, served: World, url: str) -> None:
    evil(served.folder, 7, tower.home, Path("/dev/null")).rename(tower.home / "evil.mar")
    with tower.models() as models:
        name = url.format(store=tower.store, known=archive_name(3))
        assert models._call("POST", "/models", {"url": name, "model_name": "evil"}).status_code == 404
        assert models._call("GET", "/models/evil").status_code == 404


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningTower, Path]]:
    """A pod's TorchServe, whose store holds archives that were tampered with; and what they write when they run."""
    home = tmp_path_factory.mktemp("pod")
    store, traces = home / "models", home / "ran"
    world = make_world(home / "three", home / "tables")
    archive = package(world.folder, 3, store)
    changed = evil(world.folder, 4, store, traces)
    checksums = {3: checksum_file(archive, SHA256), 4: checksum_file(package(world.folder, 4, home / "clean"), SHA256)}
    checksums[5] = checksum_file(evil(world.folder, 5, store, traces))
    with (store / archive_name(5)).open("ab") as file:
        file.write(b"more")
    assert changed.exists()

    def follow() -> None:
        """The follower comes later than the server."""
        wait_for(lambda: "waiting for the follower" in (home / "tower.log").read_text())
        write_checksums(home / "tables", checksums)

    follower = threading.Thread(target=follow, daemon=True)
    (home / "tower.log").touch()
    follower.start()
    with torchserve(home, "--store", str(store), url=f"http://127.0.0.1:{free_port()}") as running:
        yield running, traces
    follower.join()


def evil(folder: Path, version: int, store: Path, traces: Path) -> Path:
    """An archive whose handler writes a file as soon as it is loaded."""
    archive = package(folder, version, store)
    with zipfile.ZipFile(archive) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    contents[HANDLER] += f"\nopen({str(traces)!r}, 'a').write('{version}')\n".encode()
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in contents.items():
            new.writestr(name, content)
    return archive


@pytest.mark.integration
def test_an_archive_that_is_not_what_its_manifest_says_never_runs(pod: tuple[RunningTower, Path]) -> None:
    running, traces = pod
    with TowerModels(f"unix:{run_folder(running.home)}/management.sock", running.home / "models") as models:
        models._await(3)
        assert models._versions().keys() == {3}
    assert not traces.exists()
    log = running.log.read_text()
    assert "waiting for the follower" in log
    for version in (4, 5):
        assert (
            len(re.findall(rf"{archive_name(version)} is not loaded: its checksum is \S+, the manifest says", log)) == 1
        )


@pytest.mark.integration
def test_a_pod_is_ready_once_its_generation_answers(pod: tuple[RunningTower, Path], tmp_path: Path) -> None:
    running, _ = pod
    package(running.home / "three", 3, tmp_path / "three")
    assert missing(running.url, tmp_path / "three", running.tables) is None
    assert "no model archive" in str(missing(running.url, tmp_path, running.tables))
    assert "no generation of version 3" in str(missing(running.url, tmp_path / "three", tmp_path))
    assert missing("http://127.0.0.1:9", tmp_path / "three", running.tables)


def test_what_was_put_in_an_archives_place_is_replaced(served: World, tmp_path: Path) -> None:
    archive, store = package(served.folder, 3, tmp_path / "good"), tmp_path / "store"
    evil(served.folder, 3, store, tmp_path / "ran")
    place(archive, 3, store)
    assert checksum_file(store / archive_name(3)) == checksum_file(archive)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8081", "http://0.0.0.0:8081"])
def test_management_on_a_port_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(address)):
        TowerServer(tmp_path, tmp_path, tmp_path, management=address).prepare()
    with pytest.raises(ConfigError, match=re.escape(address)):
        TowerModels(address, tmp_path)


def test_the_start_class_is_what_its_source_says(tmp_path: Path) -> None:
    """Compilers differ in the order of constants, so the instructions are compared."""
    if not (shutil.which("javac") and shutil.which("javap")):
        pytest.skip("there is no Java compiler")
    folder = Path(str(files("serving.tower") / "start"))
    jar = Path(ts.__file__).parent / "frontend" / "model-server.jar"
    options = ["-Xlint:-options", "-g:none", "--release", "11", "-cp", str(jar), "-d", str(tmp_path)]
    subprocess.run(["javac", *options, str(folder / "HttpTower.java")], check=True)
    made, kept = (instructions(where / "HttpTower.class") for where in (tmp_path, folder))
    assert made == kept


def instructions(compiled: Path) -> str:
    """A class' methods, without the numbers of its constants."""
    printed = subprocess.run(["javap", "-p", "-c", str(compiled)], capture_output=True, text=True, check=True).stdout
    return re.sub(r"#\d+", "#", printed)


@pytest.mark.integration
@pytest.mark.parametrize("form", ["TraditionalOpenSSL", "PKCS8"])
def test_with_a_certificate_it_speaks_tls_alone(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, port = write_certificate(tmp_path / "certificate", form=form), free_port()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with torchserve(tmp_path, "--certificate", str(authority.parent), url=f"https://localhost:{port}") as tower:
        with tower.client as client:
            assert client.get("/ping").json() == {"status": "Healthy"}
        assert httpx.get(f"http://localhost:{port}/ping").status_code == 403


def test_an_https_address_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="certificate none"):
        TowerServer(tmp_path, tmp_path, tmp_path, inference="https://0.0.0.0:8080").prepare()


def test_a_key_that_torchserve_cannot_read_is_refused_by_its_kind(tmp_path: Path) -> None:
    folder = write_certificate(tmp_path / "certificate", elliptic=True).parent
    with pytest.raises(ConfigError, match="an RSA key"):
        TowerServer(tmp_path, tmp_path, tmp_path, inference="https://0.0.0.0:8080", certificate=folder).prepare()
