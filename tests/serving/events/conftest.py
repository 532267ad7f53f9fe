"""What the tests of events and item changes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kafka_broker import broker


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of Kafka's protocol."""
    with broker(tmp_path_factory.mktemp("kafka")) as address:
        yield address
