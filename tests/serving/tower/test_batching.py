"""How TorchServe joins requests."""

from __future__ import annotations

import pytest

from pagoda.errors import ConfigError
from serving.tower.batching import Batching


def test_a_batch_delay_that_torchserve_does_not_take_as_said_is_refused() -> None:
    with pytest.raises(ConfigError, match="100 ms"):
        Batching(size=16, delay_ms=0)
    assert Batching(size=1, delay_ms=0).query()["max_batch_delay"] == 0
