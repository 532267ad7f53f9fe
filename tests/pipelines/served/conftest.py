"""A whole platform that serves MovieLens-100K, for the tests of what happens to it while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from pagoda.client import Client
from pagoda.data.dataset import Dataset
from pagoda.data.imports.movielens import import_movielens
from pagoda.standalone.endpoints import settle_dataset
from pagoda.standalone.platform import Platform
from serving.users.loading import load_store

from .homes import Home


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """MovieLens-100K on a platform of its own, with a full version released and requests answered."""
    folder = tmp_path_factory.mktemp("home")
    import_movielens(folder / "data")
    dataset = Dataset.open(folder / "data")
    platform = Platform(folder / "home")
    try:
        settings = platform.up(attached=True)
        settle_dataset(settings, str(dataset.path))
        home = Home(platform, settings, dataset, dataset.span().end - timedelta(days=58))
        assert home.run(shards=2).finish() == "g1"
        load_store(dataset, dataset.span().end, settings.redis.url)
        with Client(home=settings.home) as client:
            client.wait_ready()
        yield home
    finally:
        platform.kill()
