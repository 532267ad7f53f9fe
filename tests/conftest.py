"""What all tests share."""

from __future__ import annotations

import functools
import os
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import boto3
import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from pagoda.standalone.platform import Platform

if TYPE_CHECKING:
    from pagoda.index.base import Collections
    from pagoda.index.milvus.collections import MilvusCollections

OneBackend = TypeVar("OneBackend", bound="Collections")
P = ParamSpec("P")
R = TypeVar("R")

# A busy machine is no failure: an example may take long, the suite as a whole may not.
# Nor does it make an answer a degraded one: what the recall service asks may take its time.
for _name in ("RECALL__STORE_SECONDS", "RECALL__INDEX_SECONDS", "TOWER__TIMEOUT_SECONDS"):
    os.environ.setdefault(f"PAGODA_{_name}", "15")
# OpenMP's threads wait by spinning, and a process per worker has one each: half of what small trainings take.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# First versions are made by many tests, and judged, by a second training, in tests/updates/test_judged.py.
os.environ.setdefault("PAGODA_EVALUATION__FIRST_VERSION", "false")
settings.register_profile("pagoda", deadline=None)
settings.load_profile("pagoda")
_BEGAN = time.monotonic()
_TOGETHER = (
    ("tests/pipelines/served/",),
    (
        "tests/index/",
        "tests/item_vectors/test_scoring.py",
        "tests/pipelines/test_defaults.py",
        "tests/serving/console/test_ask.py",
        "tests/serving/events/test_events_answers.py",
        "tests/serving/recall/test_recall.py",
        "tests/updates/test_index.py",
        "tests/updates/test_mining.py",
        "tests/workers/test_items.py",
    ),
)
"""What shares the one platform of a folder, and what shares one Milvus: each took some 20 s of a processor a run."""


@pytest.fixture(autouse=True)
def ordinary_umask() -> None:
    """The command line, which some tests call in their own process, sets its own for good."""
    os.umask(0o022)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--cluster`: see `make test-cluster`."""
    parser.addoption("--cluster", action="store_true", help="ask the API server that KUBECONFIG names, not the fake")
    parser.addoption("--eighth", type=int, metavar="0..7", help="only this eighth of the tests, by their names")
    parser.addoption("--minutes", type=float, default=float("inf"), help="begin no further test after so many minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that no worker waits for another one's long end; of an eighth, which has so many
    minutes, last."""
    if (eighth := config.getoption("--eighth")) is not None:
        part = [zlib.crc32(item.nodeid.encode()) % 8 for item in items]
        config.hook.pytest_deselected(items=[item for item, its in zip(items, part, strict=True) if its != eighth])
        items[:] = [item for item, its in zip(items, part, strict=True) if its == eighth]
    last = eighth is not None
    items.sort(
        key=lambda item: (
            ("tests/pipelines" in item.nodeid) is last,
            (item.get_closest_marker("integration") is not None) is last,
        )
    )


class TogetherScheduling(LoadFileScheduling):  # type: ignore[misc]
    """A file's tests go to one worker, and so does all that stands together.

    pytest-xdist's own groups do nothing with pytest 9.2, where a test's name can no longer be written to.
    """

    def _split_scope(self, nodeid: str) -> str:
        together = (group[0] for group in _TOGETHER if nodeid.startswith(group))
        return next(together, str(super()._split_scope(nodeid)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> TogetherScheduling:
    """What deals the tests to `-n` workers."""
    return TogetherScheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out, and say so, what would begin too late."""
    minutes = item.config.getoption("--minutes")
    if time.monotonic() - _BEGAN > minutes * 60:
        pytest.skip(f"{minutes:g} minutes are over")


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The embedded platform in a folder of its own, shared by the whole run; the fixtures below add services to it."""
    platform = Platform(tmp_path_factory.mktemp("platform"))
    platform.up([], attached=True)
    yield platform
    platform.kill()  # Nobody needs what it holds; how it goes down is tests/standalone's.


@pytest.fixture(scope="session")
def milvus_uri(platform: Platform) -> str:
    """A real Milvus server. Tests share it: drop your collections."""
    return platform.start(["milvus"]).milvus.uri


@pytest.fixture(scope="session")
def redis_url(platform: Platform) -> str:
    """A real Redis server. Tests share it: use keys of your own."""
    return platform.start(["redis"]).redis.url


@pytest.fixture(scope="session")
def mlflow_uri(platform: Platform) -> str:
    """A real MLflow server. Tests share it: use model names of your own."""
    return platform.start(["mlflow"]).registry.uri


@pytest.fixture(scope="session")
def s3() -> Iterator[None]:
    """An S3 server that boto3, fsspec and MLflow find. There is one, for fsspec keeps its connection for good."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "put_object", _one_at_a_time(S3Response.put_object))
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        for name in ("AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"):
            patch.setenv(name, f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield
        server.stop()


def _one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Of writes under `If-None-Match: *` S3 lets one succeed (user guide, "Conditional writes").

    moto 5.2.5 looks first and writes then, with a thread a request (s3/responses.py, `put_object`): two succeed.
    """
    lock = threading.Lock()

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return function(*args, **kwargs)

    return alone


@pytest.fixture
def bucket(s3: None) -> str:
    """The URL of a new empty bucket."""
    name = f"pagoda-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def collections(milvus_uri: str) -> Iterator[MilvusCollections]:
    """The server's collections; those that a test makes go with it."""
    from pagoda.index.milvus.collections import MilvusCollections

    yield from _cleaned(MilvusCollections(milvus_uri))


@pytest.fixture(params=["in_process", pytest.param("milvus", marks=pytest.mark.integration)])
def any_collections(request: pytest.FixtureRequest) -> Iterator[Collections]:
    """Of each search backend in turn; those that a test makes go with it."""
    from pagoda.index.in_process.collections import FolderCollections
    from pagoda.index.milvus.collections import MilvusCollections

    if request.param == "milvus":
        yield from _cleaned(MilvusCollections(request.getfixturevalue("milvus_uri")))
    else:
        yield FolderCollections(request.getfixturevalue("tmp_path") / "collections")


def _cleaned(server: OneBackend) -> Iterator[OneBackend]:
    before = set(server.names())
    yield server
    for name in set(server.names()) - before:
        server.drop(name)
    server.close()
