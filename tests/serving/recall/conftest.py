"""What the tests of recall share."""

from __future__ import annotations

import pytest

from tests.serving.recall.failing import Failing


@pytest.fixture
async def failing() -> Failing:
    made = Failing()
    await made.generations.refresh()
    return made
