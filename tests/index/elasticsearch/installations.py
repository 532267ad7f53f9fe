"""An installation whose search backend is a fake of one of the two servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pagoda.settings import ElasticsearchSettings, IndexSettings, Settings
from tests.index.elasticsearch.fakes.server import FakeSearchServer, running

DIALECTS = ["elasticsearch", "opensearch"]
API_KEY = "a2V5LWlkOnNlY3JldA=="


@dataclass(frozen=True)
class Installed:
    """Settings, and the fake that they lead to."""

    settings: Settings
    fake: FakeSearchServer


@contextmanager
def installed(home: Path, dialect: str, **index: Any) -> Iterator[Installed]:
    """One that lasts as long as the block."""
    with running(f"ApiKey {API_KEY}") as fake:
        elastic = ElasticsearchSettings(url=fake.url, api_key=API_KEY, dialect=dialect, shards=2, replicas=1)
        yield Installed(
            Settings(home=home, elasticsearch=elastic, index=IndexSettings(backend="elasticsearch", **index)), fake
        )
